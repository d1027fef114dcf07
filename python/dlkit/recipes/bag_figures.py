"""Likeness of words and of sentences by one representation beside another, and what a linear classifier looks at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlkit.train.plots import PALETTE

from .figures import _figure, _save, _tidy

_INK = "#222222"


def likeness_panels(
    words: Sequence[str],
    panels: Mapping[str, NDArray[np.float64]],
    path: str | os.PathLike[str],
    *,
    title: str,
) -> Path:
    """Draw the cosines of some words with each other, one table for each representation.

    Parameters
    ----------
    words
        Of rows and columns.
    panels
        By headline: the cosines, shape (words, words).
    path
        The PNG to write.
    title
        Of the picture.
    """
    count = len(words)
    side = 1.6 + 0.42 * max(count, 4)
    figure = _figure(side * len(panels) + 0.8, side + 0.5)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", parse_math=False)
    names = [word if len(word) <= 16 else word[:15] + "…" for word in words]
    image = None
    for number, (name, cosines) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), number + 1)
        image = axes.imshow(cosines, cmap="RdBu", vmin=-1, vmax=1)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xticks(range(count), names, rotation=90, fontsize=8.5, parse_math=False)
        axes.set_yticks(range(count), names, fontsize=8.5, parse_math=False)
        for i in range(count):
            for j in range(count):
                value = float(cosines[i, j])
                text = f"{value:.1f}" if abs(value) >= 0.05 else "0"
                colour = "white" if abs(value) > 0.6 else _INK
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
        for spine in axes.spines.values():
            spine.set_visible(False)
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.7, pad=0.02)
    bar.set_label("cosine", fontsize=9)
    bar.outline.set_visible(False)
    return _save(figure, path)


def pair_bars(
    pairs: Sequence[str], values: Mapping[str, Sequence[float]], path: str | os.PathLike[str], *, title: str
) -> Path:
    """Draw how alike each pair is by each representation.

    Parameters
    ----------
    pairs
        What is compared, as text; may have several lines.
    values
        By representation: the cosine of each pair.
    path
        The PNG to write.
    title
        Of the picture.
    """
    lines = max((text.count("\n") + 1 for text in pairs), default=1)
    figure = _figure(9.6, 1.3 + len(pairs) * max(0.22 * len(values), 0.22 * lines) * 1.25)
    axes = figure.add_subplot(1, 1, 1)
    axes.set_title(title, fontsize=11, loc="left", parse_math=False)
    places = np.arange(len(pairs), dtype=float)
    tall = 0.8 / len(values)
    for number, (name, some) in enumerate(values.items()):
        at = places + (number - (len(values) - 1) / 2) * tall
        axes.barh(at, some, height=tall * 0.86, color=PALETTE[number], label=name)
        for y, value in zip(at.tolist(), some, strict=True):
            text = f"{value:.2f}" if abs(value) >= 0.005 else "0"
            axes.text(max(value, 0) + 0.01, y, text, va="center", fontsize=8, color=_INK)
    axes.set_yticks(places, pairs, fontsize=8.5, parse_math=False)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    lowest = min((value for some in values.values() for value in some), default=0.0)
    axes.set_xlim(min(0.0, lowest - 0.05), 1.09)
    axes.axvline(0, color="#888888", linewidth=0.8)
    axes.set_xlabel("cosine")
    _tidy(axes)
    axes.grid(False)
    axes.grid(True, axis="x", color="#e3e3e3", linewidth=0.8)
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=len(values))
    return _save(figure, path)


def class_words(
    classes: Sequence[str],
    words: Sequence[Sequence[tuple[str, float]]],
    path: str | os.PathLike[str],
    *,
    title: str,
) -> Path:
    """Draw the words that speak most for each class, as bars with their names.

    Parameters
    ----------
    classes
        Their names.
    words
        Of each class its words and how much they say, the most first.
    path
        The PNG to write.
    title
        Of the picture.
    """
    columns = min(4, len(classes))
    rows = -(-len(classes) // columns)
    longest = max((len(some) for some in words), default=1)
    figure = _figure(2.9 * columns, rows * (0.22 * longest + 0.5) + 0.5)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", parse_math=False)
    for number, (name, some) in enumerate(zip(classes, words, strict=True)):
        axes = figure.add_subplot(rows, columns, number + 1)
        heights = np.arange(len(some))
        axes.barh(heights, [value for _, value in some], color=PALETTE[number % 6], alpha=0.3, height=0.82)
        for height, (word, _) in zip(heights, some, strict=True):
            axes.text(
                0.02,
                height,
                word if len(word) <= 24 else word[:23] + "…",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=8.5,
                color=_INK,
                parse_math=False,
            )
        axes.set_ylim(longest - 0.5, -0.5)
        axes.set_xlim(0, max([*(value for _, value in some), 1e-6]) * 1.02)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(name, fontsize=9.5, loc="left", pad=2, parse_math=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return _save(figure, path)
