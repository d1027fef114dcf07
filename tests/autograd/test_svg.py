from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

import dlkit as dl
from dlkit.autograd.drawing import Drawn, lay_out
from dlkit.autograd.graph import build
from dlkit.autograd.layout import arrange
from dlkit.autograd.svg import label_half_width, label_places, svg_text, way_points

NAMESPACE = "{http://www.w3.org/2000/svg}"


def picture():
    a = dl.Tensor(2.0, requires_grad=True, name="a")
    b = dl.Tensor(1.0, requires_grad=True, name="b")
    result = (a * b + b.exp()) / (a - b) ** 2
    return lay_out(build(result, {}), result)


def test_it_is_xml_with_every_text():
    drawn = picture()
    root = ElementTree.fromstring(svg_text(drawn))
    texts = ["".join(node.itertext()) for node in root.iter(f"{NAMESPACE}text")]
    for line in [line for lines in drawn.texts for line in lines] + [
        label for label in drawn.labels if label
    ]:
        assert line in texts
    assert len(list(root.iter(f"{NAMESPACE}path"))) == len(drawn.edges) + 1  # and the arrow head


def test_everything_lies_within_the_picture():
    drawn = picture()
    root = ElementTree.fromstring(svg_text(drawn))
    width, height = float(root.get("width")), float(root.get("height"))
    group = root.find(f"{NAMESPACE}g")
    numbers = [
        (float(node.get("x")), float(node.get("y")), float(node.get("width")), float(node.get("height")))
        for node in group.iter(f"{NAMESPACE}rect")
    ]
    assert all(x >= 0 and y >= 0 and x + w <= width - 39 and y + h <= height - 39 for x, y, w, h in numbers)


def test_derivatives_are_red_and_names_bold():
    text = svg_text(picture())
    assert re.search(r'fill="#b3261e">∂', text)
    assert re.search(r'font-weight="bold">v3 = v1 \+ v2<', text)


def test_texts_are_escaped():
    drawn = Drawn(arrange([(80, 40)], []), [["<b>&amp;", "]]>"]], ["leaf"], [], [])
    root = ElementTree.fromstring(svg_text(drawn))
    assert ["".join(node.itertext()) for node in root.iter(f"{NAMESPACE}text")] == ["<b>&amp;", "]]>"]


def test_labels_stand_apart_and_on_their_edges():
    drawn = picture()
    places = label_places(drawn.layout, drawn.labels)
    shown = [(p, label) for p, label in zip(places, drawn.labels, strict=True) if label]
    for i, ((x, y), label) in enumerate(shown):
        for (u, v), other in shown[:i]:
            assert abs(u - x) >= label_half_width(label) + label_half_width(other) or abs(v - y) >= 18
    for way, (x, y) in zip(drawn.layout.ways, places, strict=True):
        (x0, y0), (x1, y1) = way_points(drawn.layout, way)[:2]
        assert x0 < x < x1
        assert min(y0, y1) <= y <= max(y0, y1)


def test_labels_of_large_graphs():
    count = 300
    layout = arrange([(50, 30)] * count, [(i, i + 1) for i in range(count - 1)])
    places = label_places(layout, ["1"] * (count - 1))
    assert len(places) == count - 1
    assert all(a[0] < b[0] for a, b in itertools.pairwise(places))


@pytest.mark.parametrize("count", [1, 2])
def test_edges_between_the_same_two_nodes(count):
    layout = arrange([(50, 30)] * 2, [(0, 1)] * count)
    places = label_places(layout, ["3"] * count)
    assert len(set(places)) == count
