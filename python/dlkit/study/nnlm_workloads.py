"""A training step of a feed-forward language model: what it starts from, and its answers in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study.training_reference import softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 3
#: The parameters of the network, as its inputs name them, in the order of the models' own.
NAMES = ["embedding", "hidden.weight", "hidden.bias", "output.weight", "output.bias"]


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return contexts, the words that follow, and the parameters at the start."""
    seen, total = (p["order"] - 1) * p["dimensions"], p["batch"] * p["batches"]
    arrays: Arrays = {
        "x": rng.integers(0, p["words"], (total, p["order"] - 1)),
        "y": rng.integers(0, p["words"], total),
        "embedding": rng.uniform(-0.5, 0.5, (p["words"], p["dimensions"])).astype(np.float32),
    }
    for name, shape in (("hidden", (p["hidden"], seen)), ("output", (p["words"], p["hidden"]))):
        limit = shape[1] ** -0.5
        arrays[f"{name}.weight"] = rng.uniform(-limit, limit, shape).astype(np.float32)
        arrays[f"{name}.bias"] = rng.uniform(-limit, limit, shape[0]).astype(np.float32)
    return arrays


def reference(p: dict[str, Any], a: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    v, losses = {name: a[name].copy() for name in NAMES}, []
    for step in range(RUNS):
        rows = slice(step % p["batches"] * p["batch"], (step % p["batches"] + 1) * p["batch"])
        numbers, count = a["x"][rows], p["batch"]
        seen = v["embedding"][numbers].reshape(count, -1)
        hidden = np.tanh(seen @ v["hidden.weight"].T + v["hidden.bias"])
        loss, grad = softmax_loss(hidden @ v["output.weight"].T + v["output.bias"], a["y"][rows])
        losses.append(loss)
        by_hidden = grad @ v["output.weight"] * (1 - hidden**2)
        by = {"output.weight": grad.T @ hidden, "output.bias": grad.sum(axis=0)}
        by["hidden.weight"], by["hidden.bias"] = by_hidden.T @ seen, by_hidden.sum(axis=0)
        by["embedding"] = np.zeros_like(v["embedding"])
        by_vectors = (by_hidden @ v["hidden.weight"]).reshape(count, p["order"] - 1, -1)
        np.add.at(by["embedding"], numbers, by_vectors)
        for name in NAMES:
            v[name] -= p["lr"] * by[name]
    change = np.concatenate([(v[name] - a[name]).ravel() for name in NAMES])
    return {"losses": np.array(losses), "change": change}
