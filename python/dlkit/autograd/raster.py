"""A graph as a PNG or PDF picture, drawn by matplotlib."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from dlkit.autograd.svg import FILLS, MARGIN, STROKES, label_places, way_points

if TYPE_CHECKING:
    from dlkit.autograd.drawing import Drawn

_POINTS_PER_PIXEL = 0.75
_MOST_PIXELS = 60_000  # along a side; matplotlib draws fewer than 2^16


def save_figure(drawn: Drawn, target: Path) -> None:
    """Write the picture; the same as the SVG one.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
        from matplotlib.path import Path as Curve
    except ImportError as error:
        raise ImportError(
            f'draw: {target.suffix} files need matplotlib: pip install "dlkit[cli]" (or draw an .svg file)'
        ) from error
    layout = drawn.layout
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    dots = min(192.0, _MOST_PIXELS * 96 / max(width, height))
    figure = Figure(figsize=(width / 96, height / 96), dpi=dots)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-MARGIN, layout.width + MARGIN)
    axes.set_ylim(layout.height + MARGIN, -MARGIN)
    axes.axis("off")
    places = label_places(layout, drawn.labels)
    for way, label, (x, y) in zip(layout.ways, drawn.labels, places, strict=True):
        points = way_points(layout, way)
        vertices, codes = [points[0]], [Curve.MOVETO]
        for (x0, y0), (x1, y1) in pairwise(points):
            vertices += [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)]
            codes += [Curve.CURVE4] * 3
        axes.add_patch(
            FancyArrowPatch(
                path=Curve(vertices, codes),
                arrowstyle="-|>",
                mutation_scale=9,
                color="#666666",
                linewidth=1.05,
            )
        )
        if label:
            backing = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
            axes.text(
                x,
                y,
                label,
                ha="center",
                va="center",
                color="#b3261e",
                fontsize=12 * _POINTS_PER_PIXEL,
                bbox=backing,
            )
    for box, lines, kind in zip(layout.boxes, drawn.texts, drawn.kinds, strict=False):
        axes.add_patch(
            FancyBboxPatch(
                (box.x, box.y - box.height / 2),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=7",
                facecolor=FILLS[kind],
                edgecolor=STROKES[kind],
                linewidth=1.1,
                zorder=3,
            )
        )
        y = box.y - (len(lines) - 1) * 9.5
        for k, line in enumerate(lines):
            axes.text(
                box.x + box.width / 2,
                y + 19 * k,
                line,
                parse_math=False,
                usetex=False,
                ha="center",
                va="center",
                color="#b3261e" if line.startswith("∂") else "#222222",
                fontsize=13 * _POINTS_PER_PIXEL,
                fontweight="bold" if k == 0 else "normal",
                zorder=4,
            )
    figure.savefig(target)
