"""A training step of a language model in dlkit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import dlkit
from dlkit.study import lm_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.lm_workloads import Arrays


def prepare(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the workload ready to run."""
    model = dlkit.models.RecurrentLanguageModel(p["words"], p["hidden"], p["hidden"], lm_workloads.LAYERS)
    parameters = list(model.parameters())
    start = [np.array(inputs[name], np.float64) for name in lm_workloads.NAMES]
    for parameter, name in zip(parameters, lm_workloads.NAMES, strict=True):
        parameter.data[...] = inputs[name]
    optimizer = dlkit.optim.SGD(parameters, lr=p["lr"])
    pieces = itertools.cycle(list(zip(inputs["x"], inputs["y"], strict=True)))
    losses: list[float] = []
    state: list[Any] = [None]

    def run() -> None:
        x, y = next(pieces)
        before = None if state[0] is None else tuple(part.detach() for part in state[0])
        loss, state[0] = model.loss(x, y, before)
        value = loss.item()
        optimizer.zero_grad()
        loss.backward()
        dlkit.nn.utils.clip_grad_norm_(parameters, p["clip"])
        optimizer.step()
        if len(losses) < lm_workloads.RUNS:
            losses.append(value)

    def result() -> Arrays:
        pairs = zip(parameters, start, strict=True)
        return {
            "losses": np.array(losses),
            "change": np.concatenate([(parameter.numpy() - before).ravel() for parameter, before in pairs]),
        }

    return Prepared(run, result)
