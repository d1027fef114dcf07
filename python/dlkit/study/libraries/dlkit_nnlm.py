"""A training step of a feed-forward language model in dlkit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import dlkit
from dlkit.study import nnlm_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.nnlm_workloads import NAMES, Arrays


def prepare(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the workload ready to run."""
    model = dlkit.models.FeedForwardLanguageModel(p["words"], p["order"], p["dimensions"], p["hidden"])
    start = [np.array(inputs[name], np.float64) for name in NAMES]
    parameters = list(model.parameters())
    for parameter, name in zip(parameters, NAMES, strict=True):
        parameter.data[...] = inputs[name]
    optimizer = dlkit.optim.SGD(parameters, lr=p["lr"])
    cut = [slice(i, i + p["batch"]) for i in range(0, len(inputs["x"]), p["batch"])]
    batches = itertools.cycle([(inputs["x"][rows], inputs["y"][rows]) for rows in cut])
    losses: list[float] = []

    def run() -> None:
        contexts, follow = next(batches)
        loss = model.loss(contexts, follow)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if len(losses) < nnlm_workloads.RUNS:
            losses.append(loss.item())

    def result() -> Arrays:
        pairs = zip(parameters, start, strict=True)
        return {
            "losses": np.array(losses),
            "change": np.concatenate([(parameter.numpy() - before).ravel() for parameter, before in pairs]),
        }

    return Prepared(run, result)
