from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from dlkit.recipes import get


def test_the_values_of_the_course(tmp_path):
    result = get("graph").run(run_dir=tmp_path / "run")
    table = {
        record["name"]: (record["value"], record["derivative"])
        for record in map(json.loads, (result.folder / "metrics.jsonl").read_text().splitlines())
    }
    assert table == {"a": (2, 2), "b": (1, 5), "c": (3, 2), "d": (2, 3), "e": (6, 1)}
    assert result.target.reached(result.metrics)


@pytest.mark.parametrize(("a", "b"), [(0.5, -3.0), (0.0, 0.0), (-2.0, 7.25)])
def test_derivatives_anywhere(tmp_path, a, b):
    metrics = get("graph").run(run_dir=tmp_path / "run", a=a, b=b).metrics
    assert metrics["e"] == (a + b) * (b + 1)
    assert metrics["de_da"] == b + 1
    assert metrics["de_db"] == a + 2 * b + 1


def test_the_drawing_is_svg_that_names_every_node(tmp_path):
    result = get("graph").run(run_dir=tmp_path / "run")
    root = ElementTree.parse(result.folder / "graph.svg").getroot()
    assert root.tag.endswith("svg")
    text = " ".join("".join(node.itertext()) for node in root.iter())
    for name in "abcde":
        assert name in text
