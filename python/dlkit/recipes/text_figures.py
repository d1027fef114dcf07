"""The pictures of text models: what excites the filters, which words decide, how the folds differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.train.plots import PALETTE

from .figures import _figure, _save, _tidy
from .text_predictor import Ngram

_WIDEST = 78  # characters of a line of a sentence
_INK = "#222222"


@dataclass(frozen=True)
class FilterView:
    """A filter as a picture shows it.

    Attributes
    ----------
    region
        Words that it sees at once.
    number
        Among the filters of its region size.
    speaks_for
        The class that it speaks for.
    ngrams
        What excites it most.
    """

    region: int
    number: int
    speaks_for: str
    ngrams: Sequence[Ngram]


def ngram_table(filters: Sequence[FilterView], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw what excites each of some filters most, as bars with their words."""
    regions = sorted({view.region for view in filters})
    per = max(sum(view.region == region for view in filters) for region in regions)
    longest = max((len(view.ngrams) for view in filters), default=1)
    figure = _figure(5.2 * len(regions), per * (0.24 * longest + 0.42) + 0.7)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    for column, region in enumerate(regions):
        some = [view for view in filters if view.region == region]
        for row, view in enumerate(some):
            axes = figure.add_subplot(per, len(regions), row * len(regions) + column + 1)
            answers = [ngram.answer for ngram in view.ngrams]
            heights = np.arange(len(answers))
            axes.barh(heights, answers, color=PALETTE[column % len(PALETTE)], alpha=0.28, height=0.82)
            for height, ngram in zip(heights, view.ngrams, strict=True):
                text = " ".join(ngram.words)
                axes.text(
                    0.01,
                    height,
                    text if len(text) <= 44 else text[:43] + "…",
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    fontsize=8.5,
                    color=_INK,
                    parse_math=False,
                )
            axes.set_ylim(longest - 0.5, -0.5)
            axes.set_xlim(0, max([*answers, 1e-6]) * 1.02)
            axes.set_yticks([])
            axes.set_xticks([])
            axes.set_title(
                f"{region} words, filter {view.number}: for {view.speaks_for}",
                fontsize=8.5,
                loc="left",
                pad=2,
                parse_math=False,
            )
            for spine in axes.spines.values():
                spine.set_visible(False)
    return _save(figure, path)


@dataclass(frozen=True)
class Explained:
    """A sentence with what each word says.

    Attributes
    ----------
    words, saliency
        Of each word how much it speaks for the predicted class.
    predicted, true
        Class names.
    """

    words: Sequence[str]
    saliency: NDArray[Any]
    predicted: str
    true: str


def saliency_lines(sentences: Sequence[Explained], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw sentences with the words that speak for the answer in blue and those against it in red."""
    from matplotlib import colormaps

    shades = colormaps["RdBu"]
    rows: list[tuple[str, list[tuple[str, float]]]] = []
    for sentence in sentences:
        strength = max(float(np.abs(sentence.saliency).max(initial=0)), 1e-12)
        right = sentence.predicted == sentence.true
        head = sentence.predicted if right else f"{sentence.predicted}, but is {sentence.true}"
        rows.append((head, []))
        length = 0
        for word, value in zip(sentence.words, sentence.saliency.tolist(), strict=True):
            shown = word if len(word) <= 24 else word[:23] + "…"
            if length and length + len(shown) + 1 > _WIDEST:
                rows.append(("", []))
                length = 0
            rows[-1][1].append((shown, value / strength))
            length += len(shown) + 1
    figure = _figure(10.6, 0.27 * len(rows) + 0.6)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    axes = figure.add_subplot(1, 1, 1)
    axes.set_axis_off()
    axes.set_xlim(0, 124)
    axes.set_ylim(len(rows), 0)
    for row, (head, words) in enumerate(rows):
        axes.text(
            0,
            row + 0.5,
            head if len(head) <= 46 else head[:45] + "…",
            fontsize=7.5,
            va="center",
            color=_INK,
            parse_math=False,
        )
        at = 36.0
        for word, value in words:
            axes.text(
                at,
                row + 0.5,
                word,
                fontsize=8.5,
                family="monospace",
                va="center",
                color="white" if abs(value) > 0.75 else _INK,
                bbox={"facecolor": shades(0.5 + 0.5 * value), "edgecolor": "none", "pad": 1.4},
                parse_math=False,
            )
            at += 0.86 * len(word) + 1.3
    return _save(figure, path)


def fold_accuracies(accuracies: Sequence[float], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw the accuracy on each fold, and their mean."""
    figure = _figure(6.4, 3.4)
    axes = figure.add_subplot(1, 1, 1)
    values = np.asarray(accuracies)
    axes.plot(np.arange(len(values)), values, "o", color=PALETTE[0])
    axes.axhline(values.mean(), color=PALETTE[1], linewidth=1.4)
    axes.annotate(
        f"mean {values.mean():.2%}",
        (1.0, values.mean()),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
        color=PALETTE[1],
        fontsize=9,
    )
    axes.set_xticks(np.arange(len(values)))
    axes.set_xlabel("fold that was tested on")
    axes.set_ylabel("accuracy")
    axes.set_title(title, fontsize=11, loc="left")
    _tidy(axes)
    return _save(figure, path)


@dataclass(frozen=True)
class Setting:
    """Accuracies over the values of one setting.

    Attributes
    ----------
    title
        What is varied.
    values
        As text.
    accuracies
        For each value, those of its folds or seeds.
    joined
        Whether the values have an order, so that a line may join them.
    """

    title: str
    values: Sequence[str]
    accuracies: Sequence[Sequence[float]]
    joined: bool = True


def sweep_panels(
    settings: Sequence[Setting], path: str | os.PathLike[str], *, baseline: float, title: str
) -> Path:
    """Draw mean and spread of the accuracy for each value of each setting, one panel a setting."""
    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    figure = _figure(4.3 * columns, 3.1 * rows + 0.4)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    every = [value for setting in settings for each in setting.accuracies for value in each]
    low, high = 100 * min([*every, baseline]), 100 * max([*every, baseline])
    margin = max(0.06 * (high - low), 0.3)
    for i, setting in enumerate(settings):
        axes = figure.add_subplot(rows, columns, i + 1)
        places = np.arange(len(setting.values))
        means = [100 * float(np.mean(each)) for each in setting.accuracies]
        axes.axhline(100 * baseline, color="#888888", linewidth=0.9, linestyle=":")
        for place, each in zip(places, setting.accuracies, strict=True):
            axes.vlines(place, 100 * min(each), 100 * max(each), color=PALETTE[4], linewidth=5, alpha=0.5)
        style = "o-" if setting.joined else "o"
        axes.plot(places, means, style, color=PALETTE[0], linewidth=1.4, markersize=4.5)
        axes.set_xlim(-0.5, len(setting.values) - 0.5)
        axes.set_xticks(places, setting.values, fontsize=8, rotation=25 if len(setting.values) > 4 else 0)
        axes.set_ylim(low - margin, high + margin)
        axes.set_title(setting.title, fontsize=9.5, loc="left")
        if i % columns == 0:
            axes.set_ylabel("accuracy in %")
        _tidy(axes)
    return _save(figure, path)
