"""A training step of a CNN on grey images: what it starts from, and its answers in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study.training_reference import AdamReference, softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 5


def cnn_shapes(params: dict[str, Any]) -> list[tuple[int, ...]]:
    """Return the shapes of a `cnn_step`'s weights: of its convolutions, then of its linear layers."""
    channels = [1, *params["filters"]]
    return [(o, i, params["kernel"], params["kernel"]) for i, o in itertools.pairwise(channels)] + [
        (o, i) for i, o in itertools.pairwise(params["sizes"])
    ]


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return images, labels and the parameters at the start."""
    total = p["batch"] * p["batches"]
    arrays: Arrays = {
        "x": rng.random((total, 1, p["side"], p["side"]), dtype=np.float32),
        "y": rng.integers(0, p["sizes"][-1], total),
    }
    for i, shape in enumerate(cnn_shapes(p)):
        limit = 1 / np.sqrt(np.prod(shape[1:]))
        arrays[f"weight{i}"] = rng.uniform(-limit, limit, shape).astype(np.float32)
        arrays[f"bias{i}"] = rng.uniform(-limit, limit, shape[0]).astype(np.float32)
    return arrays


def reference(p: dict[str, Any], x: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    convolutions, layers = len(p["filters"]), len(p["filters"]) + len(p["sizes"]) - 1
    names = [f"{kind}{i}" for i in range(layers) for kind in ("weight", "bias")]
    state = AdamReference([x[name] for name in names], p["lr"])
    losses = []
    for step in range(RUNS):
        rows = slice((step % p["batches"]) * p["batch"], (step % p["batches"] + 1) * p["batch"])
        value = x["x"][rows]
        kept: list[tuple[Any, Any, Any]] = []
        for i in range(layers):
            weight, bias = state.params[2 * i], state.params[2 * i + 1]
            if i == convolutions:
                flat = value.shape
                value = value.reshape(len(value), -1)
            before = value
            if i < convolutions:
                pad = p["padding"] if i == 0 else 0
                before = np.pad(value, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
                z = np.maximum(_convolved(before, weight) + bias[:, None, None], 0)
                value, place = _pooled(z)
                kept.append((before, z, place))
            else:
                z = value @ weight.T + bias
                value = np.maximum(z, 0) if i < layers - 1 else z
                kept.append((before, value, None))
        loss, grad = softmax_loss(value, x["y"][rows])
        losses.append(loss)
        grads: list[NDArray[Any]] = [np.empty(0)] * len(names)
        for i in reversed(range(layers)):
            before, after, place = kept[i]
            weight = state.params[2 * i]
            if i >= convolutions:
                grad = grad * (after > 0) if i < layers - 1 else grad
                grads[2 * i], grads[2 * i + 1] = grad.T @ before, grad.sum(axis=0)
                grad = grad @ weight
                grad = grad.reshape(flat) if i == convolutions else grad
                continue
            grad = _unpooled(grad, place, after.shape) * (after > 0)
            grads[2 * i], grads[2 * i + 1] = _by_filters(before, grad), grad.sum(axis=(0, 2, 3))
            if i:  # those before the last are not padded
                edge = weight.shape[2] - 1
                wide = np.pad(grad, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
                grad = _convolved(wide, weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
        state.step(grads)
    change = np.concatenate([(a - x[name]).ravel() for a, name in zip(state.params, names, strict=True)])
    return {"losses": np.array(losses), "change": change}


def _convolved(x: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(2, 3))
    out: NDArray[Any] = np.tensordot(windows, weight, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
    return out


def _by_filters(x: NDArray[Any], grad: NDArray[Any]) -> NDArray[Any]:
    kernel = tuple(a - b + 1 for a, b in zip(x.shape[2:], grad.shape[2:], strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    return np.tensordot(grad, windows, ([0, 2, 3], [0, 2, 3]))


def _pooled(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """2×2 max-pooling; also where in its square each maximum was."""
    count, channels, rows, columns = x.shape
    high, wide = rows // 2, columns // 2
    squares = x[:, :, : 2 * high, : 2 * wide].reshape(count, channels, high, 2, wide, 2)
    squares = squares.transpose(0, 1, 2, 4, 3, 5).reshape(count, channels, high, wide, 4)
    return squares.max(axis=-1), squares.argmax(axis=-1)


def _unpooled(grad: NDArray[Any], place: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    count, channels, high, wide = grad.shape
    squares = np.where(place[..., None] == np.arange(4), grad[..., None], 0)
    whole = np.zeros(shape)
    whole[:, :, : 2 * high, : 2 * wide] = (
        squares.reshape(count, channels, high, wide, 2, 2)
        .transpose(0, 1, 2, 4, 3, 5)
        .reshape(count, channels, 2 * high, 2 * wide)
    )
    return whole
