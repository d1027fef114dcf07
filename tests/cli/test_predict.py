from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.cli import main
from dlkit.cli.predict import percent
from dlkit.data import load
from dlkit.recipes import get

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "softmax"
    return get("softmax").run(run_dir=folder, epochs=20, progress=False)


@pytest.fixture
def files(tmp_path):
    digits = load("digits")
    pixels = np.round(digits.x_test * 16).astype(np.uint8)
    np.save(tmp_path / "many.npy", pixels)
    np.savetxt(tmp_path / "few.csv", pixels[:3], fmt="%d", delimiter=",")
    Image.fromarray((pixels[0].reshape(8, 8) * 15.9).astype(np.uint8)).save(tmp_path / "one.png")
    return tmp_path


def test_a_label_and_a_confidence_per_row(run, files, capsys):
    assert main(["predict", str(run.folder), str(files / "few.csv")]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["row", "label", "confidence"]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert all(row.rstrip().endswith("%") for row in rows)


def test_json_reproduces_the_test_accuracy(run, files, capsys):
    assert main(["predict", str(run.folder), str(files / "many.npy"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    right = np.mean([row["class"] == true for row, true in zip(rows, load("digits").y_test, strict=True)])
    assert right == pytest.approx(run.metrics["test_accuracy"])
    for row in rows[:5]:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["confidence"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]


def test_an_image(run, files, capsys):
    assert main(["predict", str(run.folder), str(files / "one.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] == str(load("digits").y_test[0])


def test_a_perceptron_tells_its_margin(tmp_path, files, capsys):
    folder = get("perceptron").run(run_dir=tmp_path / "run", epochs=2, progress=False).folder
    assert main(["predict", str(folder), str(files / "few.csv")]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["row", "label", "margin"]
    assert main(["predict", str(folder), str(files / "few.csv"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["confidence"] is None
    assert row["margin"] >= 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "{files}/nothing.npy"], "no such file"),
        (["{run}x", "{files}/many.npy"], "does not exist"),
        (["{files}", "{files}/many.npy"], "has no run in it"),
        (["{run}", "{run}/metrics.jsonl"], "no kind of file"),
        (["{run}", "{files}/many.npy", "--invert"], "--invert is for images"),
    ],
)
def test_wrong_arguments(run, files, capsys, arguments, message):
    filled = [text.format(run=run.folder, files=files) for text in arguments]
    assert main(["predict", *filled]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err


def test_percent_never_claims_certainty():
    assert percent(1.0) == "> 99.99%"
    assert percent(0.99985) == "99.98%" or percent(0.99985) == "99.99%"
    assert percent(0.5) == "50.00%"
