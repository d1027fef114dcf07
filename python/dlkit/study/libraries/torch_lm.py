"""A training step of a language model in PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from dlkit.study import lm_workloads
from dlkit.study.libraries import Prepared
from dlkit.study.lm_workloads import Arrays

_Module: Any = torch.nn.Module  # Any with and without PyTorch, so that type checks say the same


class _LanguageModel(_Module):  # type: ignore[misc]
    def __init__(self, p: dict[str, Any]) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(p["words"], p["hidden"])
        self.recurrent = torch.nn.LSTM(p["hidden"], p["hidden"], lm_workloads.LAYERS)
        self.output = torch.nn.Linear(p["hidden"], p["words"])

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        states, state = self.recurrent(self.embedding(x), state)
        scores: torch.Tensor = self.output(states.flatten(0, 1))
        return scores, state


def prepare(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    """Return the workload ready to run."""
    model = _LanguageModel(p)
    parameters = list(model.parameters())
    start = [inputs[name].astype(np.float64) for name in lm_workloads.NAMES]
    with torch.no_grad():
        for parameter, name in zip(parameters, lm_workloads.NAMES, strict=True):
            parameter.copy_(torch.from_numpy(inputs[name]))
    optimizer = torch.optim.SGD(parameters, lr=p["lr"], fused=True if best else None)
    loss_function = torch.nn.CrossEntropyLoss()
    pairs = zip(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"]), strict=True)
    pieces = itertools.cycle(list(pairs))
    losses: list[float] = []
    state: list[Any] = [None]

    def run() -> None:
        x, y = next(pieces)
        before = None if state[0] is None else tuple(part.detach() for part in state[0])
        scores, state[0] = model(x, before)
        loss = loss_function(scores, y)
        value = loss.item()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, p["clip"])
        optimizer.step()
        if len(losses) < lm_workloads.RUNS:
            losses.append(value)

    def result() -> Arrays:
        both = zip(parameters, start, strict=True)
        change = np.concatenate([(a.detach().double().numpy() - b).ravel() for a, b in both])
        return {"losses": np.array(losses), "change": change}

    return Prepared(run, result)
