from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from dlkit.autograd.layout import arrange


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    sizes = [(draw(st.floats(10, 200)), draw(st.floats(10, 80))) for _ in range(count)]
    pairs = [(i, j) for j in range(count) for i in range(j)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=25)) if pairs else []
    return sizes, edges


@given(graphs())
def test_any_graph(graph):
    sizes, edges = graph
    layout = arrange(sizes, edges)
    boxes = layout.boxes[: len(sizes)]
    assert [(b.width, b.height) for b in boxes] == sizes
    for box in layout.boxes:
        assert -1e-6 <= box.x <= box.x + box.width <= layout.width + 1e-6
        assert -1e-6 <= box.y - box.height / 2 <= box.y + box.height / 2 <= layout.height + 1e-6
    for a, b in combinations(boxes, 2):
        apart = (
            a.x + a.width <= b.x or b.x + b.width <= a.x or abs(a.y - b.y) >= (a.height + b.height) / 2 - 1e-6
        )
        assert apart, "boxes overlap"
    assert len(layout.ways) == len(edges)
    for (source, target), way in zip(edges, layout.ways, strict=True):
        assert (way[0], way[-1]) == (source, target)
        assert all(i >= len(sizes) for i in way[1:-1])
        for i, j in pairwise(way):
            assert layout.boxes[i].x + layout.boxes[i].width < layout.boxes[j].x + 1e-6
            assert layout.boxes[j].layer == layout.boxes[i].layer + 1


@given(graphs())
def test_the_same_graph_gives_the_same_picture(graph):
    first, second = arrange(*graph), arrange(*graph)
    assert [(b.x, b.y) for b in first.boxes] == [(b.x, b.y) for b in second.boxes]


def test_a_chain_is_a_straight_line():
    layout = arrange([(50, 20)] * 4, [(0, 1), (1, 2), (2, 3)])
    assert len({box.y for box in layout.boxes}) == 1


def test_two_chains_do_not_cross():
    layout = arrange([(50, 20)] * 5, [(0, 3), (1, 2), (2, 4), (3, 4)])
    boxes = layout.boxes
    assert (boxes[0].y < boxes[1].y) == (boxes[3].y < boxes[2].y)


def test_leaves_stand_next_to_what_uses_them():
    layout = arrange([(50, 20)] * 4, [(0, 1), (1, 3), (2, 3)])
    assert layout.boxes[2].layer == layout.boxes[1].layer
