"""Pictures of n-gram models."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.train.plots import _MARKERS, PALETTE, _figure, _save


def perplexities(records: Sequence[dict[str, Any]], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw the perplexity by order, a line for each smoothing; what is infinite is left out.

    Parameters
    ----------
    records
        With ``smoothing``, ``order`` and ``test_perplexity``.
    path
        The PNG to write.
    title
        Headline.

    Returns
    -------
    Path
        The file written.
    """
    figure = _figure(6.4, 4.2)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    axes = figure.add_subplot(1, 1, 1)
    for i, smoothing in enumerate(dict.fromkeys(record["smoothing"] for record in records)):
        points = [
            (record["order"], record["test_perplexity"])
            for record in records
            if record["smoothing"] == smoothing and math.isfinite(record["test_perplexity"])
        ]
        if not points:
            continue
        orders, values = zip(*points, strict=True)
        axes.plot(orders, values, color=PALETTE[i], marker=_MARKERS[i], label=smoothing)
    axes.set_yscale("log")
    axes.set_xlabel("order")
    axes.set_ylabel("perplexity")
    axes.set_xticks(sorted({record["order"] for record in records}))
    if axes.lines:
        axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return _save(figure, path)
