"""The pictures of vanishing and exploding gradients."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlkit.train.plots import PALETTE, _figure, _save, _tidy

if TYPE_CHECKING:
    from .sequence_data import Task
    from .vanishing_gradients import Trained

# Nine cells need nine colours: Okabe and Ito's seven that can be told apart on white, black, and grey.
_COLOURS = (*(c for c in PALETTE if c != "#F0E442"), "#888888", "#8C510A")
_BEFORE, _AFTER = PALETTE[3], PALETTE[0]
_LEAST, _MOST = 1e-10, 1e6


def gradient_panels(trained: Sequence[Trained], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw, a panel for each model, how large dh_T / dh_k is over T - k, before and after training.

    Parameters
    ----------
    trained
        The models.
    path
        The PNG to write.
    title
        The task.
    """
    columns = min(3, len(trained))
    rows = ceil(len(trained) / columns)
    figure = _figure(7.2 if columns == 1 else 3.7 * columns, 2.75 * rows + (1.6 if columns == 1 else 0.9))
    _headline(figure, f"How much of a gradient is left after so many steps back: {title}")
    floor, ceiling = _limits(
        [curve for each in trained for curve in (each.before, each.after, each.before_c, each.after_c)],
        [(each.bounds, each.lags) for each in trained],
    )
    handles: dict[str, Any] = {}
    for i, each in enumerate(trained):
        axes = figure.add_subplot(rows, columns, i + 1)
        draw_gradients(axes, each, handles)
        axes.set_ylim(floor, ceiling)
        _title(axes, each.part.title)
        if i % columns == 0:
            axes.set_ylabel("spectral norm")
        if i + columns >= len(trained):
            axes.set_xlabel("steps back, T - k")
    shown = {"loc": "outside lower center", "ncols": min(columns + 1, 3), "frameon": False, "fontsize": 9}
    figure.legend(list(handles.values()), list(handles), **shown)
    return _save(figure, path)


def draw_gradients(axes: Any, each: Trained, handles: dict[str, Any]) -> None:
    """Draw one model's norms, with the range over the sequences, and the bound of the simple RNN."""
    for label, colour, norms, by_c in (
        ("before training", _BEFORE, each.before, each.before_c),
        ("after training", _AFTER, each.after, each.after_c),
    ):
        (handles[f"$\\partial h_T/\\partial h_k$, {label}"],) = axes.plot(
            each.lags, _middle(norms), color=colour, linewidth=1.9, zorder=3
        )
        axes.fill_between(
            each.lags,
            _shown(norms.min(axis=1)),
            _shown(norms.max(axis=1)),
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
        if by_c is not None:
            (handles[f"$\\partial h_T/\\partial c_k$, {label}"],) = axes.plot(
                each.lags, _middle(by_c), color=colour, linewidth=1.6, linestyle=(0, (1.2, 1.2)), zorder=3
            )
    if each.bounds is not None:
        for label, colour, bound in zip(("before", "after"), (_BEFORE, _AFTER), each.bounds, strict=True):
            (handles[f"bound $(\\gamma\\lambda_1)^{{T-k}}$, {label} training"],) = axes.plot(
                each.lags, _power(bound, each.lags), color=colour, linewidth=1.3, linestyle="--", zorder=2
            )
    _over_lags(axes, each)
    axes.tick_params(labelsize=8.5)


def learning_curves(
    trained: Sequence[Trained], path: str | os.PathLike[str], *, title: str, task: Task
) -> Path:
    """Draw the held-out loss, or accuracy, of several models over the epochs.

    Parameters
    ----------
    trained
        The models.
    path
        The PNG to write.
    title
        The task.
    task
        Which of the two, and the baseline.
    """
    figure = _figure(7.6, 4.2)
    axes = figure.add_subplot(1, 1, 1)
    draw_learning(axes, trained, task)
    axes.set_title(
        f"{title}: {'test accuracy' if task.classifies else 'held-out loss'}", fontsize=12, loc="left"
    )
    return _save(figure, path)


def draw_learning(axes: Any, trained: Sequence[Trained], task: Task) -> None:
    """Draw one curve for each model, and the baseline."""
    what = "val_accuracy" if task.classifies else "val_loss"
    for each, colour in zip(trained, _cycle(len(trained)), strict=True):
        points = [(r["epoch"], r[what]) for r in each.history if r[what] is not None and isfinite(r[what])]
        label = each.part.title + (f" (diverged at update {each.diverged})" if each.diverged else "")
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.7, label=label)
        else:
            axes.plot([], [], color=colour, label=label)
    if task.baseline is not None:
        axes.axhline(task.baseline, color="#555555", linewidth=1.1, linestyle="--", label="no memory")
    _scale(axes, log=not task.classifies)
    if task.baseline is not None and axes.get_ylim()[1] > 5 * task.baseline:
        # Where gradients explode a loss may have any size meanwhile.
        axes.set_ylim(top=5 * task.baseline)
    axes.set_xlabel("epoch")
    _tidy(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(trained) > 1 or task.baseline is not None:
        axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))


