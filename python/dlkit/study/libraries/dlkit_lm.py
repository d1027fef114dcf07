"""A training step of a recurrent language model in dlkit."""

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
    names = lm_workloads.names_of(p)
    model = dlkit.models.RecurrentLanguageModel(p["words"], p["hidden"], p["hidden"], p["layers"])
    start = [np.array(inputs[name], np.float64) for name in names]
    parameters = list(model.parameters())
    for parameter, name in zip(parameters, names, strict=True):
        parameter.data[...] = inputs[name]
    optimizer = dlkit.optim.SGD(parameters, lr=p["lr"])
    words_of = inputs["x"].reshape(-1, p["steps"], p["batch"])
    batches = itertools.cycle(list(zip(words_of, inputs["y"], strict=True)))
    losses: list[float] = []

    def run() -> None:
        words, follow = next(batches)
        loss, _ = model.loss(words, follow)
        optimizer.zero_grad()
        loss.backward()
        dlkit.nn.utils.clip_grad_norm_(parameters, p["clip_norm"])
        optimizer.step()
        if len(losses) < lm_workloads.RUNS:
            losses.append(loss.item())

    def result() -> Arrays:
        pairs = zip(parameters, start, strict=True)
        return {
            "losses": np.array(losses),
            "change": np.concatenate([(parameter.numpy() - before).ravel() for parameter, before in pairs]),
        }

    return Prepared(run, result)
