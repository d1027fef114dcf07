"""Training steps of networks over words in JAX: two taggers and two language models."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp

from dlkit.study import lm_workloads, nnlm_workloads, tagger_workloads, window_workloads
from dlkit.study.libraries import Prepared, jax_recurrent
from dlkit.study.libraries.jax_training import Arrays, loss_of, sgd_update, training


def prepare(kind: str, p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return a workload compiled and ready to run."""
    tagger = kind == "tagger_step"
    names = tagger_workloads.NAMES if tagger else lm_workloads.names_of(p)
    layer = tagger_workloads.layer_of(p) if tagger else lm_workloads.layer_of(p)

    def forward(params: Any, x: Any, y: Any) -> Any:
        v = {name: value for name, (value,) in zip(names, params, strict=True)}
        vectors = v["embedding"][x].reshape(layer["steps"], layer["batch"], -1)
        seen = jax_recurrent.layers(layer, vectors, v)
        return loss_of(seen.reshape(len(x), -1) @ v["output.weight"].T + v["output.bias"], y)

    batches = list(zip(jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"]), strict=True))
    update = None if tagger else partial(sgd_update, lr=p["lr"], clip_norm=p["clip_norm"])
    runs = tagger_workloads.RUNS if tagger else lm_workloads.RUNS
    return training(forward, [(name,) for name in names], p, inputs, runs, update, batches)


def _feed_forward(params: Any, names: list[str], around: Any, y: Any) -> Any:
    # The loss of a hidden layer over the vectors of some words, those of each row.
    v = {name: value for name, (value,) in zip(names, params, strict=True)}
    seen = v["embedding"][around].reshape(len(around), -1)
    hidden = jnp.tanh(seen @ v["hidden.weight"].T + v["hidden.bias"])
    return loss_of(hidden @ v["output.weight"].T + v["output.bias"], y)


def prepare_feed_forward(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the step of a feed-forward language model compiled and ready to run."""
    names = nnlm_workloads.NAMES

    def forward(params: Any, x: Any, y: Any) -> Any:
        return _feed_forward(params, names, x, y)

    update = partial(sgd_update, lr=p["lr"], clip_norm=None)
    return training(forward, [(name,) for name in names], p, inputs, nnlm_workloads.RUNS, update)


def prepare_window(p: dict[str, Any], inputs: Arrays) -> Prepared:
    """Return the step of a window tagger compiled and ready to run."""
    names, half = window_workloads.NAMES, p["window"] // 2

    def forward(params: Any, x: Any, y: Any) -> Any:
        padded = jnp.pad(x.reshape(p["length"], p["batch"]), ((half, half), (0, 0)))
        around = jnp.stack([padded[o : o + p["length"]] for o in range(p["window"])], axis=2)
        return _feed_forward(params, names, around.reshape(len(x), -1), y)

    batches = list(zip(jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"]), strict=True))
    return training(forward, [(name,) for name in names], p, inputs, window_workloads.RUNS, batches=batches)
