"""A training step of a window tagger in PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from dlkit.study import window_workloads
from dlkit.study.libraries import Prepared
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
    start = [inputs[name].astype(np.float64) for name in window_workloads.NAMES]
    with torch.no_grad():
        for parameter, name in zip(model.parameters(), window_workloads.NAMES, strict=True):
            parameter.copy_(torch.from_numpy(inputs[name]))
    optimizer = torch.optim.Adam(model.parameters(), lr=p["lr"], fused=True if best else None)
    loss_function = torch.nn.CrossEntropyLoss()
    pairs = zip(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"]), strict=True)
    batches = itertools.cycle(list(pairs))
    losses: list[float] = []

    def run() -> None:
        words, tags = next(batches)
        loss = loss_function(model(words), tags)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if len(losses) < window_workloads.RUNS:
            losses.append(loss.item())

    def result() -> Arrays:
        both = zip(model.parameters(), start, strict=True)
        change = np.concatenate([(a.detach().double().numpy() - b).ravel() for a, b in both])
        return {"losses": np.array(losses), "change": change}

    return Prepared(run, result)
