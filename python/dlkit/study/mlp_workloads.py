"""A training step of a multi-layer perceptron: what it starts from, and its answers in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study.training_reference import AdamReference, softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 5


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return samples, labels and the parameters at the start."""
    sizes, total = p["sizes"], p["batch"] * p["batches"]
    arrays: Arrays = {
        "x": rng.random((total, sizes[0]), dtype=np.float32),
        "y": rng.integers(0, sizes[-1], total),
    }
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        limit = 1 / np.sqrt(fan_in)
        arrays[f"weight{i}"] = rng.uniform(-limit, limit, (fan_out, fan_in)).astype(np.float32)
        arrays[f"bias{i}"] = rng.uniform(-limit, limit, fan_out).astype(np.float32)
    return arrays


def reference(p: dict[str, Any], x: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    layers = len(p["sizes"]) - 1
    names = [f"{kind}{i}" for i in range(layers) for kind in ("weight", "bias")]
    state = AdamReference([x[name] for name in names], p["lr"])
    losses = []
    for step in range(RUNS):
        rows = slice((step % p["batches"]) * p["batch"], (step % p["batches"] + 1) * p["batch"])
        hidden = [x["x"][rows]]
        for i in range(layers):
            z = hidden[-1] @ state.params[2 * i].T + state.params[2 * i + 1]
            hidden.append(np.maximum(z, 0) if i < layers - 1 else z)
        loss, grad = softmax_loss(hidden[-1], x["y"][rows])
        losses.append(loss)
        grads: list[NDArray[Any]] = [np.empty(0)] * len(names)
        for i in reversed(range(layers)):
            grads[2 * i], grads[2 * i + 1] = grad.T @ hidden[i], grad.sum(axis=0)
            if i:
                grad = (grad @ state.params[2 * i]) * (hidden[i] > 0)
        state.step(grads)
    change = np.concatenate([(a - x[name]).ravel() for a, name in zip(state.params, names, strict=True)])
    return {"losses": np.array(losses), "change": change}
