"""A training step of a feed-forward language model in dlkit."""

from __future__ import annotations

from typing import Any

import dlkit
from dlkit.study import nnlm_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.dlkit_training import cut, load, training
from dlkit.study.nnlm_workloads import NAMES, Arrays


def prepare(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the workload ready to run."""
    model = dlkit.models.FeedForwardLanguageModel(p["words"], p["order"], p["dimensions"], p["hidden"])
    load(model, NAMES, inputs)
    optimizer = dlkit.optim.SGD(model.parameters(), lr=p["lr"])
    batches = cut(inputs["x"], inputs["y"], p["batch"])
    return training(model, optimizer, model.loss, batches, nnlm_workloads.RUNS)
