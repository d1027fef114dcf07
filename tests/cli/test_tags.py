"""``dlkit predict`` of a tagger."""

from __future__ import annotations

import io
import json
import sys

import pytest

from dlkit.cli.app import run as command
from dlkit.data import TaggedSet, load_tagged
from dlkit.recipes import get, tagging


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    found = load_tagged("python")
    few = TaggedSet("python", "tokens", found.train[:200], found.validation[:20], found.test[:20], "here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tagging, "load_tagged", lambda name: few)
        settings = {"dimensions": 8, "hidden": 8, "epochs": 1, "progress": False}
        return str(get("tagger").run(run_dir=folder, **settings).folder)


def test_a_sentence(model, capsys):
    assert command(["predict", model, "return value + 1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == ["return", "value", "+", "1"]
    assert all(line.endswith("%") for line in shown)


def test_json(model, capsys):
    assert command(["predict", model, "x = 1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["tokens"] == ["x", "=", "1"]
    assert len(row["tags"]) == len(row["confidence"]) == 3


def test_file_and_standard_input(model, capsys, tmp_path, monkeypatch):
    path = tmp_path / "lines.txt"
    path.write_text("x = 1\nreturn x\n")
    assert command(["predict", model, str(path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"y = 2\n")))
    assert command(["predict", model, "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["tokens"] == ["y", "=", "2"]


def test_what_is_not_for_it(model, capsys):
    assert command(["predict", model, "x", "--invert"]) == 2
    assert "--invert is for images" in capsys.readouterr().err
