"""A training step of a window tagger: what it starts from, and its answers in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study.training_reference import AdamReference, softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 3
#: The parameters of the network, as its inputs name them, in the order of the models' own.
NAMES = ["embedding", "hidden.weight", "hidden.bias", "output.weight", "output.bias"]


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return sentences, step after step, their tags, and the parameters at the start."""
    shape = (p["batches"], p["length"] * p["batch"])
    width = p["window"] * p["dimensions"]

    def uniform(*shape: int, limit: float) -> NDArray[np.float32]:
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    return {
        "x": rng.integers(1, p["words"], shape),
        "y": rng.integers(0, p["tags"], shape),
        "embedding": uniform(p["words"], p["dimensions"], limit=0.5),
        "hidden.weight": uniform(p["hidden"], width, limit=width**-0.5),
        "hidden.bias": uniform(p["hidden"], limit=width**-0.5),
        "output.weight": uniform(p["tags"], p["hidden"], limit=p["hidden"] ** -0.5),
        "output.bias": uniform(p["tags"], limit=p["hidden"] ** -0.5),
    }


def reference(p: dict[str, Any], a: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    state = AdamReference([a[name] for name in NAMES], p["lr"])
    half, losses = p["window"] // 2, []
    for step in range(RUNS):
        v = dict(zip(NAMES, state.params, strict=True))
        sentences = a["x"][step % p["batches"]].reshape(p["length"], p["batch"])
        padded = np.pad(sentences, ((half, half), (0, 0)))
        around = np.stack([padded[o : o + p["length"]] for o in range(p["window"])], axis=2)
        around = around.reshape(-1, p["window"])
        seen = v["embedding"][around].reshape(len(around), -1)
        hidden = np.tanh(seen @ v["hidden.weight"].T + v["hidden.bias"])
        loss, grad = softmax_loss(
            hidden @ v["output.weight"].T + v["output.bias"], a["y"][step % p["batches"]]
        )
        losses.append(loss)
        by_products = (grad @ v["output.weight"]) * (1 - hidden * hidden)
        by_words = np.zeros_like(v["embedding"])
        np.add.at(by_words, around, (by_products @ v["hidden.weight"]).reshape(*around.shape, -1))
        by_hidden = [by_products.T @ seen, by_products.sum(axis=0)]
        state.step([by_words, *by_hidden, grad.T @ hidden, grad.sum(axis=0)])
    change = np.concatenate([(b - a[name]).ravel() for b, name in zip(state.params, NAMES, strict=True)])
    return {"losses": np.array(losses), "change": change}
