from __future__ import annotations

import errno
import os

import pytest

from dlkit.train import RunFolderError
from dlkit.train.files import append_line, write_atomic


def fail_with(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def test_write_and_overwrite(tmp_path):
    write_atomic(tmp_path / "file", b"one")
    write_atomic(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    write_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr(step, fail_with(errno.ENOSPC))
    with pytest.raises(
        RunFolderError, match=r"file: the disk is full \(0.0 MB to write, .* MB free\)"
    ) as caught:
        write_atomic(tmp_path / "file", b"new")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    write_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_the_data_is_on_disk_before_the_name(tmp_path, monkeypatch):
    steps = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr("os.fsync", lambda d: (steps.append("fsync"), real_fsync(d))[1])
    monkeypatch.setattr("os.replace", lambda a, b: (steps.append("replace"), real_replace(a, b))[1])
    write_atomic(tmp_path / "file", b"data")
    assert steps[:2] == ["fsync", "replace"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permission denied; choose a folder that you may write to"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EDQUOT, "over the quota"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_other_reasons(tmp_path, monkeypatch, number, words):
    monkeypatch.setattr("os.fsync", fail_with(number))
    with pytest.raises(RunFolderError, match=words) as caught:
        write_atomic(tmp_path / "file", b"new")
    assert str(tmp_path / "file") in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_append(tmp_path):
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "zwei – 二")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "one\nzwei – 二\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_append_to_a_full_disk(tmp_path):
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match="log: the disk is full"):
        append_line(tmp_path / "log", "one")


def test_append_of_half_a_line_is_taken_back(tmp_path, monkeypatch):
    """What a disk does that fills up in the middle of a write."""
    append_line(tmp_path / "log", "first")
    real_open = open

    class Short:
        def __init__(self, *args, **kwargs):
            self.file = real_open(*args, **kwargs)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def fileno(self):
            return self.file.fileno()

        def write(self, data):
            return self.file.write(data[: len(data) // 2])

    monkeypatch.setattr("builtins.open", Short)
    with pytest.raises(RunFolderError, match="the disk is full"):
        append_line(tmp_path / "log", "the second line")
    monkeypatch.undo()
    assert (tmp_path / "log").read_text() == "first\n"
