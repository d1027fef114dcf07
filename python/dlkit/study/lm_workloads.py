"""A training step of a recurrent language model: what it starts from, and its answers in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study import recurrent_workloads
from dlkit.study.training_reference import softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 3


def layer_of(p: dict[str, Any]) -> dict[str, Any]:
    """Return the recurrent layers as the recurrent chapter's workloads describe them."""
    return {
        **{"cell": "lstm", "steps": p["steps"], "batch": p["batch"], "inputs": p["hidden"]},
        **{"hidden": p["hidden"], "layers": p["layers"], "directions": 1},
    }


def names_of(p: dict[str, Any]) -> list[str]:
    """Return the parameters of the network, as its inputs name them, in the order of the models' own."""
    parts = [f"{part}_l{layer}" for layer in range(p["layers"]) for part in recurrent_workloads.PARTS]
    return ["embedding", *parts, "output.weight", "output.bias"]


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return words, step after step, those that follow, and the parameters at the start."""
    shape = (p["batches"], p["steps"] * p["batch"])
    layer = recurrent_workloads.make_inputs("recurrent_forward", layer_of(p), rng)
    limit = p["hidden"] ** -0.5
    return {
        "x": rng.integers(0, p["words"], shape),
        "y": rng.integers(0, p["words"], shape),
        "embedding": rng.uniform(-0.5, 0.5, (p["words"], p["hidden"])).astype(np.float32),
        **{name: layer[name] for name in names_of(p)[1:-2]},
        "output.weight": rng.uniform(-limit, limit, (p["words"], p["hidden"])).astype(np.float32),
        "output.bias": rng.uniform(-limit, limit, p["words"]).astype(np.float32),
    }


def reference(p: dict[str, Any], a: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    names, layer, losses = names_of(p), layer_of(p), []
    v = {name: a[name].copy() for name in names}
    for step in range(RUNS):
        numbers, follow = a["x"][step % p["batches"]], a["y"][step % p["batches"]]
        x = v["embedding"][numbers].reshape(p["steps"], p["batch"], -1)
        weights = {name: v[name] for name in names[1:-2]}
        seen = recurrent_workloads.reference("recurrent_forward", layer, {"x": x, **weights})["out"]
        states = seen.reshape(len(numbers), -1)
        loss, grad = softmax_loss(states @ v["output.weight"].T + v["output.bias"], follow)
        losses.append(loss)
        found = recurrent_workloads.reference(
            "recurrent_step",
            layer,
            {"x": x, "grad": (grad @ v["output.weight"]).reshape(seen.shape), **weights},
        )
        by = {name: found[f"by_{name}"] for name in weights}
        by["embedding"] = np.zeros_like(v["embedding"])
        np.add.at(by["embedding"], numbers, found["by_x"].reshape(len(numbers), -1))
        by["output.weight"], by["output.bias"] = grad.T @ states, grad.sum(axis=0)
        norm = float(np.sqrt(sum((each * each).sum() for each in by.values())))
        for name in names:
            v[name] -= p["lr"] * min(1.0, p["clip_norm"] / norm) * by[name]
    change = np.concatenate([(v[name] - a[name]).ravel() for name in names])
    return {"losses": np.array(losses), "change": change}
