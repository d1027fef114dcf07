"""Where to put the nodes of a drawn graph: in layers from left to right, edges with few crossings.

Sugiyama, Tagawa & Toda, "Methods for Visual Understanding of Hierarchical System Structures", 1981, in its simplest
form: layers by longest path, order within them by barycentres, points on the way for edges that skip layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LAYER_GAP = 96.0
NODE_GAP = 30.0


@dataclass
class Box:
    """A node, or a point that an edge passes through."""

    width: float
    height: float
    x: float = 0.0  # left
    y: float = 0.0  # middle
    layer: int = 0
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


@dataclass
class Layout:
    """Boxes (those of the nodes first), the way of each edge as numbers of boxes, and the size of it all."""

    boxes: list[Box]
    ways: list[list[int]]
    width: float
    height: float


def arrange(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes so that every edge goes to the right.

    Parameters
    ----------
    sizes : sequence of (width, height)
        Of the nodes, each after those with edges to it.
    edges : sequence of (from, to)
        Numbers of nodes; from comes before to.
    """
    boxes = [Box(*size) for size in sizes]
    _assign_layers(boxes, edges)
    ways = _insert_points(boxes, edges)
    layers: list[list[int]] = [[] for _ in range(max((b.layer for b in boxes), default=0) + 1)]
    for i, box in enumerate(boxes):
        layers[box.layer].append(i)
    _order(boxes, layers)
    x = 0.0
    for layer in layers:
        width = max(boxes[i].width for i in layer)
        for i in layer:
            boxes[i].x = x + (width - boxes[i].width) / 2
        x += width + LAYER_GAP
    _settle(boxes, layers)
    top = min(b.y - b.height / 2 for b in boxes)
    for box in boxes:
        box.y -= top
    return Layout(boxes, ways, x - LAYER_GAP, max(b.y + b.height / 2 for b in boxes))


def _assign_layers(boxes: list[Box], edges: Sequence[tuple[int, int]]) -> None:
    has_input = {target for _, target in edges}
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        boxes[target].layer = max(boxes[target].layer, boxes[source].layer + 1)
    # Leaves stand right before the first node that uses them.
    for i, box in enumerate(boxes):
        users = [boxes[target].layer for source, target in edges if source == i] if i not in has_input else []
        if users:
            box.layer = min(users) - 1


def _insert_points(boxes: list[Box], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    ways = []
    for source, target in edges:
        way = [source]
        for layer in range(boxes[source].layer + 1, boxes[target].layer):
            boxes.append(Box(0, 0, layer=layer))
            way.append(len(boxes) - 1)
        way.append(target)
        for a, b in pairwise(way):
            boxes[a].after.append(b)
            boxes[b].before.append(a)
        ways.append(way)
    return ways


def _order(boxes: list[Box], layers: list[list[int]]) -> None:
    place = {i: float(k) for layer in layers for k, i in enumerate(layer)}

    def barycentre(i: int, neighbours: list[int]) -> float:
        return sum(place[n] for n in neighbours) / len(neighbours) if neighbours else place[i]

    for sweep in range(8):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            layer.sort(key=lambda i: barycentre(i, boxes[i].before if forward else boxes[i].after))
            for k, i in enumerate(layer):
                place[i] = k / max(len(layer) - 1, 1) if len(layer) > 1 else 0.5


def _settle(boxes: list[Box], layers: list[list[int]]) -> None:
    for layer in layers:
        y = 0.0
        for i in layer:
            boxes[i].y = y + boxes[i].height / 2
            y += boxes[i].height + NODE_GAP
        for i in layer:
            boxes[i].y -= y / 2
    for sweep in range(10):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            wanted = []
            for i in layer:
                neighbours = boxes[i].before if forward else boxes[i].after
                wanted.append(
                    sum(boxes[n].y for n in neighbours) / len(neighbours) if neighbours else boxes[i].y
                )
            y = wanted[0]
            places = []
            for k, i in enumerate(layer):
                if k:
                    above = layer[k - 1]
                    y = max(wanted[k], y + (boxes[above].height + boxes[i].height) / 2 + NODE_GAP)
                places.append(y)
            shift = (sum(wanted) - sum(places)) / len(layer)
            for i, y in zip(layer, places, strict=True):
                boxes[i].y = y + shift
