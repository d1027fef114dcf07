"""What is compared in the layers chapter: what the workloads start from, and their answers in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.study.training_reference import AdamReference, softmax_loss

Arrays = dict[str, NDArray[Any]]

KINDS = (
    *("relu", "sigmoid", "tanh", "cross_entropy", "cross_entropy_autograd"),
    *("layer_norm", "batch_norm", "adam", "linear_relu"),
)

#: After how many steps Adam is checked.
RUNS = 3


def make_inputs(kind: str, p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return the arrays that a workload starts from."""

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    if kind in ("relu", "sigmoid", "tanh"):
        return {"x": normal(p["count"])}
    if kind in ("cross_entropy", "cross_entropy_autograd"):
        return {"logits": normal(p["rows"], p["classes"]), "labels": rng.integers(0, p["classes"], p["rows"])}
    if kind in ("layer_norm", "batch_norm"):
        channels = p["shape"][-1 if kind == "layer_norm" else 1]
        return {
            "x": normal(*p["shape"]),
            "grad": normal(*p["shape"]),
            "weight": normal(channels),
            "bias": normal(channels),
        }
    if kind == "adam":
        return {"param": normal(p["count"]), "grad": normal(p["count"])}
    return {"x": normal(p["m"], p["k"]), "weight": normal(p["n"], p["k"]), "bias": normal(p["n"])}


def reference(kind: str, p: dict[str, Any], x: Arrays) -> Arrays:
    """Return the answers in float64, given the inputs in float64; of Adam after `RUNS` steps."""
    if kind == "relu":
        return {"out": np.maximum(x["x"], 0)}
    if kind == "sigmoid":
        return {"out": 1 / (1 + np.exp(-x["x"]))}
    if kind == "tanh":
        return {"out": np.tanh(x["x"])}
    if kind in ("cross_entropy", "cross_entropy_autograd"):
        loss, grad = softmax_loss(x["logits"], x["labels"])
        return {"loss": np.array(loss), "grad": grad}
    if kind in ("layer_norm", "batch_norm"):
        return _norm_reference(kind, x)
    if kind == "adam":
        state = AdamReference([x["param"]], p["lr"])
        for _ in range(RUNS):
            state.step([x["grad"]])
        return {"change": state.params[0] - x["param"]}
    return {"out": np.maximum(x["x"] @ x["weight"].T + x["bias"], 0)}


def _norm_reference(kind: str, a: Arrays) -> Arrays:
    x, grad = a["x"], a["grad"]
    every = tuple(range(x.ndim))
    of_parameters = every[:-1] if kind == "layer_norm" else (0, *every[2:])
    axes = every[-1:] if kind == "layer_norm" else of_parameters
    weight, bias = (np.expand_dims(a[name], of_parameters) for name in ("weight", "bias"))
    rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    normal = (x - x.mean(axes, keepdims=True)) * rstd
    g = grad * weight
    mean, slope = g.mean(axes, keepdims=True), (g * normal).mean(axes, keepdims=True)
    return {
        "out": normal * weight + bias,
        "by_x": rstd * (g - mean - normal * slope),
        "by_weight": (grad * normal).sum(of_parameters),
        "by_bias": grad.sum(of_parameters),
    }
