"""A training step of a window tagger in dlkit."""

from __future__ import annotations

from typing import Any

import dlkit
from dlkit.study import window_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.dlkit_training import load, training
from dlkit.study.window_workloads import Arrays


def prepare(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the workload ready to run."""
    model = dlkit.models.WindowTagger(p["words"], p["tags"], p["dimensions"], p["window"], p["hidden"])
    load(model, window_workloads.NAMES, inputs)
    sizes = [p["batch"]] * p["length"]
    return training(
        model,
        dlkit.optim.Adam(model.parameters(), lr=p["lr"]),
        lambda words, tags: model.loss(model(words, sizes), tags, sizes),
        list(zip(inputs["x"], inputs["y"], strict=True)),
        window_workloads.RUNS,
    )
