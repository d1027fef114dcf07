"""A training step of a tagger: what it starts from, and its answers in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study import recurrent_workloads
from dlkit.study.training_reference import AdamReference, softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 3
_PARTS = [part + suffix for suffix in ("_l0", "_l0_reverse") for part in recurrent_workloads.PARTS]
#: The parameters of the network, as its inputs name them, in the order of the models' own.
NAMES = ["embedding", *_PARTS, "output.weight", "output.bias"]


def layer_of(p: dict[str, Any]) -> dict[str, Any]:
    """Return the recurrent layer as the recurrent chapter's workloads describe one."""
    return {
        **{"cell": "lstm", "steps": p["length"], "batch": p["batch"], "inputs": p["dimensions"]},
        **{"hidden": p["hidden"], "layers": 1, "directions": 2},
    }


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return sentences, step after step, their tags, and the parameters at the start."""
    shape = (p["batches"], p["length"] * p["batch"])
    layer = recurrent_workloads.make_inputs("recurrent_forward", layer_of(p), rng)
    limit = (2 * p["hidden"]) ** -0.5
    return {
        "x": rng.integers(1, p["words"], shape),
        "y": rng.integers(0, p["tags"], shape),
        "embedding": rng.uniform(-0.5, 0.5, (p["words"], p["dimensions"])).astype(np.float32),
        **{name: layer[name] for name in _PARTS},
        "output.weight": rng.uniform(-limit, limit, (p["tags"], 2 * p["hidden"])).astype(np.float32),
        "output.bias": rng.uniform(-limit, limit, p["tags"]).astype(np.float32),
    }


def reference(p: dict[str, Any], a: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    state = AdamReference([a[name] for name in NAMES], p["lr"])
    layer, losses = layer_of(p), []
    for step in range(RUNS):
        v = dict(zip(NAMES, state.params, strict=True))
        numbers = a["x"][step % p["batches"]]
        x = v["embedding"][numbers].reshape(p["length"], p["batch"], -1)
        weights = {name: v[name] for name in _PARTS}
        seen = recurrent_workloads.reference("recurrent_forward", layer, {"x": x, **weights})["out"]
        states = seen.reshape(len(numbers), -1)
        loss, grad = softmax_loss(
            states @ v["output.weight"].T + v["output.bias"], a["y"][step % p["batches"]]
        )
        losses.append(loss)
        found = recurrent_workloads.reference(
            "recurrent_step",
            layer,
            {"x": x, "grad": (grad @ v["output.weight"]).reshape(seen.shape), **weights},
        )
        by_words = np.zeros_like(v["embedding"])
        np.add.at(by_words, numbers, found["by_x"].reshape(len(numbers), -1))
        by_output = [grad.T @ states, grad.sum(axis=0)]
        state.step([by_words, *(found[f"by_{name}"] for name in _PARTS), *by_output])
    change = np.concatenate([(b - a[name]).ravel() for b, name in zip(state.params, NAMES, strict=True)])
    return {"losses": np.array(losses), "change": change}
