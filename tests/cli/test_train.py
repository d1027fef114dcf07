from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from dlkit import kernels
from dlkit.cli import main
from dlkit.cli.app import app
from dlkit.recipes import names, recipes

SMALL = ["--hidden", "16", "--epochs", "2", "--no-progress"]


@pytest.fixture(autouse=True)
def threads():
    """Commands may set the number of threads; other tests count on it."""
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


@pytest.mark.parametrize("name", names())
def test_help_shows_every_setting_with_its_default(name):
    text = CliRunner().invoke(app, ["train", name, "--help"], env={"COLUMNS": "200"}).output
    recipe = next(recipe for recipe in recipes() if recipe.name == name)
    for setting in recipe.settings_type.options():
        assert "--" + setting.replace("_", "-") in text
    for option in ("--run-dir", "--resume", "--threads", "--no-progress", "--overwrite"):
        assert option in text
    assert text.count("Default: ") >= len(recipe.settings_type.options())


def test_the_end_of_a_run(tmp_path, capsys):
    assert main(["train", "mlp", *SMALL, "--run-dir", str(tmp_path / "run"), "--threads", "1"]) == 0
    text = capsys.readouterr().out
    for expected in (
        r"test accuracy +\d\d\.\d\d% \(\d+ of 355 wrong\)",
        r"to reach +at least 97\.5%: (not )?reached",
        r"throughput +[\d,]+ samples/s",
        r"arithmetic +[\d.]+ GFLOP/s, [\d.]+% of the FMA peak \(\d+ GFLOP/s on 1 thread\)",
        r"peak memory +\d+ MB",
        r"run folder .*run\n",
        r"confusion\.png +which class",
        r"dlkit predict .*run FILE",
    ):
        assert re.search(expected, text), expected
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["recipe"] == "mlp"
    assert settings["hidden"] == [16]
    assert settings["threads"] == 1


def test_flags(tmp_path):
    folder = tmp_path / "run"
    arguments = ["--optimizer", "sgd", "--momentum", "0.9", "--nesterov", "--run-dir", str(folder)]
    assert main(["train", "mlp", *SMALL, *arguments]) == 0
    assert json.loads((folder / "settings.json").read_text())["nesterov"] is True
    folder = tmp_path / "plain"
    assert (
        main(
            [
                "train",
                "perceptron",
                "--no-averaged",
                "--epochs",
                "1",
                "--no-progress",
                "--run-dir",
                str(folder),
            ]
        )
        == 0
    )
    assert json.loads((folder / "settings.json").read_text())["averaged"] is False


def test_a_run_folder_of_its_own_by_default(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "mlp", *SMALL]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("mlp-digits-")
    assert f"runs/{folder.name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["mlp", "--data", "minst"],
            "data is 'minst', expected one of digits, mnist, fashion-mnist (did you mean 'mnist'?)",
        ),
        (["mlp", "--activation", "rleu"], "did you mean 'relu'?"),
        (["mlp", "--optimizer", "adm"], "did you mean 'adam'?"),
        (
            ["mlp", "--hidden", "512;512"],
            "hidden is '512;512', expected integers of at least 1, separated by commas",
        ),
        (["mlp", "--hidden", "0"], "hidden is 0"),
        (["mlp", "--lr", "0"], "lr is 0.0, expected a number above 0"),
        (["mlp", "--lr", "fast"], "lr is 'fast', expected a number"),
        (["mlp", "--epochs", "1.5"], "epochs is '1.5', expected an integer"),
        (["mlp", "--dropout", "1"], "dropout is 1.0"),
        (["mlp", "--seed", "-1"], "seed is -1"),
        (["mlp", "--threads", "0"], "threads is 0, expected an integer from 1 to 1024"),
        (["mlp", "--resume"], "--resume needs --run-dir"),
        (["softmax", "--hidden", "5"], "No such option: --hidden"),
        (["mlp", "--momentum", "0.9"], "momentum is 0.9 but optimizer is adam"),
    ],
)
def test_wrong_settings_stop_before_any_work(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_run_folders(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "mlp", *SMALL, "--run-dir", run]) == 0
    capsys.readouterr()
    assert main(["train", "mlp", *SMALL, "--run-dir", run]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "softmax", "--run-dir", run, "--resume"]) == 2
    assert "was made by `dlkit train mlp`" in capsys.readouterr().err
    assert main(["train", "mlp", "--run-dir", run, "--resume", "--lr", "0.5"]) == 1
    assert "lr is 0.5, was 0.001" in capsys.readouterr().err
    assert main(["train", "mlp", "--run-dir", str(tmp_path / "nothing"), "--resume"]) == 1
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["train", "mlp", *SMALL, "--run-dir", str(tmp_path / "file")]) == 1
    assert "is a file" in capsys.readouterr().err
    assert main(["train", "mlp", *SMALL, "--run-dir", run, "--overwrite"]) == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a file system that takes no files, /proc")
