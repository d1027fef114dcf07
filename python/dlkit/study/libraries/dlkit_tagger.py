"""A training step of a tagger in dlkit."""

from __future__ import annotations

from typing import Any

import dlkit
from dlkit.study import tagger_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.dlkit_training import load, training
from dlkit.study.tagger_workloads import Arrays


def prepare(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the workload ready to run."""
    model = dlkit.models.SequenceTagger(p["words"], p["tags"], p["dimensions"], p["hidden"], dropout=0.0)
    load(model, tagger_workloads.NAMES, inputs)  # the tables' row 0 is padding, which no sentence has
    sizes = [p["batch"]] * p["length"]
    return training(
        model,
        dlkit.optim.Adam(model.parameters(), lr=p["lr"]),
        lambda words, tags: model.loss(model(words, sizes), tags, sizes),
        list(zip(inputs["x"], inputs["y"], strict=True)),
        tagger_workloads.RUNS,
    )
