"""A training step of the network for sentences: what it starts from, and its answers in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study.training_reference import AdamReference, softmax_loss

Arrays = dict[str, NDArray[Any]]

#: After how many steps it is checked.
RUNS = 3


def make_inputs(p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return sentences, labels and the parameters at the start."""
    total = p["batch"] * p["batches"]
    arrays: Arrays = {
        "x": rng.integers(1, p["words"], (total, p["length"])),
        "y": rng.integers(0, 2, total),
        "embedding": rng.uniform(-0.25, 0.25, (p["words"], p["dimensions"])).astype(np.float32),
    }
    arrays["embedding"][0] = 0
    features = len(p["regions"]) * p["filters"]
    shapes = {f"conv{i}": (p["filters"], p["dimensions"], r) for i, r in enumerate(p["regions"])}
    for name, shape in {**shapes, "output": (2, features)}.items():
        limit = 1 / np.sqrt(np.prod(shape[1:]))
        arrays[f"{name}.weight"] = rng.uniform(-limit, limit, shape).astype(np.float32)
        arrays[f"{name}.bias"] = rng.uniform(-limit, limit, shape[0]).astype(np.float32)
    return arrays


def names_of(p: dict[str, Any]) -> list[str]:
    """Return the parameters of the network, as its inputs name them, in the order of the models' own."""
    layers = [*(f"conv{i}" for i in range(len(p["regions"]))), "output"]
    return ["embedding", *(f"{name}.{part}" for name in layers for part in ("weight", "bias"))]


def reference(p: dict[str, Any], a: Arrays) -> Arrays:
    """Return losses and the change of the parameters after `RUNS` steps, given the inputs in float64."""
    names, count = names_of(p), len(p["regions"])
    state = AdamReference([a[name] for name in names], p["lr"])
    losses = []
    for step in range(RUNS):
        rows = slice(step % p["batches"] * p["batch"], (step % p["batches"] + 1) * p["batch"])
        v = dict(zip(names, state.params, strict=True))
        numbers = a["x"][rows]
        vectors = v["embedding"][numbers]
        pooled, places = [], []
        for i, region in enumerate(p["regions"]):
            windows = np.lib.stride_tricks.sliding_window_view(vectors, region, axis=1)
            answers = np.einsum("ntcj,fcj->ntf", windows, v[f"conv{i}.weight"], optimize=True)
            places.append(answers.argmax(axis=1))
            pooled.append(answers.max(axis=1) + v[f"conv{i}.bias"])
        features = np.concatenate(pooled, axis=1)
        active = np.maximum(features, 0)
        loss, grad = softmax_loss(active @ v["output.weight"].T + v["output.bias"], a["y"][rows])
        losses.append(loss)
        g = {name: np.zeros_like(value) for name, value in v.items()}
        g["output.weight"], g["output.bias"] = grad.T @ active, grad.sum(axis=0)
        by_features = (grad @ v["output.weight"]) * (features > 0)
        by_vectors = np.zeros_like(vectors)
        for i, by_filters in enumerate(np.split(by_features, count, axis=1)):
            g[f"conv{i}.bias"] = by_filters.sum(axis=0)
            for n, f in np.ndindex(*by_filters.shape):
                at = slice(places[i][n, f], places[i][n, f] + p["regions"][i])
                by_vectors[n, at] += by_filters[n, f] * v[f"conv{i}.weight"][f].T
                g[f"conv{i}.weight"][f] += by_filters[n, f] * vectors[n, at].T
        np.add.at(g["embedding"], numbers, by_vectors)
        g["embedding"][0] = 0
        state.step([g[name] for name in names])
    change = np.concatenate([(b - a[name]).ravel() for b, name in zip(state.params, names, strict=True)])
    return {"losses": np.array(losses), "change": change}