def test_unwritable_run_folder(capsys):
    assert main(["train", "mlp", *SMALL, "--run-dir", "/proc/dlkit-run"]) == 1
    error = capsys.readouterr().err
    assert "/proc/dlkit-run" in error
    assert "Traceback" not in error


def test_checkpoint_cut_short(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "mlp", *SMALL, "--run-dir", str(run)]) == 0
    data = (run / "checkpoint.safetensors").read_bytes()
    (run / "checkpoint.safetensors").write_bytes(data[: len(data) // 2])
    capsys.readouterr()
    assert main(["train", "mlp", "--run-dir", str(run), "--resume", "--no-progress"]) == 1
    error = capsys.readouterr().err
    assert "checkpoint.safetensors is cut short" in error
    assert "Traceback" not in error


def test_missing_data_is_one_message(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "nothing"))
    assert main(["train", "mlp", "--data", "mnist", "--run-dir", str(tmp_path / "run")]) == 1
    assert "which is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def start(*arguments, **options):
    environment = {**os.environ, "DLKIT_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "dlkit", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def wait_for_epochs(process, folder, count):
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.is_file() and metrics.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    pytest.fail(f"no {count} epochs: {process.communicate()}")


@pytest.mark.parametrize(
    "settings",
    [
        ["mlp", "--hidden", "64", "--epochs", "300", "--dropout", "0.3", "--schedule", "cosine"],
        ["perceptron", "--epochs", "800"],
        ["gradient-descent", "--epochs", "12"],
    ],
    ids=["mlp", "perceptron", "gradient-descent"],
)
def test_ctrl_c_leaves_a_checkpoint_and_resume_goes_on_to_the_same_bits(tmp_path, settings):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = [*settings, "--no-progress"]
    with start(*settings, "--run-dir", str(whole)) as process:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors

    # gradient-descent logs within the runs of its methods; the slow one, online, is the one to stop.
    logged = parts / "online" if settings[0] == "gradient-descent" else parts
    with start(*settings, "--run-dir", str(parts)) as process:
        wait_for_epochs(process, logged, 2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "checkpoint written to" in errors
    assert (logged / "checkpoint.safetensors").is_file()
    assert not (parts / "result.json").exists()
    command = re.search(r"resume with: (.*)", errors).group(1)
    words = shlex.split(command)
    assert words[:3] == ["dlkit", "train", settings[0]]

    with start(*words[2:], "--no-progress") as process:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    for name in ("model.safetensors", "online/model.safetensors"):
        if (whole / name).is_file():
            assert (parts / name).read_bytes() == (whole / name).read_bytes()

    def losses(folder):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["train_loss"] for line in lines]

    assert losses(parts) == losses(whole)


def test_every_epochs_line_goes_to_standard_error(tmp_path, capsys):
    assert main(["train", "mlp", "--hidden", "8", "--epochs", "2", "--run-dir", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    assert "epoch 2/2" in captured.err
    assert "epoch 2/2" not in captured.out


def test_what_comes_next_is_asked_as_the_model_takes_it(tmp_path, capsys):
    pytest.importorskip("pydoc_data.topics")
    command = ["train", "ngram", "--order", "2", "--no-progress", "--run-dir", str(tmp_path / "run")]
    assert main(command) == 0
    assert re.search(r'dlkit predict .*run "a sentence"', capsys.readouterr().out)
