from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from dlkit.train import RunFolder, RunFolderError

SETTINGS = {"model": "mlp", "lr": 0.001, "hidden": (512, 512), "seed": 0}


def test_a_new_folder(tmp_path):
    run = RunFolder(tmp_path / "a" / "b", SETTINGS)
    assert sorted(os.listdir(run)) == ["environment.json", "settings.json"]
    assert json.loads((tmp_path / "a/b/settings.json").read_text()) == {**SETTINGS, "hidden": [512, 512]}
    assert run.checkpoint == tmp_path / "a/b/checkpoint.safetensors"
    assert run.model == tmp_path / "a/b/model.safetensors"
    assert run.path("loss.png") == tmp_path / "a/b/loss.png"


def test_an_empty_folder_is_taken(tmp_path):
    RunFolder(tmp_path, SETTINGS)
    assert (tmp_path / "settings.json").is_file()


def test_environment(tmp_path):
    RunFolder(tmp_path / "run", SETTINGS)
    (start,) = json.loads((tmp_path / "run/environment.json").read_text())["starts"]
    assert {"time", "cpu", "cpus", "python", "threads", "kernels", "versions"} <= set(start)
    RunFolder(tmp_path / "run", SETTINGS, resume=True)
    assert len(json.loads((tmp_path / "run/environment.json").read_text())["starts"]) == 2


def test_metrics(tmp_path):
    run = RunFolder(tmp_path / "run", SETTINGS)
    assert run.metrics() == []
    run.log({"epoch": 1, "loss": np.float32(0.5), "steps": np.int64(3), "name": "ü", "accuracy": None})
    run.log({"epoch": 2, "loss": float("nan"), "file": Path("x"), "list": (1, 2), "worse": np.float64("inf")})
    assert run.metrics() == [
        {"epoch": 1, "loss": 0.5, "steps": 3, "name": "ü", "accuracy": None},
        {"epoch": 2, "loss": None, "file": "x", "list": [1, 2], "worse": None},
    ]
    for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON


def test_rewind(tmp_path):
    run = RunFolder(tmp_path / "run", SETTINGS)
    run.log({"note": "kept"})
    for epoch in (1, 2, 3):
        run.log({"epoch": epoch})
    run.rewind(1)
    assert run.metrics() == [{"note": "kept"}, {"epoch": 1}]


