"""The pictures that are a recipe's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.train.plots import PALETTE, draw_decision_boundary


def class_weights(
    weight: NDArray[Any],
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    image_shape: tuple[int, int],
    title: str = "What each class looks for: blue pixels speak for it, red ones against it",
) -> Path:
    """Draw the weights of a linear classifier as one image per class.

    Parameters
    ----------
    weight
        Shape (classes, rows * columns).
    path
        The PNG to write.
    classes
        Class names.
    image_shape
        Rows and columns.
    title
        Headline.
    """
    columns = min(5, len(classes))
    rows = ceil(len(classes) / columns)
    figure = _figure(1.75 * columns, 1.95 * rows + 0.5)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    # The same scale in all panels; a few extreme weights do not wash out the rest.
    limit = max(float(np.quantile(np.abs(weight), 0.995)), 1e-12)
    for i, name in enumerate(classes):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(
            weight[i].reshape(image_shape), cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest"
        )
        axes.set_title(name, fontsize=10, pad=3)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#bbbbbb")
    return _save(figure, path)


@dataclass(frozen=True)
class Contender:
    """A classifier of points in the plane, and how its learning went.

    Attributes
    ----------
    name
        Headline of its panel.
    predict
        Maps points (N, 2) float32 to class numbers (N,).
    wrong
        Samples wrong after each epoch.
    lines
        Straight lines ``a x1 + b x2 + c = 0`` to draw: what the hidden units see.
    """

    name: str
    predict: Callable[[NDArray[np.float32]], ArrayLike]
    wrong: Sequence[int]
    lines: Sequence[tuple[float, float, float]] = ()


def boundaries(
    contenders: Sequence[Contender], x: ArrayLike, y: ArrayLike, path: str | os.PathLike[str]
) -> Path:
    """Draw decision boundaries side by side, and below them how many samples are wrong after each epoch.

    Parameters
    ----------
    contenders
        The classifiers.
    x, y
        Samples, shape (N, 2), and their class numbers, shape (N,).
    path
        The PNG to write.
    """
    from matplotlib.ticker import MaxNLocator

    count = len(contenders)
    figure = _figure(4.9 * count, 6.4)
    grid = figure.add_gridspec(2, count, height_ratios=(3.2, 1.3))
    total = len(np.asarray(y))
    for i, contender in enumerate(contenders):
        axes = figure.add_subplot(grid[0, i])
        wrong = int(
            np.count_nonzero(np.asarray(contender.predict(np.asarray(x, np.float32))) != np.asarray(y))
        )
        verdict = "solved" if wrong == 0 else f"{wrong} of {total} wrong"
        draw_decision_boundary(
            axes, contender.predict, x, y, title=f"{contender.name}: {verdict}", resolution=400
        )
        axes.set_aspect("equal")
        _draw_lines(axes, contender.lines)
        if i < count - 1:
            axes.get_legend().remove()
        elif contender.lines:
            axes.text(
                1.03,
                0.62,
                "dotted: where the\ninput of a hidden\nunit is zero",
                transform=axes.transAxes,
                fontsize=8.5,
                color="#333333",
                va="top",
            )

        curve = figure.add_subplot(grid[1, i])
        epochs = np.arange(1, len(contender.wrong) + 1)
        colour = PALETTE[1] if wrong else PALETTE[2]
        curve.step(epochs, contender.wrong, where="mid", color=colour, linewidth=1.6)
        curve.set_ylim(-0.15, total + 0.15)
        curve.set_xlabel("epoch")
        curve.set_ylabel("samples wrong")
        curve.yaxis.set_major_locator(MaxNLocator(integer=True))
        curve.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        _tidy(curve)
    return _save(figure, path)


def _draw_lines(axes: Any, lines: Sequence[tuple[float, float, float]]) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for a, b, c in lines:
        style: dict[str, Any] = {"color": "#333333", "linestyle": ":", "linewidth": 1.2}
        if abs(b) >= abs(a) and b:
            ends = np.array([left, right])
            axes.plot(ends, -(a * ends + c) / b, **style)
        elif a:
            ends = np.array([bottom, top])
            axes.plot(-(b * ends + c) / a, ends, **style)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


@dataclass(frozen=True)
class Descent:
    """How the loss fell with one way of descending.

    Attributes
    ----------
    name
        Its name.
    epochs
        Passes over the samples at each point, shape (P,).
    seconds
        Training time at each point, shape (P,).
    losses
        Loss over all training samples at each point, shape (P,).
    """

    name: str
    epochs: NDArray[np.float64]
    seconds: NDArray[np.float64]
    losses: NDArray[np.float64]


def descents(runs: Sequence[Descent], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw the loss over the epochs and over time, for several ways of descending from the same start.

    Parameters
    ----------
    runs
        The curves.
    path
        The PNG to write.
    title
        Headline.
    """
    figure = _figure(11.0, 4.4)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    for panel, (attribute, label) in enumerate(
        (("epochs", "epochs (passes over the samples)"), ("seconds", "training time in seconds"))
    ):
        axes = figure.add_subplot(1, 2, panel + 1)
        for i, run in enumerate(runs):
            across = getattr(run, attribute)
            later = across > 0
            axes.plot(
                across[later],
                run.losses[later],
                color=PALETTE[i],
                linewidth=1.8,
                label=f"{run.name}: {run.losses[-1]:.3g}",
            )
            axes.plot(across[-1], run.losses[-1], "o", color=PALETTE[i], markersize=5)
        start = runs[0].losses[0]
        axes.axhline(start, color="#888888", linewidth=0.9, linestyle=":")
        axes.annotate(
            "start",
            (1.0, start),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
            color="#555555",
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("training loss")
        _tidy(axes)
        if panel == 0:
            axes.legend(title="final loss", frameon=False, fontsize=9, title_fontsize=9, loc="lower left")
    return _save(figure, path)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('drawing plots needs matplotlib: pip install "dlkit[cli]"') from error
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    figure.savefig(target, format="png", facecolor="white", bbox_inches="tight", pad_inches=0.12)
    return target


def _tidy(axes: Any) -> None:
    axes.grid(True, axis="y", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
