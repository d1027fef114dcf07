"""A training step of a feed-forward language model in PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from dlkit.study import nnlm_workloads
from dlkit.study.libraries import Prepared
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
    start = [inputs[name].astype(np.float64) for name in NAMES]
    parameters = list(model.parameters())
    with torch.no_grad():
        for parameter, name in zip(parameters, NAMES, strict=True):
            parameter.copy_(torch.from_numpy(inputs[name]))
    optimizer = torch.optim.SGD(parameters, lr=p["lr"], fused=True if best else None)
    loss_function = torch.nn.CrossEntropyLoss()
    cut = [torch.from_numpy(inputs[name]).view(p["batches"], p["batch"], -1) for name in ("x", "y")]
    batches = itertools.cycle(list(zip(cut[0], cut[1].flatten(1), strict=True)))
    losses: list[float] = []

    def run() -> None:
        contexts, follow = next(batches)
        loss = loss_function(model(contexts), follow)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if len(losses) < nnlm_workloads.RUNS:
            losses.append(loss.item())

    def result() -> Arrays:
        both = zip(parameters, start, strict=True)
        change = np.concatenate([(a.detach().double().numpy() - b).ravel() for a, b in both])
        return {"losses": np.array(losses), "change": change}

    return Prepared(run, result)
