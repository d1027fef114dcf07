from __future__ import annotations

import shutil
import subprocess

import pytest

import dlkit as dl
from dlkit.autograd.dot import dot_text
from dlkit.autograd.drawing import Drawn, draw, lay_out
from dlkit.autograd.graph import build
from dlkit.autograd.layout import arrange


def test_the_graph_of_the_course():
    a = dl.Tensor(2.0, requires_grad=True, name="a")
    b = dl.Tensor(1.0, requires_grad=True, name="b")
    c, d = a + b, b + 1
    e = c * d
    lines = dot_text(lay_out(build(e, {"c": c, "d": d, "e": e}), e)).splitlines()
    assert lines[0].startswith("digraph")
    assert lines[-1] == "}"
    assert any(line.startswith(r'  n0 [label="a\nvalue 2\n∂e/∂a = 2"') for line in lines)
    assert "  n0 -> n2" + ' [label="1"];' in lines
    assert '  n4 -> n5 [label="3"];' in lines
    assert "  n3 -> n4;" in lines


def test_quotes_and_backslashes_are_escaped():
    drawn = Drawn(arrange([(80, 40)] * 2, [(0, 1)]), [['a"b\\c'], ["d"]], ["leaf", "result"], [(0, 1)], ['"'])
    text = dot_text(drawn)
    assert r'label="a\"b\\c"' in text
    assert r'[label="\""]' in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_graphviz_reads_it(tmp_path):
    x = dl.Tensor(2.0, requires_grad=True, name='<a&b>"\\')
    target = draw(x * 3, tmp_path / "graph.dot")
    subprocess.run(["dot", "-Tsvg", str(target), "-o", str(tmp_path / "graph.svg")], check=True)
