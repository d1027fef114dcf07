"""``dlkit predict`` of a language model."""

from __future__ import annotations

import json

import pytest

from dlkit.cli.app import run as command
from dlkit.recipes import get

pytest.importorskip("pydoc_data.topics")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    settings = {"dimensions": 8, "hidden": 8, "batch_size": 128, "epochs": 1, "progress": False}
    return str(get("lm").run(run_dir=folder, **settings).folder)


def test_text(model, capsys):
    assert command(["predict", model, "the value zyzzyva"]) == 0
    shown = capsys.readouterr()
    assert "perplexity" in shown.out
    assert "bits  value" in shown.out
    assert "the value zyzzyva …" in shown.out
    assert "not known, read as <unk>: zyzzyva" in shown.err


def test_json(model, capsys):
    assert command(["predict", model, "a list of values", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["tokens"] == ["a", "list", "of", "values", "<eos>"]
    assert len(row["bits"]) == 5
    assert row["continuation"]


def test_what_is_not_for_it(model, capsys):
    assert command(["predict", model, "a list", "--invert"]) == 2
    assert "--invert is for images" in capsys.readouterr().err
