from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

_BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(_BENCH))
    sys.modules.pop("pages", None)
    return importlib.import_module("pages")


def test_between_markers(pages, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n", encoding="utf-8")
    pages.put_between_markers(page, "x", "| new |")
    assert page.read_text(encoding="utf-8") == "a\n<!-- x:begin -->\n| new |\n<!-- x:end -->\nb\n"
    with pytest.raises(SystemExit, match="lacks the markers <!-- y:begin -->"):
        pages.put_between_markers(page, "y", "")


def test_rows_measured_earlier_stay(pages, tmp_path):
    file = tmp_path / "folder" / "results.json"
    assert pages.with_earlier([{"name": "b", "v": 1}], file, "name", "abc") == [{"name": "b", "v": 1}]
    pages.write_results(file, {"rows": [{"name": "a", "v": 1}, {"name": "b", "v": float("inf")}]})
    assert json.loads(file.read_text())["rows"][1]["v"] is None
    kept = pages.with_earlier([{"name": "c", "v": 3}, {"name": "a", "v": 2}], file, "name", "abc")
    assert [(row["name"], row["v"]) for row in kept] == [("a", 2), ("b", None), ("c", 3)]


def test_where_it_was_measured(pages):
    from dlkit.train.environment import environment

    text = pages.measured({**environment(), "threads": 2})
    assert "2 threads; dlkit " in text
    assert text.endswith(environment()["time"][:10])