def init_panels(trained: Sequence[Trained], path: str | os.PathLike[str], *, title: str, task: Task) -> Path:
    """Draw what first weights do: to gradients before training, after it, and to learning.

    Parameters
    ----------
    trained
        The models.
    path
        The PNG to write.
    title
        The task.
    task
        For the learning curves.
    """
    figure = _figure(13.6, 4.2)
    _headline(figure, f"First recurrent weights: {title}")
    panels = [figure.add_subplot(1, 3, i + 1) for i in range(3)]
    floor, ceiling = _limits([curve for each in trained for curve in (each.before, each.after)], [])
    for axes, when in zip(panels, ("before", "after"), strict=False):
        for each, colour in zip(trained, _cycle(len(trained)), strict=True):
            axes.plot(each.lags, _middle(getattr(each, when)), color=colour, linewidth=1.7)
        _over_lags(axes, trained[0])
        axes.set_ylim(floor, ceiling)
        _title(axes, f"$\\Vert\\partial h_T/\\partial h_k\\Vert$ {when} training")
        axes.set_xlabel("steps back, T - k")
    draw_learning(panels[2], trained, task)
    _title(panels[2], "test accuracy" if task.classifies else "held-out loss")
    return _save(figure, path)


def clipping_panels(
    trained: Sequence[Trained], path: str | os.PathLike[str], *, title: str, limit: float
) -> Path:
    """Draw gradient norm and loss of every update, with clipping and without.

    Parameters
    ----------
    trained
        The two models.
    path
        The PNG to write.
    title
        What was trained.
    limit
        The norm that is clipped to.
    """
    figure = _figure(10.6, 4.0)
    _headline(figure, f"Gradient clipping, {title}")
    left, right = (figure.add_subplot(1, 2, i + 1) for i in range(2))
    for each, colour in zip(trained, (PALETTE[0], PALETTE[1]), strict=True):
        label = each.part.title + (f": diverged at update {each.diverged}" if each.diverged else "")
        for axes, values in ((left, each.norms), (right, each.losses)):
            steps = np.arange(1, len(values) + 1)
            kept = np.where(np.isfinite(values), np.minimum(values, 1e12), np.nan)
            axes.plot(steps, kept, color=colour, linewidth=0.7, alpha=0.35)
            axes.plot(steps, _smooth(kept), color=colour, linewidth=1.7, label=label)
    left.axhline(limit, color="#555555", linewidth=1.1, linestyle="--", label=f"limit, {limit:g}")
    left.set_yscale("log")
    # A single step may send the loss to any height: the axis ends not far above where it began.
    losses = [value for each in trained for value in each.losses if isfinite(value)]
    heading = "loss of the batch"
    if losses:
        top = 2 * float(np.median([each.losses[0] for each in trained if each.losses]))
        right.set_ylim(0, top)
        if max(losses) > top:
            heading += f" (highest: {max(losses):.2g})"
    for axes, name in ((left, "norm of the gradient, before clipping"), (right, heading)):
        _title(axes, name)
        axes.set_xlabel("update")
        _tidy(axes)
        axes.legend(frameon=False, fontsize=9)
    return _save(figure, path)


@dataclass(frozen=True)
class Contest:
    """Two models that were trained with the same seeds.

    Attributes
    ----------
    title
        The task.
    measure
        What was measured.
    curves
        By model, for each seed the measure after every epoch.
    finals
        By model, for each seed the measure in the end.
    log
        Whether the axis is logarithmic.
    """

    title: str
    measure: str
    curves: Mapping[str, Sequence[Sequence[float]]]
    finals: Mapping[str, Sequence[float]]
    log: bool = False