def test_half_a_line_at_the_end_is_dropped_on_resume(tmp_path):
    run = RunFolder(tmp_path / "run", SETTINGS)
    run.log({"epoch": 1})
    with open(tmp_path / "run/metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "lo')
    assert RunFolder(tmp_path / "run", SETTINGS, resume=True).metrics() == [{"epoch": 1}]


def test_damaged_metrics(tmp_path):
    run = RunFolder(tmp_path / "run", SETTINGS)
    run.log({"epoch": 1})
    with open(tmp_path / "run/metrics.jsonl", "a") as file:
        file.write("not json\n")
    with pytest.raises(RunFolderError, match=r"metrics.jsonl: line 2 is not JSON"):
        run.metrics()
    (tmp_path / "run/metrics.jsonl").write_text("[1]\n")
    with pytest.raises(RunFolderError, match="line 1 is not a JSON object"):
        run.metrics()


def test_a_second_run_does_not_overwrite_the_first(tmp_path):
    RunFolder(tmp_path / "run", SETTINGS)
    with pytest.raises(RunFolderError, match="holds a run already: resume it"):
        RunFolder(tmp_path / "run", SETTINGS)


def test_other_settings_are_named(tmp_path):
    RunFolder(tmp_path / "run", SETTINGS)
    other = {"model": "mlp", "lr": 0.01, "hidden": [512], "dropout": 0.5}
    with pytest.raises(RunFolderError, match="made with other settings") as caught:
        RunFolder(tmp_path / "run", other, resume=True)
    message = str(caught.value)
    assert "lr is 0.01, was 0.001" in message
    assert "hidden is [512], was [512, 512]" in message
    assert "dropout is 0.5, was not set" in message
    assert "seed is not set, was 0" in message
    assert "model" not in message.split("settings:")[1].split(". Resume")[0]


def test_same_settings_resume(tmp_path):
    RunFolder(tmp_path / "run", SETTINGS)
    run = RunFolder(tmp_path / "run", {**SETTINGS, "hidden": np.array([512, 512]).tolist()}, resume=True)
    assert run.settings == {**SETTINGS, "hidden": [512, 512]}


def test_a_setting_that_came_later_counts_as_its_default(tmp_path):
    RunFolder(tmp_path / "run", SETTINGS)
    defaults = {"dropout": 0.5, "lr": 0.01, "regions": (3, 4)}
    with pytest.raises(RunFolderError, match=r"settings: dropout is 0\.1, was 0\.5\. Resume"):
        RunFolder(tmp_path / "run", {**SETTINGS, "dropout": 0.1}, resume=True, defaults=defaults)
    run = RunFolder(tmp_path / "run", {**SETTINGS, "dropout": 0.5}, resume=True, defaults=defaults)
    assert run.settings == {**SETTINGS, "hidden": [512, 512], "dropout": 0.5}
    assert json.loads((tmp_path / "run/settings.json").read_text()) == run.settings


def test_a_setting_that_may_change(tmp_path):
    RunFolder(tmp_path / "run", {**SETTINGS, "epochs": 5})
    with pytest.raises(RunFolderError, match="epochs is 9, was 5"):
        RunFolder(tmp_path / "run", {**SETTINGS, "epochs": 9}, resume=True)
    RunFolder(tmp_path / "run", {**SETTINGS, "epochs": 9}, resume=True, may_change=["epochs"])
    assert json.loads((tmp_path / "run/settings.json").read_text())["epochs"] == 9


def test_nothing_to_resume(tmp_path):
    with pytest.raises(RunFolderError, match="does not exist: nothing to resume"):
        RunFolder(tmp_path / "run", SETTINGS, resume=True)
    (tmp_path / "run").mkdir()
    with pytest.raises(RunFolderError, match="has no run in it: nothing to resume"):
        RunFolder(tmp_path / "run", SETTINGS, resume=True)


@pytest.mark.parametrize("text", ["{", "[]", "\0"])
def test_damaged_settings(tmp_path, text):
    RunFolder(tmp_path / "run", SETTINGS)
    (tmp_path / "run/settings.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"settings.json is not"):
        RunFolder(tmp_path / "run", SETTINGS, resume=True)


def test_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"holds other files \(thesis.tex\), expected a new folder"):
        RunFolder(tmp_path, SETTINGS)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_path_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="is a file, expected a folder"):
        RunFolder(tmp_path / "file", SETTINGS)
    with pytest.raises(RunFolderError, match="one of its parents is a file"):
        RunFolder(tmp_path / "file" / "below", SETTINGS)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="no /proc on this system")
def test_folder_that_cannot_be_made():
    with pytest.raises(RunFolderError, match=r"run folder /proc/nowhere"):
        RunFolder("/proc/nowhere", SETTINGS)


def refuse(number):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "is not writable: permission denied; choose a folder that you may write to"),
        (errno.EROFS, "is not writable: the file system is read-only"),
    ],
)
def test_unwritable(tmp_path, monkeypatch, number, words):
    RunFolder(tmp_path / "run", SETTINGS)
    monkeypatch.setattr(Path, "write_bytes", refuse(number))
    with pytest.raises(RunFolderError, match=words) as caught:
        RunFolder(tmp_path / "run", SETTINGS, resume=True)
    assert caught.value.errno == number
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", refuse(number))
    with pytest.raises(RunFolderError, match=words):
        RunFolder(tmp_path / "new", SETTINGS)


def test_full_disk_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", refuse(errno.ENOSPC))
    with pytest.raises(RunFolderError, match=r"settings.json: the disk is full"):
        RunFolder(tmp_path / "run", SETTINGS)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_full_disk_while_logging(tmp_path):
    run = RunFolder(tmp_path / "run", SETTINGS)
    (tmp_path / "run/metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match=r"metrics.jsonl: the disk is full"):
        run.log({"epoch": 1})


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "x\0"])
def test_file_names_stay_in_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="file name is"):
        RunFolder(tmp_path / "run", SETTINGS).path(name)


@pytest.mark.parametrize("name", ["settings.json", "environment.json", "metrics.jsonl"])
def test_own_files_are_not_handed_out(tmp_path, name):
    with pytest.raises(ValueError, match="written by dlkit itself"):
        RunFolder(tmp_path / "run", SETTINGS).path(name)


def test_settings_that_are_no_json(tmp_path):
    with pytest.raises(TypeError, match=r"settings.model.layer is a object"):
        RunFolder(tmp_path / "run", {"model": {"layer": object()}})
    assert not (tmp_path / "run").exists()
