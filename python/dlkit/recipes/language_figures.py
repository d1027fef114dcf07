"""What a language model finds surprising, as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlkit.models.mixture import mixed_log_probs
from dlkit.train.plots import PALETTE, _figure, _save

_INK = "#222222"

_WIDEST = 140  # characters of a line


def surprise_lines(
    words: Sequence[str],
    bits: NDArray[np.float64],
    path: str | os.PathLike[str],
    *,
    title: str,
    apart: str = " ",
) -> Path:
    """Draw a text whose words are the redder the more they surprise.

    Parameters
    ----------
    words
        Of the text, in order; ``<eos>`` and a newline end a line.
    bits
        Shape (words,): minus the binary logarithm of each one's probability.
    path
        The PNG to write.
    title
        Headline.
    apart
        What stands between words.

    Returns
    -------
    Path
        The file written.
    """
    from matplotlib import colormaps

    if len(words) != len(bits):
        raise ValueError(f"surprise_lines: {len(words)} words and {len(bits)} numbers; expected as many")
    most = max(float(np.quantile(bits, 0.98)), 1e-9) if len(bits) else 1.0
    shades = colormaps["YlOrRd"]
    lines: list[list[tuple[str, float]]] = [[]]
    length = 0
    for word, value in zip(words, bits.tolist(), strict=True):
        ends = word in ("<eos>", "\n")
        shown = "↵" if ends else word if len(word) <= 24 else word[:23] + "…"
        if length and length + len(shown) + len(apart) > _WIDEST:
            lines.append([])
            length = 0
        lines[-1].append((shown, value))
        length += len(shown) + len(apart)
        if ends:
            lines.append([])
            length = 0
    if not lines[-1]:
        lines.pop()
    figure = _figure(11.0, 0.3 * len(lines) + 0.9)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    axes = figure.add_subplot(1, 1, 1)
    axes.set_axis_off()
    axes.set_xlim(0, 1.02 * _WIDEST)
    axes.set_ylim(len(lines), 0)
    for row, line in enumerate(lines):
        at = 0.0
        for word, value in line:
            share = min(value / most, 1.0)
            axes.text(
                at,
                row + 0.5,
                word,
                fontsize=8.5,
                family="monospace",
                va="center",
                color="white" if share > 0.75 else _INK,
                bbox={"facecolor": shades(0.85 * share), "edgecolor": "none", "pad": 1.2 if apart else 0.4},
                parse_math=False,
            )
            at += len(word) + len(apart)
    return _save(figure, path)


def mixture_curve(
    texts: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    weight: float,
    path: str | os.PathLike[str],
    *,
    title: str,
) -> Path:
    """Draw the perplexity of a mixture of two models, from the second alone to the first alone.

    Parameters
    ----------
    texts
        By name, the log-probabilities of each word of a text by the first and the second model.
    weight
        Of the first, that was chosen.
    path
        The PNG to write.
    title
        Headline.

    Returns
    -------
    Path
        The file written.
    """
    figure = _figure(6.4, 4.0)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    axes = figure.add_subplot(1, 1, 1)
    weights = np.linspace(0, 1, 51)
    for i, (name, (first, second)) in enumerate(texts.items()):
        losses = [-mixed_log_probs(first, second, w).mean() for w in weights]
        values = [float(np.exp(loss)) if loss < 700 else np.nan for loss in losses]
        axes.plot(weights, values, color=PALETTE[i], linestyle="-" if i else "--", label=name)
        best = float(np.exp(-mixed_log_probs(first, second, weight).mean()))
        axes.plot([weight], [best], color=PALETTE[i], marker="o")
        where = (0, -14 if i else 7)
        axes.annotate(f"{name} {best:.1f}", (weight, best), where, textcoords="offset points", fontsize=9)
    axes.axvline(weight, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"weight of the network (chosen on the validation text: {weight:.3f})")
    axes.set_ylabel("perplexity")
    axes.set_xlim(0, 1)
    axes.margins(y=0.12)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return _save(figure, path)
