import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile

import pytest

from dlkit.data import DataError, DataNotFoundError
from dlkit.data import text_file as module
from dlkit.data.text_file import Address, TextFile, find_text, lines_of, read_bytes

CONTENT = b"good film\nbad film\n"
FILE = TextFile(
    "set", "a.txt", hashlib.sha256(CONTENT).hexdigest(), [Address("https://example.invalid/a.txt")]
)
PACKED = {"": CONTENT, ".xz": lzma.compress(CONTENT), ".gz": gzip.compress(CONTENT)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data" / "set").mkdir(parents=True)
    return tmp_path / "data" / "set"


@pytest.mark.parametrize("ending", PACKED)
def test_found_plain_or_compressed(ending, folder):
    (folder / f"a.txt{ending}").write_bytes(PACKED[ending])
    assert find_text(FILE) == (CONTENT, folder / f"a.txt{ending}")


def test_another_content_is_an_error(folder):
    (folder / "a.txt").write_bytes(CONTENT + b"more\n")
    with pytest.raises(DataError, match=r"a\.txt: SHA-256 of its content is .*expected"):
        find_text(FILE)


@pytest.mark.parametrize("ending", [".xz", ".gz"])
def test_a_damaged_stream(ending, folder):
    (folder / f"a.txt{ending}").write_bytes(PACKED[ending][:-9])
    with pytest.raises(DataError, match=rf"a\.txt{ending}.*damaged or cut short"):
        find_text(FILE)


@pytest.mark.parametrize(("at", "value"), [(10, 99), (8, 1)], ids=["another method", "a password"])
def test_an_archive_that_cannot_be_unpacked(at, value, folder):
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("a.txt", CONTENT)
    packed = bytearray((folder / "all.zip").read_bytes())
    packed[packed.index(b"PK\x01\x02") + at] = value  # in the archive's list of members
    (folder / "all.zip").write_bytes(packed)
    with pytest.raises(
        DataError, match=r"a\.txt cannot be unpacked: .* has a password, or was packed by another"
    ):
        find_text(TextFile("set", "mine.txt", FILE.sha256, [], "all.zip", "a.txt"))


def test_a_member_of_an_archive(folder):
    file = TextFile("set", "mine.txt", FILE.sha256, [], "all.zip", "in/a.txt")
    with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/a.txt", CONTENT, zipfile.ZIP_STORED)
        archive.writestr("in/b.txt", b"others\n" * 1000)
    assert find_text(file) == (CONTENT, folder / "all.zip")
    whole = (folder / "all.zip").read_bytes()
    for member, text in (("in/b.txt", "in/b.txt: SHA-256 of its content"), ("c.txt", "holds no c.txt")):
        with pytest.raises(DataError, match=text):
            find_text(TextFile("set", "mine.txt", FILE.sha256, [], "all.zip", member))
    for damaged in (whole[:-30], whole.replace(CONTENT[:4], b"food"), b"no archive"):
        (folder / "all.zip").write_bytes(damaged)
        with pytest.raises(DataError):
            find_text(file)


def test_a_file_that_unpacks_to_too_much(tmp_path):
    (tmp_path / "bomb.xz").write_bytes(lzma.compress(bytes(1 << 20)))
    with pytest.raises(DataError, match="holds more than 1000 bytes"):
        read_bytes(tmp_path / "bomb.xz", 1000)
    with pytest.raises(DataError, match="is a folder"):
        read_bytes(tmp_path)
    with pytest.raises(DataNotFoundError):
        read_bytes(tmp_path / "none")


def served(tmp_path, monkeypatch, content):
    class Pooch:
        @staticmethod
        def retrieve(url, known_hash, fname, path, progressbar):
            target = tmp_path / "served"
            target.write_bytes(content)
            return str(target)

    monkeypatch.setattr("dlkit.data.fetch._pooch", lambda: Pooch)


def archive(kind):
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as packed:
            packed.writestr("in/a.txt", CONTENT)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
            info = tarfile.TarInfo("in/a.txt")
            info.size = len(CONTENT)
            packed.addfile(info, io.BytesIO(CONTENT))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_downloads_a_member_once(kind, folder, tmp_path, monkeypatch):
    file = TextFile("set", "a.txt", FILE.sha256, [Address("https://example.invalid/a", "in/a.txt")])
    served(tmp_path, monkeypatch, archive(kind))
    assert find_text(file)[0] == CONTENT
    served(tmp_path, monkeypatch, b"gone")
    content, path = find_text(file)
    assert content == CONTENT
    assert path == tmp_path / "cache" / "set" / "a.txt"


def test_a_wrong_download_is_refused(folder, tmp_path, monkeypatch):
    served(tmp_path, monkeypatch, b"something else")
    with pytest.raises(DataNotFoundError, match=r"set/a\.txt: not in DLKIT_DATA.*\n.*SHA-256 is"):
        find_text(FILE)
    assert not (tmp_path / "cache" / "set" / "a.txt").exists()


def test_lines():
    assert lines_of(b"a\r\nb\n\nc", "f") == ["a", "b", "", "c"]
    assert lines_of(b"", "f") == []
    assert lines_of(b"a\x85b\n", "f", "latin-1") == ["a\x85b"]
    with pytest.raises(DataError, match="f: line 2 is not utf-8: byte 0xff in column 2"):
        lines_of(b"ok\na\xff\n", "f")
    with pytest.raises(DataError, match="f: line 1 holds a zero byte"):
        lines_of(b"a\0b\n", "f")
    assert module.MAX_BYTES >= 1 << 25
