"""A training step of a window tagger in dlkit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import dlkit
from dlkit.study import window_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.window_workloads import Arrays


def prepare(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the workload ready to run."""
    model = dlkit.models.WindowTagger(p["words"], p["tags"], p["dimensions"], p["window"], p["hidden"])
    start = [np.array(inputs[name], np.float64) for name in window_workloads.NAMES]
    for parameter, name in zip(model.parameters(), window_workloads.NAMES, strict=True):
        parameter.data[...] = inputs[name]
    optimizer = dlkit.optim.Adam(model.parameters(), lr=p["lr"])
    sizes = [p["batch"]] * p["length"]
    batches = itertools.cycle(list(zip(inputs["x"], inputs["y"], strict=True)))
    losses: list[float] = []

    def run() -> None:
        words, tags = next(batches)
        loss = model.loss(model(words, sizes), tags, sizes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if len(losses) < window_workloads.RUNS:
            losses.append(loss.item())

    def result() -> Arrays:
        pairs = zip(model.parameters(), start, strict=True)
        return {
            "losses": np.array(losses),
            "change": np.concatenate([(parameter.numpy() - before).ravel() for parameter, before in pairs]),
        }

    return Prepared(run, result)
