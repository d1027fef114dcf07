"""Training steps in PyTorch: the first weights, the batches, and the loop around a model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit.study.libraries import Prepared

Arrays = dict[str, NDArray[Any]]


def load(model: torch.nn.Module, names: Iterable[str], inputs: Arrays) -> None:
    """Give a model's parameters, in their order, the values of these names."""
    with torch.no_grad():
        for parameter, name in zip(model.parameters(), names, strict=True):
            parameter.copy_(torch.from_numpy(inputs[name]))


def cut(x: torch.Tensor, y: torch.Tensor, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of the first axis of both."""
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def training(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[tuple[Any, Any]],
    runs: int,
    clip_norm: float | None = None,
) -> Prepared:
    """Return a training workload, which is checked by its first `runs` losses and by what became of the weights."""
    parameters = list(model.parameters())
    start = [parameter.detach().double().numpy().copy() for parameter in parameters]
    loss_function = torch.nn.CrossEntropyLoss()
    coming = itertools.cycle(batches)
    losses: list[float] = []

    def run() -> None:
        x, y = next(coming)
        loss = loss_function(model(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        if len(losses) < runs:
            losses.append(loss.item())

    def result() -> Arrays:
        pairs = zip(parameters, start, strict=True)
        change = np.concatenate([(a.detach().double().numpy() - before).ravel() for a, before in pairs])
        return {"losses": np.array(losses), "change": change}

    return Prepared(run, result)
