"""A training step of a tagger in PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from dlkit.study import tagger_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.torch_training import load, training
from dlkit.study.tagger_workloads import Arrays

_Module: Any = torch.nn.Module  # Any with and without PyTorch, so that type checks say the same


class _Tagger(_Module):  # type: ignore[misc]
    def __init__(self, p: dict[str, Any]) -> None:
        super().__init__()
        self.shape = (p["length"], p["batch"])
        self.embedding = torch.nn.Embedding(p["words"], p["dimensions"], padding_idx=0)
        self.recurrent = torch.nn.LSTM(p["dimensions"], p["hidden"], bidirectional=True)
        self.output = torch.nn.Linear(2 * p["hidden"], p["tags"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self.recurrent(self.embedding(x.view(self.shape)))[0]
        scores: torch.Tensor = self.output(states).flatten(0, 1)
        return scores


def prepare(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    """Return the workload ready to run."""
    model = _Tagger(p)
    load(model, tagger_workloads.NAMES, inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=p["lr"], fused=True if best else None)
    pairs = zip(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"]), strict=True)
    return training(model, optimizer, list(pairs), tagger_workloads.RUNS)
