"""Training steps in dlkit: the first weights, the batches, and the loop around a model and its loss."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dlkit
from dlkit.study.libraries import Prepared

Arrays = dict[str, NDArray[Any]]


def load(model: Any, names: Iterable[str], inputs: Arrays) -> None:
    """Give a model's parameters, in their order, the values of these names."""
    for parameter, name in zip(model.parameters(), names, strict=True):
        parameter.data[...] = inputs[name]


def cut(x: Any, y: Any, size: int) -> list[tuple[Any, Any]]:
    """Return batches of the first axis of both."""
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def training(
    model: Any,
    optimizer: Any,
    loss_of: Callable[[Any, Any], Any],
    batches: Sequence[tuple[Any, Any]],
    runs: int,
    clip_norm: float | None = None,
) -> Prepared:
    """Return a training workload, which is checked by its first `runs` losses and by what became of the weights."""
    parameters = list(model.parameters())
    start = [np.array(parameter.numpy(), np.float64) for parameter in parameters]
    coming = itertools.cycle(batches)
    losses: list[float] = []

    def run() -> None:
        x, y = next(coming)
        loss = loss_of(x, y)
        optimizer.zero_grad()
        loss.backward()
        if clip_norm is not None:
            dlkit.nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        if len(losses) < runs:
            losses.append(loss.item())

    def result() -> Arrays:
        pairs = zip(parameters, start, strict=True)
        change = np.concatenate([(parameter.numpy() - before).ravel() for parameter, before in pairs])
        return {"losses": np.array(losses), "change": change}

    return Prepared(run, result)
