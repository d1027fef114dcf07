from __future__ import annotations

import io
import json
import sys

import pytest

from dlkit.cli import main
from dlkit.cli.inputs import InputError
from dlkit.cli.sentences import read_sentences
from dlkit.data import DataError
from dlkit.recipes import get


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "text"
    small = {"epochs": 1, "dimensions": 8, "filters": 4, "pictures": False, "progress": False}
    return get("text-cnn").run(run_dir=folder, optimizer="adam", lr=0.01, **small)


def given(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_sentence(run, capsys):
    assert main(["predict", str(run.folder), "The if statement is a compound statement."]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["row", "label", "confidence"]
    assert row.rstrip().endswith("%")


def test_a_file_and_standard_input(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "some.txt").write_text("first sentence here\n\nsecond one\n", encoding="utf-8")
    assert main(["predict", str(run.folder), str(tmp_path / "some.txt"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["sentence"] for row in rows] == ["first sentence here", "second one"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    given(monkeypatch, b"first sentence here\nsecond one\n")
    assert main(["predict", str(run.folder), "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows


def test_unknown_words_are_told(run, capsys):
    assert main(["predict", str(run.folder), "zzzz qqqq"]) == 0
    assert "no word of row 0 is known" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "  ", "some/where.txt", "none.txt"])
def test_no_sentence(text, run, capsys):
    assert main(["predict", str(run.folder), text]) != 0
    assert "error" in capsys.readouterr().err


def test_invert_is_for_images(run, capsys):
    assert main(["predict", str(run.folder), "x y", "--invert"]) != 0
    assert "takes sentences" in capsys.readouterr().err


def test_reading(tmp_path, monkeypatch):
    assert read_sentences("one two") == ["one two"]
    (tmp_path / "empty").write_bytes(b"\n")
    with pytest.raises(InputError, match="holds no sentence"):
        read_sentences(str(tmp_path / "empty"))
    (tmp_path / "binary").write_bytes(b"a\xff\n")
    with pytest.raises(DataError, match="line 1 is not utf-8"):
        read_sentences(str(tmp_path / "binary"))
    given(monkeypatch, b"")
    with pytest.raises(InputError, match="standard input holds no sentence"):
        read_sentences("-")
    assert read_sentences("x" * 5000 + " y") == ["x" * 5000 + " y"]
