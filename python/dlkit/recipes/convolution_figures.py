"""Pictures of a convolutional network: its first filters, its feature maps, and what an answer hangs on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import nn
from dlkit.autograd import Tensor, no_grad
from dlkit.kernels.backend import move, to_host
from dlkit.train.plots import PALETTE

from .figures import _figure, _save

_MOST_FILTERS = 64
_MOST_MAPS = 12


def first_filters(model: nn.Module, path: str | os.PathLike[str]) -> Path:
    """Draw the filters of the first convolution: blue pixels excite, red ones inhibit.

    Parameters
    ----------
    model
        A module with a `dlkit.nn.Conv2d`; of filters over several channels the mean over the channels is drawn.
    path
        The PNG to write.

    Raises
    ------
    ValueError
        The model has no two-dimensional convolution.
    """
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ValueError(f"first_filters: {type(model).__name__} has no Conv2d")
    weight = to_host(first.weight.data).mean(axis=1)
    shown = weight[:_MOST_FILTERS]
    columns = min(10, len(shown))
    rows = ceil(len(shown) / columns)
    figure = _figure(max(0.85 * columns, 4.5), 0.85 * rows + 0.6)
    some = "" if len(shown) == len(weight) else f", {len(shown)} of {len(weight)}"
    title = f"Filters of the first layer{some}: blue excites, red inhibits"
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    limit = max(float(np.abs(weight).max()), 1e-12)
    axes = figure.add_subplot(1, 1, 1)
    axes.imshow(_mosaic(shown, columns), cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.axis("off")
    return _save(figure, path)


def feature_maps(model: nn.Module, image: NDArray[Any], path: str | os.PathLike[str]) -> Path:
    """Draw what each layer makes of an image: a row for each layer with feature maps, then the rest as strips.

    Parameters
    ----------
    model
        A `dlkit.nn.Sequential` that takes images (N, C, H, W).
    image
        Shape (C, H, W).
    path
        The PNG to write.
    """
    seen: list[tuple[str, NDArray[Any]]] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        # Layers that change nothing in evaluation mode say nothing.
        if not isinstance(module, (nn.Dropout, nn.Flatten, nn.Identity)):
            seen.append((type(module).__name__, to_host(output.data)[0].copy()))

    handles = [module.register_forward_hook(hook) for module in model.children()]
    try:
        with nn.evaluation_mode(model), no_grad():
            model(_tensor(model, image[None]))
    finally:
        for handle in handles:
            handle.remove()

    figure = _figure(0.8 * _MOST_MAPS + 1.4, 0.8 * len(seen) + 1.7)
    figure.suptitle(
        f"What each layer makes of an image (the first {_MOST_MAPS} maps of each)",
        fontsize=11,
        x=0.02,
        ha="left",
    )
    grid = figure.add_gridspec(len(seen) + 1, 2, width_ratios=(1.1, 0.8 * _MOST_MAPS))
    rows = [("image", image.mean(axis=0, keepdims=True)), *seen]
    for row, (name, values) in enumerate(rows):
        axes = figure.add_subplot(grid[row, 1])
        if values.ndim == 3:
            # One scale for the maps of a layer: which are silent shows.
            shape = image.shape if row == 0 else values.shape
            axes.imshow(
                _mosaic(values[:_MOST_MAPS], _MOST_MAPS),
                cmap="cividis" if row else "gray_r",
                vmin=float(values.min()),
                vmax=max(float(values.max()), float(values.min()) + 1e-12),
                interpolation="nearest",
            )
            axes.axis("off")
        else:
            shape = values.shape
            axes.imshow(values.reshape(1, -1), cmap="cividis", aspect="auto", interpolation="nearest")
            _bare(axes)
        _label(figure.add_subplot(grid[row, 0]), name, "×".join(map(str, shape)))
    return _save(figure, path)


def saliency_maps(
    model: nn.Module,
    images: NDArray[Any],
    labels: NDArray[Any],
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
) -> Path:
    """Draw, for one image of each class, how much each pixel moves the score of the answer.

    Parameters
    ----------
    model
        Takes images (N, C, H, W), returns scores (N, classes).
    images, labels
        Shapes (N, C, H, W) and (N,): the first image of each class is drawn.
    path
        The PNG to write.
    classes
        Class names.

    Notes
    -----
    Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks", ICLR workshop 2014: the absolute value of the
    gradient of the greatest score by the pixels, the largest over the channels.
    """
    numbers = [int(np.flatnonzero(labels == i)[0]) for i in range(len(classes)) if (labels == i).any()]
    chosen = images[numbers]
    maps, answers = saliency(model, chosen)
    columns = min(5, len(numbers))
    rows = ceil(len(numbers) / columns)
    figure = _figure(1.9 * columns, 2.1 * 2 * rows * 0.75 + 0.6)
    figure.suptitle(
        "Which pixels the answer hangs on: the score's gradient, below each image",
        fontsize=11,
        x=0.02,
        ha="left",
    )
    for i, number in enumerate(numbers):
        row, column = divmod(i, columns)
        above = figure.add_subplot(2 * rows, columns, 2 * row * columns + column + 1)
        above.imshow(chosen[i].mean(axis=0), cmap="gray_r", interpolation="nearest")
        right = answers[i] == labels[number]
        above.set_title(
            f"said {classes[answers[i]]}" + ("" if right else f", is {classes[int(labels[number])]}"),
            fontsize=8.5,
            pad=3,
            color="#333333" if right else PALETTE[1],
        )
        _bare(above)
        below = figure.add_subplot(2 * rows, columns, (2 * row + 1) * columns + column + 1)
        below.imshow(maps[i], cmap="magma", interpolation="nearest")
        _bare(below)
    return _save(figure, path)


def saliency(model: nn.Module, images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the saliency maps (N, H, W) of images (N, C, H, W), and the class that each was given, shape (N,)."""
    gradients = [parameter.grad for parameter in model.parameters()]
    try:
        with nn.evaluation_mode(model):
            x = _tensor(model, images)
            x.requires_grad_()
            scores = model(x)
            answers = to_host(scores.data).argmax(axis=1)
            # In evaluation mode no image sees another: one backward pass gives the gradient of each.
            seed = np.zeros(scores.shape, scores.dtype)
            seed[np.arange(len(images)), answers] = 1
            scores.backward(Tensor(move(seed, scores.device)))
            assert x.grad is not None
            maps = np.abs(to_host(x.grad.data)).max(axis=1)
    finally:
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
    return maps, answers


def _mosaic(images: NDArray[Any], columns: int) -> NDArray[Any]:
    """Images (N, H, W) side by side in rows of `columns`, with gaps that are not drawn."""
    count, height, width = images.shape
    gap = max(1, height // 9)
    rows = ceil(count / columns)
    whole = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for i, one in enumerate(images):
        row, column = divmod(i, columns)
        top, left = row * (height + gap), column * (width + gap)
        whole[top : top + height, left : left + width] = one
    return whole


def _tensor(model: nn.Module, images: NDArray[Any]) -> Tensor:
    parameter = next(iter(model.parameters()), None)
    dtype, device = (np.float32, "cpu") if parameter is None else (parameter.dtype, parameter.device)
    return Tensor(move(np.ascontiguousarray(images, dtype), device))


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")


def _label(axes: Any, name: str, shape: str) -> None:
    axes.axis("off")
    axes.text(1.0, 0.5, f"{name}\n{shape}", ha="right", va="center", fontsize=7.5, transform=axes.transAxes)
