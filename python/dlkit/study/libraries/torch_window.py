"""A training step of a window tagger in PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from dlkit.study import window_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.libraries.torch_training import load, training
from dlkit.study.window_workloads import Arrays

_Module: Any = torch.nn.Module  # Any with and without PyTorch, so that type checks say the same


class _Tagger(_Module):  # type: ignore[misc]
    def __init__(self, p: dict[str, Any]) -> None:
        super().__init__()
        self.shape, self.window = (p["length"], p["batch"]), p["window"]
        self.embedding = torch.nn.Embedding(p["words"], p["dimensions"])
        self.hidden = torch.nn.Linear(p["window"] * p["dimensions"], p["hidden"])
        self.output = torch.nn.Linear(p["hidden"], p["tags"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = self.window // 2
        padded = torch.nn.functional.pad(x.view(self.shape), (0, 0, half, half))
        around = padded.unfold(0, self.window, 1).flatten(0, 1)
        scores: torch.Tensor = self.output(torch.tanh(self.hidden(self.embedding(around).flatten(1))))
        return scores


def prepare(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    """Return the workload ready to run."""
    model = _Tagger(p)
    load(model, window_workloads.NAMES, inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=p["lr"], fused=True if best else None)
    pairs = zip(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"]), strict=True)
    return training(model, optimizer, list(pairs), window_workloads.RUNS)
