"""A training step of a recurrent language model in PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from dlkit.study import lm_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.torch_training import load, training
from dlkit.study.lm_workloads import Arrays

_Module: Any = torch.nn.Module  # Any with and without PyTorch, so that type checks say the same


class _LanguageModel(_Module):  # type: ignore[misc]
    def __init__(self, p: dict[str, Any]) -> None:
        super().__init__()
        self.shape = (p["steps"], p["batch"])
        self.embedding = torch.nn.Embedding(p["words"], p["hidden"])
        self.recurrent = torch.nn.LSTM(p["hidden"], p["hidden"], p["layers"])
        self.output = torch.nn.Linear(p["hidden"], p["words"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self.recurrent(self.embedding(x.view(self.shape)))[0]
        scores: torch.Tensor = self.output(states.flatten(0, 1))
        return scores


def prepare(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    """Return the workload ready to run."""
    model = _LanguageModel(p)
    load(model, lm_workloads.names_of(p), inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=p["lr"], fused=True if best else None)
    pairs = zip(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"]), strict=True)
    return training(model, optimizer, list(pairs), lm_workloads.RUNS, p["clip_norm"])