def contest_panels(contests: Sequence[Contest], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw, a row for each task, learning curves of all seeds, and the pairs of what they came to.

    Parameters
    ----------
    contests
        The tasks.
    path
        The PNG to write.
    title
        Headline.
    """
    figure = _figure(10.4, 3.5 * len(contests) + 0.5)
    _headline(figure, title)
    grid = figure.add_gridspec(len(contests), 2, width_ratios=(1.9, 1))
    for i, contest in enumerate(contests):
        left, right = (figure.add_subplot(grid[i, j]) for j in range(2))
        for (name, curves), colour in zip(contest.curves.items(), _COLOURS, strict=False):
            values = np.array(curves, dtype=np.float64)
            epochs = np.arange(1, values.shape[1] + 1)
            for curve in values:
                left.plot(epochs, curve, color=colour, linewidth=0.8, alpha=0.4)
            mean = _mean(values, contest.log)
            left.plot(epochs, mean, color=colour, linewidth=2.4, label=f"{name}, mean")
        left.set_xlabel("epoch")
        left.xaxis.get_major_locator().set_params(integer=True)
        _title(left, f"{contest.title}: {contest.measure}")
        left.legend(frameon=False, fontsize=9)
        names = list(contest.finals)
        for pair in zip(*contest.finals.values(), strict=True):
            right.plot(range(len(names)), pair, color="#aaaaaa", linewidth=0.9, zorder=1)
        for at, ((_, finals), colour) in enumerate(zip(contest.finals.items(), _COLOURS, strict=False)):
            right.scatter([at] * len(finals), finals, color=colour, s=28, zorder=2)
            middle = float(_mean(np.array(finals), contest.log))
            right.plot([at - 0.16, at + 0.16], [middle] * 2, color=colour, linewidth=2.6, zorder=3)
        right.set_xticks(range(len(names)), labels=names)
        right.set_xlim(-0.5, len(names) - 0.5)
        _title(right, "in the end, a line for each seed")
        for axes in (left, right):
            if contest.log or "accuracy" in contest.measure:
                _scale(axes, log=contest.log)
            _tidy(axes)
    return _save(figure, path)


def _headline(figure: Any, text: str) -> None:
    figure.suptitle(text, fontsize=12, x=0.01, ha="left")


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, fontsize=10.5, loc="left")


def _over_lags(axes: Any, each: Trained) -> None:
    """Norms over the steps back, and where they neither vanish nor explode."""
    axes.set_yscale("log")
    axes.set_xlim(0, each.lags[-1])
    axes.axhline(1, color="#999999", linewidth=0.7, zorder=1)
    _tidy(axes)


def _scale(axes: Any, *, log: bool) -> None:
    """Losses are shown by their logarithms, accuracies as percentages."""
    if log:
        axes.set_yscale("log")
        return
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=None))


def _mean(values: NDArray[np.float64], log: bool) -> Any:
    """The mean over the seeds; of what is shown by its logarithm the geometric one."""
    return np.exp(np.log(values).mean(axis=0)) if log else values.mean(axis=0)


def _middle(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The median over the sequences; where it is 0, as dh_T / dc_T is, nothing."""
    middle = np.median(norms, axis=1)
    return np.where(middle > 0, _shown(middle), np.nan)


def _shown(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(values, 1e-300, 1e300)


def _power(base: float, lags: NDArray[np.int64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(np.clip(lags * np.log(max(base, 1e-300)), -600, 600))
    return powers


def _limits(curves: Sequence[Any], bounds: Sequence[Any]) -> tuple[float, float]:
    """Where the axis ends: at the data, but not further than what anyone can use."""
    middles = [_middle(curve) for curve in curves if curve is not None]
    low = min(float(np.nanmin(m)) for m in middles)
    high = max(float(np.nanmax(m)) for m in middles)
    for pair, lags in bounds:
        high = max([high, *(float(_power(b, lags)[-1]) for b in pair or ())])
    return max(low / 3, _LEAST), min(max(high * 3, 10.0), _MOST)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running median, of about a fiftieth of the updates."""
    width = max(len(values) // 50, 1)
    padded = np.pad(values, (width - 1, 0), mode="edge") if len(values) else values
    if not len(values):
        return values
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    with np.errstate(all="ignore"):
        return np.asarray(np.median(windows, axis=1))


def _cycle(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]
