"""A training step of a language model: what it starts from, and its answers in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study import recurrent_workloads
from dlkit.study.training_reference import softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 2
LAYERS = 2
_PARTS = [[f"{part}_l{layer}" for part in recurrent_workloads.PARTS] for layer in range(LAYERS)]
#: The parameters of the network, as its inputs name them, in the order of the models' own.
NAMES = ["embedding", *_PARTS[0], *_PARTS[1], "output.weight", "output.bias"]


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return pieces of a text, step after step, what follows each word, and the parameters at the start."""
    steps, batch, hidden, words = p["steps"], p["batch"], p["hidden"], p["words"]
    text = rng.integers(0, words, (p["pieces"], steps + 1, batch))
    shapes = [
        (words, hidden),
        *[(4 * hidden, hidden), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)] * LAYERS,
    ]
    shapes += [(words, hidden), (words,)]
    return {
        "x": np.ascontiguousarray(text[:, :-1]),
        "y": text[:, 1:].reshape(p["pieces"], steps * batch),
        **{
            name: rng.uniform(-0.1, 0.1, shape).astype(np.float32)
            for name, shape in zip(NAMES, shapes, strict=True)
        },
    }


def reference(p: dict[str, Any], a: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    v = {name: a[name].copy() for name in NAMES}
    losses: list[float] = []
    states: list[Any] = [None] * LAYERS
    for step in range(RUNS):
        words = a["x"][step % p["pieces"]]
        seen, tapes = [v["embedding"][words]], []
        for layer in range(LAYERS):
            y, tape = recurrent_workloads.layer_forward(
                "lstm", seen[-1], [v[name] for name in _PARTS[layer]], states[layer]
            )
            seen.append(y)
            tapes.append(tape)
            states[layer] = (y[-1], tape[-1][1][4])
        rows = seen[-1].reshape(-1, p["hidden"])
        loss, grad = softmax_loss(rows @ v["output.weight"].T + v["output.bias"], a["y"][step % p["pieces"]])
        losses.append(loss)
        found: Arrays = {"output.weight": grad.T @ rows, "output.bias": grad.sum(axis=0)}
        by_states = (grad @ v["output.weight"]).reshape(seen[-1].shape)
        for layer in reversed(range(LAYERS)):
            names = _PARTS[layer]
            by_states, by_weights = recurrent_workloads.layer_backward(
                "lstm", seen[layer], [v[name] for name in names], tapes[layer], by_states
            )
            found.update(zip(names, by_weights, strict=True))
        found["embedding"] = np.zeros_like(v["embedding"])
        np.add.at(found["embedding"], words, by_states)
        norm = sum(float((g * g).sum()) for g in found.values()) ** 0.5
        for name, g in found.items():
            v[name] -= p["lr"] * min(1.0, p["clip"] / norm) * g
    return {
        "losses": np.array(losses),
        "change": np.concatenate([(v[name] - a[name]).ravel() for name in NAMES]),
    }
