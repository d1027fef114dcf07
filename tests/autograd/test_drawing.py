from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import draw
from dlkit.autograd.drawing import lay_out
from dlkit.autograd.graph import build


@pytest.fixture
def course():
    a = dl.Tensor(2.0, requires_grad=True, name="a")
    b = dl.Tensor(1.0, requires_grad=True, name="b")
    c, d = a + b, b + 1
    e = c * d
    for tensor, name in ((c, "c"), (d, "d"), (e, "e")):
        tensor.name = name
    return e


def test_what_there_is_to_draw(course):
    drawn = lay_out(build(course, {}), course)
    assert drawn.texts == [
        ["a", "value 2", "∂e/∂a = 2"],
        ["b", "value 1", "∂e/∂b = 5"],
        ["c = a + b", "value 3", "∂e/∂c = 2"],
        ["1"],
        ["d = b + 1", "value 2", "∂e/∂d = 3"],
        ["e = c × d", "value 6", "∂e/∂e = 1"],
    ]
    assert drawn.kinds == ["leaf", "leaf", "operation", "constant", "operation", "result"]
    labelled = dict(zip(drawn.edges, drawn.labels, strict=True))
    assert labelled == {(0, 2): "1", (1, 2): "1", (1, 4): "1", (3, 4): "", (2, 5): "2", (4, 5): "3"}


@pytest.mark.parametrize("ending", [".svg", ".dot", ".gv", ".png", ".pdf", ".SVG"])
@pytest.mark.parametrize("when", ["before backward", "after backward"])
def test_every_format(course, tmp_path, ending, when):
    if ending in (".png", ".pdf"):
        pytest.importorskip("matplotlib")
    if when == "after backward":
        course.backward()
    target = tmp_path / f"graph{ending}"
    assert draw(course, target) == target
    start = target.read_bytes()[:4]
    assert start == {".png": b"\x89PNG", ".pdf": b"%PDF"}.get(
        ending, b"<svg" if ending.lower() == ".svg" else b"digr"
    )
    assert str(draw(course, str(target))) == str(target)


def test_names_of_the_callers_variables(tmp_path):
    left = dl.tensor(2.0, requires_grad=True)
    draw(left * 3, tmp_path / "graph.svg")
    assert "left" in (tmp_path / "graph.svg").read_text(encoding="utf-8")
    draw(left * 3, tmp_path / "graph.svg", names={"right": left})
    assert "right" in (tmp_path / "graph.svg").read_text(encoding="utf-8")


class TestErrors:
    @pytest.mark.parametrize("name", ["graph.jpg", "graph", "graph.svg.gz", ".svg"])
    def test_another_ending(self, course, tmp_path, name):
        with pytest.raises(
            ValueError, match=r"draw: path ends in '.*'; expected \.svg, \.dot, \.png or \.pdf"
        ):
            draw(course, tmp_path / name)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("ending", [".svg", ".dot", ".png"])
    def test_a_path_that_cannot_be_written(self, course, tmp_path, ending):
        missing = tmp_path / "missing" / f"graph{ending}"
        with pytest.raises(FileNotFoundError, match="missing"):
            draw(course, missing)
        folder = tmp_path / f"folder{ending}"
        folder.mkdir()
        with pytest.raises(OSError, match="folder"):
            draw(course, folder)

    def test_too_many_nodes(self, tmp_path):
        x = dl.tensor(1.0, requires_grad=True)
        for _ in range(600):
            x = x + 1
        with pytest.raises(ValueError, match=r"draw: the graph has \d+ nodes; expected at most 1000"):
            draw(x, tmp_path / "graph.svg")

    @pytest.mark.parametrize("given", [2.0, None, np.ones(1)], ids=repr)
    def test_something_else(self, tmp_path, given):
        with pytest.raises(TypeError, match="tensor is a"):
            draw(given, tmp_path / "graph.svg")

    def test_without_matplotlib(self, course, tmp_path, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"draw: \.png files need matplotlib: .*draw an \.svg file"):
            draw(course, tmp_path / "graph.png")


_HOSTILE = [
    *("<a&b>\"'", "]]>", "<script>", "$x$", r"\alpha", "é λ 中", "", "x" * 5000),
    *("a\nb", "\x00\x1b[31m", "\ud800", "\uffff"),
]


@pytest.mark.parametrize("name", _HOSTILE, ids=lambda name: ascii(name)[:20])
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("ending", [".svg", ".dot", ".png"])
def test_hostile_names(tmp_path, name, ending):
    x = dl.Tensor(2.0, requires_grad=True, name=name)
    target = tmp_path / f"graph{ending}"
    draw(x * 3, target)
    if ending == ".svg":
        root = ElementTree.parse(target).getroot()
        texts = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]
        shown = "".join(c if c.isprintable() else "\ufffd" for c in name)[:70]
        if shown:
            assert any(shown in text for text in texts)
        assert not any(node.tag.endswith("script") for node in root.iter())
        assert float(root.get("width")) < 3000
    if ending == ".dot":
        lines = target.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 4 + 3 + 2 + 1


def test_graphs_of_other_kinds(tmp_path):
    x = dl.randn(20, 10, requires_grad=True)
    pieces = x.relu().sum(0).split(5)
    for tensor in ((pieces[0] * pieces[1]).sum(), x, dl.ones(2), dl.zeros(0, requires_grad=True) * 1):
        draw(tensor, tmp_path / "graph.svg")
        ElementTree.parse(tmp_path / "graph.svg")


def test_the_same_tensor_twice_in_one_operation(tmp_path):
    x = dl.tensor(3.0, requires_grad=True, name="x")
    drawn = lay_out(build(x * x, {}), x * x)
    assert drawn.edges == [(0, 1), (0, 1)]
    assert drawn.labels == ["3", "3"]
