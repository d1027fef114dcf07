"""A graph as an SVG picture."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from dlkit.autograd.drawing import Drawn
    from dlkit.autograd.layout import Layout

MARGIN = 20.0
FILLS = {"leaf": "#dbe9f9", "constant": "#eeeeee", "operation": "#ffffff", "result": "#dcf2dc"}
STROKES = {"leaf": "#2f6db5", "constant": "#999999", "operation": "#555555", "result": "#2e8b3a"}
_VALUE, _DERIVATIVE = "#222222", "#b3261e"
_ALONG = (0.42, 0.5, 0.34, 0.58, 0.66, 0.26, 0.74, 0.18, 0.82)  # where to try to put a label
_MOST_WEIGHED = 200  # edges; with more of them labels go where they go


def way_points(layout: Layout, way: list[int]) -> list[tuple[float, float]]:
    """Return where an edge begins, passes and ends."""
    boxes = layout.boxes
    first, last = boxes[way[0]], boxes[way[-1]]
    middle = [(boxes[i].x, boxes[i].y) for i in way[1:-1]]
    return [(first.x + first.width, first.y), *middle, (last.x, last.y)]


def label_places(layout: Layout, labels: list[str]) -> list[tuple[float, float]]:
    """Return where the middle of each edge's label goes.

    On the edge's first stretch, a little before its middle, or further along where other labels or edges are less in
    the way.
    """
    ways = [way_points(layout, way) for way in layout.ways]
    first = [(points[0], points[1]) for points in ways]
    if len(first) > _MOST_WEIGHED:
        return [_on_curve(*points, _ALONG[0]) for points in first]
    curves = [[_on_curve(*points, k / 32) for k in range(33)] for points in first]
    places: list[tuple[float, float]] = []
    for i, label in enumerate(labels):
        half = label_half_width(label)
        best, least = _on_curve(*first[i], _ALONG[0]), float("inf")
        for rank, along in enumerate(_ALONG if label else ()):
            x, y = _on_curve(*first[i], along)
            crowd = float(rank) / 4
            for j, (u, v) in enumerate(places):
                if labels[j] and abs(u - x) < half + label_half_width(labels[j]) and abs(v - y) < 18:
                    crowd += 100
            for j, curve in enumerate(curves):
                if j != i:
                    crowd += sum(abs(u - x) < half and abs(v - y) < 10 for u, v in curve)
            if crowd < least:
                best, least = (x, y), crowd
        places.append(best)
    return places


def label_half_width(label: str) -> float:
    """Return half the width of a label and its backing."""
    return len(label) * 4.2 + 4


def _on_curve(start: tuple[float, float], end: tuple[float, float], t: float) -> tuple[float, float]:
    # The Bezier curve that leaves and arrives level, with both control points at half the way.
    (x0, y0), (x1, y1) = start, end
    return x0 + (x1 - x0) * t * (1.5 - 1.5 * t + t * t), y0 + (y1 - y0) * t * t * (3 - 2 * t)


def svg_text(drawn: Drawn) -> str:
    """Return the picture. Derivatives are red; leaves blue, constants grey, the result green."""
    layout = drawn.layout
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" font-family="DejaVu Sans, Verdana, Helvetica, Arial, sans-serif" '
        'font-size="13">',
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0,1 L10,5 L0,9 z" fill="#666666"/></marker></defs>',
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="#ffffff"/>',
        f'<g transform="translate({MARGIN:.0f},{MARGIN:.0f})">',
    ]
    labels = []
    places = label_places(layout, drawn.labels)
    for way, label, (x, y) in zip(layout.ways, drawn.labels, places, strict=True):
        points = way_points(layout, way)
        path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in pairwise(points):
            middle = (x0 + x1) / 2
            path += f" C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
        parts.append(
            f'<path d="{path}" fill="none" stroke="#666666" stroke-width="1.4" marker-end="url(#arrow)"/>'
        )
        if label:
            half = label_half_width(label)
            labels.append(
                f'<rect x="{x - half:.1f}" y="{y - 9:.1f}" width="{2 * half:.1f}" height="18" fill="#ffffff" '
                'fill-opacity="0.85"/>'
                f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="12" fill="{_DERIVATIVE}">'
                f"{escape(label)}</text>"
            )
    parts += labels
    for box, lines, kind in zip(layout.boxes, drawn.texts, drawn.kinds, strict=False):
        top = box.y - box.height / 2
        parts.append(
            f'<rect x="{box.x:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="7" '
            f'fill="{FILLS[kind]}" stroke="{STROKES[kind]}" stroke-width="1.5"/>'
        )
        y = box.y - (len(lines) - 1) * 9.5 + 4.5
        for k, line in enumerate(lines):
            weight = ' font-weight="bold"' if k == 0 else ""
            colour = _DERIVATIVE if line.startswith("∂") else _VALUE
            parts.append(
                f'<text x="{box.x + box.width / 2:.1f}" y="{y + 19 * k:.1f}" text-anchor="middle" '
                f'fill="{colour}"{weight}>{escape(line)}</text>'
            )
    parts.append("</g></svg>")
    return "\n".join(parts) + "\n"
