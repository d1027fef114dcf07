"""Pictures of a training run: loss curve, confusion matrix, most confident mistakes, decision boundary.

All are drawn with matplotlib's Agg canvas and without pyplot, so that no display is needed and the
caller's own matplotlib state is left alone. Colours are those of Okabe and Ito (*Color Universal Design*,
2008) and the colour map cividis, both made for colour-blind readers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from math import ceil, isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .files import write_atomic

#: Okabe and Ito's palette: blue, vermilion, bluish green, orange, sky blue, reddish purple, yellow, black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")


def loss_curve(
    history: Iterable[Mapping[str, Any]],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    watched: str = "validation",
    note: str | None = None,
) -> Path:
    """Draw loss, and accuracy where it is known, over the epochs.

    Parameters
    ----------
    history
        Records with ``epoch``, ``train_loss`` and any of ``val_loss``, ``train_accuracy``, ``val_accuracy``,
        as `Trainer.fit` returns them and ``metrics.jsonl`` holds them.
    path
        The PNG to write.
    title
        Headline.
    watched
        What the samples behind ``val_loss`` and ``val_accuracy`` are called.
    note
        A line below the panels.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        There is no record with a loss.
    """
    records = [record for record in history if _number(record.get("train_loss")) is not None]
    if not records:
        raise ValueError("loss_curve: history holds no record with a train_loss")
    panels = ["loss"]
    if any(_number(r.get(f"{part}_accuracy")) is not None for r in records for part in ("train", "val")):
        panels.append("accuracy")

    figure = _figure(
        width=5.2 * len(panels), height=3.8 + 0.3 * (title is not None) + 0.2 * (note is not None)
    )
    if title is not None:
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    if note is not None:
        figure.supxlabel(note, fontsize=8.5, color="#555555", x=0.01, ha="left")
    for i, what in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        for part, label, colour, style in (
            ("train", "training", PALETTE[0], "-"),
            ("val", watched, PALETTE[1], "--"),
        ):
            points = [(r["epoch"], _number(r.get(f"{part}_{what}"))) for r in records]
            points = [(epoch, value) for epoch, value in points if value is not None]
            if not points:
                continue
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(points) <= 25 else None
            axes.plot(
                epochs, values, style, color=colour, marker=marker, markersize=4, linewidth=1.8, label=label
            )
            best = int(np.argmin(values) if what == "loss" else np.argmax(values))
            if part == "val" or not any(_number(r.get(f"val_{what}")) is not None for r in records):
                text = f"{values[best]:.4g}" if what == "loss" else f"{values[best]:.2%}"
                axes.plot(epochs[best], values[best], "o", mfc="none", mec=colour, markersize=10)
                # On the side where the other curve is not.
                other = next((r.get(f"train_{what}") for r in records if r["epoch"] == epochs[best]), None)
                other = _number(other) if part == "val" else None
                above = values[best] > other if other is not None else what == "loss"
                axes.annotate(
                    f"best {text}\nepoch {epochs[best]}",
                    (epochs[best], values[best]),
                    xytext=(0, 11 if above else -11),
                    textcoords="offset points",
                    ha="right" if 2 * best >= len(points) else "left",
                    va="bottom" if above else "top",
                    fontsize=8.5,
                    color="#333333",
                    # A steep curve may run through it.
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
                )
        axes.set_xlabel("epoch")
        axes.set_ylabel(what)
        axes.set_title(what.capitalize(), fontsize=11, loc="left")
        if what == "accuracy":
            from matplotlib.ticker import PercentFormatter

            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=None))
        elif _spans_decades([_number(r.get(f"{p}_loss")) for r in records for p in ("train", "val")]):
            axes.set_yscale("log")
            axes.set_ylabel("loss (log scale)")
        _tidy(axes)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(y=0.22)  # room for the note on the best epoch
        axes.legend(frameon=False, fontsize=9, loc="upper right" if what == "loss" else "lower right")
    return _save(figure, path)


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    title: str | None = None,
) -> Path:
    """Draw how often each class is taken for each other one.

    Rows are the true classes, columns the predicted ones; a cell is coloured by its share of the row and
    carries the count.

    Parameters
    ----------
    y_true, y_pred
        Class numbers, shape (N,), 0 … ``len(classes) - 1``.
    path
        The PNG to write.
    classes
        Class names.
    title
        Headline, in front of the accuracy.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        Empty, of different length, or not class numbers.
    """
    true = _labels("confusion_matrix: y_true", y_true, len(classes))
    predicted = _labels("confusion_matrix: y_pred", y_pred, len(classes))
    if len(true) != len(predicted):
        raise ValueError(f"confusion_matrix: y_true has {len(true)} labels but y_pred has {len(predicted)}")
    if not len(true):
        raise ValueError("confusion_matrix: y_true is empty, expected at least one label")
    n = len(classes)
    counts = np.bincount(true * n + predicted, minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = max(4.0, min(0.55 * n + 1.6, 16.0))
    figure = _figure(width=side + 1.0, height=side)
    axes = figure.add_subplot(1, 1, 1)
    # The square root lifts the few mistakes out of the dark; the colour bar is labelled in true shares.
    from matplotlib.colors import PowerNorm

    image = axes.imshow(shares, cmap="cividis", norm=PowerNorm(0.5, 0.0, 1.0))
    if n <= 30:
        size = 9 if n <= 12 else 6
        for i in range(n):
            for j in range(n):
                if counts[i, j]:
                    colour = "black" if sqrt(shares[i, j]) > 0.55 else "white"
                    axes.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=size)
    rotation = 0 if max(len(c) for c in classes) <= 3 else 45
    axes.set_xticks(range(n), labels=list(classes), rotation=rotation, ha="right" if rotation else "center")
    axes.set_yticks(range(n), labels=list(classes))
    axes.tick_params(length=0, labelsize=9 if n <= 30 else 6)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    right = int(np.trace(counts))
    verdict = f"{right} of {len(true)} right, {right / len(true):.2%}"
    axes.set_title(verdict if title is None else f"{title}: {verdict}", fontsize=11, loc="left")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1%", "5%", "20%", "50%", "100%"])
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return _save(figure, path)


def confident_mistakes(
    x: ArrayLike,
    y_true: ArrayLike,
    probabilities: ArrayLike,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    image_shape: tuple[int, int],
    count: int = 20,
    title: str | None = None,
) -> Path:
    """Draw the samples that the model gets wrong with the greatest confidence.

    Parameters
    ----------
    x
        Grey images, shape (N, rows * columns) or (N, rows, columns).
    y_true
        True class numbers, shape (N,).
    probabilities
        Predicted probability of every class, shape (N, classes).
    path
        The PNG to write.
    classes
        Class names.
    image_shape
        Rows and columns of an image.
    count
        Mistakes to show at most.
    title
        Headline, in front of how many mistakes there are.

    Returns
    -------
    Path
        The file written (it says so if there is no mistake).

    Raises
    ------
    ValueError
        The shapes do not fit each other.
    """
    true = _labels("confident_mistakes: y_true", y_true, len(classes))
    proba = np.asarray(probabilities, dtype=np.float64)
    if proba.shape != (len(true), len(classes)):
        raise ValueError(
            f"confident_mistakes: probabilities is {proba.shape}, expected ({len(true)}, {len(classes)}) "
            f"for {len(true)} labels of {len(classes)} classes"
        )
    images = np.asarray(x)
    if len(images) != len(true) or images.size != len(true) * image_shape[0] * image_shape[1]:
        raise ValueError(
            f"confident_mistakes: x is {images.shape}, expected ({len(true)}, "
            f"{image_shape[0] * image_shape[1]}) for {len(true)} images of {image_shape[0]}x{image_shape[1]}"
        )
    if count < 1:
        raise ValueError(f"confident_mistakes: count is {count}, expected at least 1")
    images = images.reshape(len(true), *image_shape)
    predicted = proba.argmax(axis=1) if len(true) else np.zeros(0, dtype=np.int64)
    confidence = proba[np.arange(len(true)), predicted]
    wrong = np.flatnonzero(predicted != true)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]

    rows = max(ceil(len(shown) / 5), 1)
    columns = max(ceil(len(shown) / rows), 1)  # rows as full as each other
    figure = _figure(width=max(1.75 * columns, 4.5), height=2.2 * rows + 0.7)
    headline = f"{len(wrong)} of {len(true)} wrong"
    if len(shown):
        headline += (
            ", most confident first" if len(shown) == len(wrong) else f"; the {len(shown)} most confident"
        )
    figure.suptitle(headline if title is None else f"{title}: {headline}", fontsize=11, x=0.02, ha="left")
    if not len(shown):
        figure.text(0.5, 0.45, "no mistakes", ha="center", fontsize=14, color=PALETTE[2])
        return _save(figure, path)
    low, high = float(images.min()), float(images.max())
    for i, sample in enumerate(shown):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(images[sample], cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#bbbbbb")
        axes.set_title(
            f"said {classes[predicted[sample]]}, {_percent(confidence[sample])}",
            fontsize=8.5,
            color=PALETTE[1],
            pad=3,
        )
        axes.set_xlabel(f"is {classes[true[sample]]} (#{sample})", fontsize=8.5, color=PALETTE[0], labelpad=3)
    return _save(figure, path)


def decision_boundary(
    predict: Callable[[NDArray[np.float32]], ArrayLike],
    x: ArrayLike,
    y: ArrayLike,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    title: str | None = None,
    axis_names: tuple[str, str] = ("x1", "x2"),
    resolution: int = 200,
) -> Path:
    """Draw which class a model gives to every point of the plane, with the samples on top.

    Parameters
    ----------
    predict
        Maps points (N, 2) float32 to class numbers (N,).
    x
        Samples, shape (N, 2).
    y
        Class numbers, shape (N,).
    path
        The PNG to write.
    classes
        Class names (default: the numbers).
    title
        Headline.
    axis_names
        Names of the two inputs.
    resolution
        Points along each axis at which the model is asked.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        x is not (N, 2), y is not (N,), or `predict` returns another shape than (N,).
    """
    figure = _figure(width=5.4, height=4.4)
    draw_decision_boundary(
        figure.add_subplot(1, 1, 1),
        predict,
        x,
        y,
        classes=classes,
        title=title,
        axis_names=axis_names,
        resolution=resolution,
    )
    return _save(figure, path)


def draw_decision_boundary(
    axes: Any,
    predict: Callable[[NDArray[np.float32]], ArrayLike],
    x: ArrayLike,
    y: ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    title: str | None = None,
    axis_names: tuple[str, str] = ("x1", "x2"),
    resolution: int = 200,
) -> None:
    """`decision_boundary` on axes of your own, for several models side by side."""
    points = np.asarray(x, dtype=np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"decision_boundary: x is {points.shape}, expected (N, 2) with N > 0")
    labels = np.asarray(y)
    if labels.shape != (len(points),):
        raise ValueError(f"decision_boundary: y is {labels.shape}, expected ({len(points)},)")
    n = len(classes) if classes is not None else int(labels.max()) + 1
    labels = _labels("decision_boundary: y", labels, n)
    names = list(classes) if classes is not None else [str(i) for i in range(n)]

    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.25 * np.maximum(high - low, 1e-3)
    low, high = low - margin, high + margin
    across, up = np.meshgrid(
        np.linspace(low[0], high[0], resolution, dtype=np.float32),
        np.linspace(low[1], high[1], resolution, dtype=np.float32),
    )
    grid = np.column_stack([across.ravel(), up.ravel()])
    answer = np.asarray(predict(grid))
    if answer.shape != (len(grid),):
        raise ValueError(f"decision_boundary: predict returned {answer.shape}, expected ({len(grid)},)")
    regions = _labels("decision_boundary: predict", answer, n).reshape(across.shape)

    from matplotlib.colors import ListedColormap

    colours = [PALETTE[i % len(PALETTE)] for i in range(n)]
    axes.imshow(
        regions,
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=n - 0.5,
        alpha=0.28,
        origin="lower",
        extent=(low[0], high[0], low[1], high[1]),
        aspect="auto",
        interpolation="nearest",
    )
    for i in range(n):
        chosen = points[labels == i]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=110 if len(points) <= 20 else 26,
            color=colours[i],
            marker=_MARKERS[i % len(_MARKERS)],
            edgecolors="white",
            linewidths=1.0 if len(points) <= 20 else 0.5,
            label=names[i],
            zorder=3,
        )
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    if title:
        axes.set_title(title, fontsize=11, loc="left")
    # Beside the axes: inside, it would hide samples.
    axes.legend(
        title="class",
        fontsize=9,
        title_fontsize=9,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


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
    picture = BytesIO()
    figure.savefig(picture, format="png", facecolor="white", bbox_inches="tight", pad_inches=0.12)
    write_atomic(path, picture.getbuffer())
    return Path(path)


def _tidy(axes: Any) -> None:
    axes.grid(True, axis="y", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _percent(probability: float) -> str:
    """A confidence of 0.9996 is not 100%."""
    return f"{probability:.0%}" if probability < 0.995 else f"{min(probability, 0.99999):.3%}"


def _number(value: object) -> float | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    return None


def _spans_decades(values: Iterable[float | None]) -> bool:
    known = [v for v in values if v is not None]
    return min(known) > 0 and max(known) / min(known) > 50


def _labels(what: str, values: ArrayLike, classes: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{what} is {array.shape}, expected (N,)")
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "biu":
        raise ValueError(f"{what} has dtype {array.dtype}, expected integer class numbers")
    if int(array.min()) < 0 or int(array.max()) >= classes:
        raise ValueError(
            f"{what} lies in {int(array.min())} … {int(array.max())}, expected 0 … {classes - 1} "
            f"for {classes} classes"
        )
    return array.astype(np.int64)
