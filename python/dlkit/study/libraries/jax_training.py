"""Training steps in JAX: the loss, updates, and the loop around a compiled step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from dlkit.study.libraries import Prepared

Arrays = dict[str, NDArray[Any]]


def wait(results: Any) -> Any:
    """Return the results once they are computed."""
    block: Any = jax.block_until_ready
    return block(results)


def loss_of(logits: Any, labels: Any) -> Any:
    """Return the mean cross-entropy."""
    picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)


def adam_update(state: Any, grads: Any, lr: float) -> Any:
    """One step of Adam."""
    params, m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, grads)
    v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, grads)
    first, second = 1 - 0.9**t, 1 - 0.999**t
    params = jax.tree.map(lambda p, m, v: p - lr * (m / first) / (jnp.sqrt(v / second) + 1e-8), params, m, v)
    return params, m, v, t


def start(params: Any) -> Any:
    """Return Adam's state before the first step."""
    return (
        params,
        jax.tree.map(jnp.zeros_like, params),
        jax.tree.map(jnp.zeros_like, params),
        jnp.float32(0),
    )


def sgd_update(state: Any, grads: Any, lr: float, clip_norm: float | None) -> Any:
    """Follow the gradients, clipped by their norm if there is one to clip to."""
    params, *rest = state
    if clip_norm is None:
        return jax.tree.map(lambda p, g: p - lr * g, params, grads), *rest
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    factor = lr * jnp.minimum(1.0, clip_norm / norm)
    return jax.tree.map(lambda p, g: p - factor * g, params, grads), *rest


def training(
    forward: Any,
    names: list[tuple[str, ...]],
    p: dict[str, Any],
    inputs: Arrays,
    runs: int = 5,
    update: Callable[[Any, Any], Any] | None = None,
    batches: list[tuple[Any, Any]] | None = None,
) -> Prepared:
    """Return a training workload, compiled: by default Adam, and batches of the first axis of x and y."""
    size = p["batch"]
    change = update or (lambda state, grads: adam_update(state, grads, p["lr"]))

    def step(state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(forward)(state[0], x, y)
        return change(state, grads), loss

    compiled = jax.jit(step, donate_argnums=0)
    state = start([tuple(jnp.array(inputs[name], copy=True) for name in pair) for pair in names])
    x, y = jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"])
    cut = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)] if batches is None else batches
    coming = itertools.cycle(cut)
    losses: list[Any] = []

    def run() -> None:
        nonlocal state
        images, labels = next(coming)
        state, loss = wait(compiled(state, images, labels))
        if len(losses) < runs:
            losses.append(loss)

    def result() -> Arrays:
        parts = [
            (np.asarray(array).astype(np.float64) - inputs[name]).ravel()
            for arrays, pair in zip(state[0], names, strict=True)
            for array, name in zip(arrays, pair, strict=True)
        ]
        return {"losses": np.array([float(loss) for loss in losses]), "change": np.concatenate(parts)}

    return Prepared(run, result)
