"""A map of word vectors as a picture, with as many names as have room."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.models.embedding_map import EmbeddingMap

from .plots import PALETTE, _figure, _save

_LONGEST = 26  # characters of a name
_CELL = 64.0  # pixels

Box = tuple[float, float, float, float]  # left, bottom, right, top


def draw_embedding_map(
    points: EmbeddingMap, path: str | os.PathLike[str], *, title: str = "Map of words"
) -> Path:
    """Draw a map: a point for each word, and names where no two overlap, the most important first.

    Parameters
    ----------
    points
        What `dlkit.KeyedVectors.map` gave.
    path
        The PNG to write.
    title
        Headline.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    figure = _figure(12.0, 8.6)
    note = f"{points.how}, {len(points):,} word{'s' * (len(points) != 1)} of {points.dimensions} dimensions"
    figure.suptitle(_plain(f"{title}: {note}", 150), fontsize=12, x=0.01, ha="left", parse_math=False)
    axes = figure.add_subplot(1, 1, 1)
    x, y = points.points.T
    asked = points.asked or len(points)
    size = 26.0 if len(points) <= 300 else 12.0
    added = slice(asked, None)
    axes.scatter(x[added], y[added], s=size, color=PALETTE[4], alpha=0.75, linewidths=0)
    some = asked < len(points)
    axes.scatter(
        x[:asked], y[:asked], s=2 * size if some else size, color=PALETTE[0], alpha=0.6, linewidths=0
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.04)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.draw_without_rendering()  # only now is it known where points lie
        _name(figure, axes, points, asked if some else 0, size)
        return _save(figure, path)


def _plain(word: str, longest: int = _LONGEST) -> str:
    """A word as one line of printable characters."""
    shown = "".join(c if c.isprintable() else "�" for c in word[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _name(figure: Any, axes: Any, points: EmbeddingMap, bold: int, size: float) -> None:
    from matplotlib.font_manager import FontProperties

    renderer = figure.canvas.get_renderer()
    places = axes.transData.transform(np.asarray(points.points))
    frame = axes.get_window_extent()
    taken = Taken()
    gap = (size**0.5 / 2 + 1.5) * figure.dpi / 72
    fonts = {
        heavy: FontProperties(size=9.5 if heavy else 8.5, weight="bold" if heavy else "normal")
        for heavy in (False, True)
    }
    for number, (word, (px, py)) in enumerate(zip(points.words, places.tolist(), strict=True)):
        text, font = _plain(word), fonts[number < bold]
        width, height, _ = renderer.get_text_width_height_descent(text, font, ismath=False)
        for left, bottom in (
            (px + gap, py - height / 2),
            (px - gap - width, py - height / 2),
            (px - width / 2, py + gap),
            (px - width / 2, py - gap - height),
        ):
            box = (left - 2, bottom - 1, left + width + 2, bottom + height + 1)
            inside = box[0] > frame.x0 and box[2] < frame.x1 and box[1] > frame.y0 and box[3] < frame.y1
            if inside and taken.take(box):
                at = axes.transData.inverted().transform((left, bottom + height / 2))
                axes.text(
                    *at,
                    text,
                    fontproperties=font,
                    color="#222222",
                    va="center_baseline",
                    parse_math=False,
                )
                break


class Taken:
    """Rectangles that do not overlap, found again by the cells that they touch."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Box]] = {}

    def take(self, box: Box) -> bool:
        """Keep a rectangle, unless it overlaps one that is kept; whether it is."""
        cells = list(_cells_of(box))
        if any(_overlap(box, other) for cell in cells for other in self._cells.get(cell, ())):
            return False
        for cell in cells:
            self._cells.setdefault(cell, []).append(box)
        return True


def _cells_of(box: Box) -> Iterator[tuple[int, int]]:
    left, bottom, right, top = (int(side // _CELL) for side in box)
    columns: Iterable[int] = range(left, right + 1)
    return ((i, j) for i in columns for j in range(bottom, top + 1))


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and a[2] > b[0] and a[1] < b[3] and a[3] > b[1]


__all__ = ["draw_embedding_map"]
