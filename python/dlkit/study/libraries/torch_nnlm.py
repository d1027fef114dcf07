"""A training step of a feed-forward language model in PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from dlkit.study import nnlm_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.torch_training import cut, load, training
from dlkit.study.nnlm_workloads import NAMES, Arrays


def prepare(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    """Return the workload ready to run."""
    seen = (p["order"] - 1) * p["dimensions"]
    model = torch.nn.Sequential(
        torch.nn.Embedding(p["words"], p["dimensions"]),
        torch.nn.Flatten(),
        torch.nn.Linear(seen, p["hidden"]),
        torch.nn.Tanh(),
        torch.nn.Linear(p["hidden"], p["words"]),
    )
    load(model, NAMES, inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=p["lr"], fused=True if best else None)
    x, y = (torch.from_numpy(inputs[name]) for name in ("x", "y"))
    return training(model, optimizer, cut(x, y, p["batch"]), nnlm_workloads.RUNS)
