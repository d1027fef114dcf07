"""A training step of a recurrent language model in dlkit."""

from __future__ import annotations

from typing import Any

import dlkit
from dlkit.study import lm_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.dlkit_training import load, training
from dlkit.study.lm_workloads import Arrays


def prepare(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the workload ready to run."""
    model = dlkit.models.RecurrentLanguageModel(p["words"], p["hidden"], p["hidden"], p["layers"])
    load(model, lm_workloads.names_of(p), inputs)
    words_of = inputs["x"].reshape(-1, p["steps"], p["batch"])
    return training(
        model,
        dlkit.optim.SGD(model.parameters(), lr=p["lr"]),
        lambda words, follow: model.loss(words, follow)[0],
        list(zip(words_of, inputs["y"], strict=True)),
        lm_workloads.RUNS,
        p["clip_norm"],
    )
