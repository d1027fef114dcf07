"""The recurrent chapter's workloads in JAX: products of all inputs at once, then a compiled scan over the steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.study.libraries import Prepared
from dlkit.study.recurrent_workloads import EPS, Arrays, names, parts_of


def prepare(kind: str, p: dict[str, Any], t: dict[str, Any]) -> Prepared:
    """Return a workload compiled and ready to run."""
    weights = {part + suffix: t[part + suffix] for _, _, suffix in names(p) for part in parts_of(p)}

    def run_layers(x: Any, weights: dict[str, Any]) -> Any:
        return layers(p, x, weights)

    wait: Any = jax.block_until_ready
    if kind == "recurrent_forward":
        compiled = jax.jit(run_layers)
        return Prepared(
            lambda: wait(compiled(t["x"], weights)),
            lambda: {"out": np.asarray(compiled(t["x"], weights))},
        )

    def step(x: Any, weights: dict[str, Any], grad: Any) -> Any:
        y, backward = jax.vjp(run_layers, x, weights)
        return y, *backward(grad)

    compiled_step = jax.jit(step)

    def result() -> Arrays:
        y, dx, by_weights = compiled_step(t["x"], weights, t["grad"])
        found = {f"by_{name}": np.asarray(g) for name, g in by_weights.items()}
        return {"out": np.asarray(y), "by_x": np.asarray(dx), **found}

    return Prepared(lambda: wait(compiled_step(t["x"], weights, t["grad"])), result)


def layers(p: dict[str, Any], x: Any, weights: dict[str, Any]) -> Any:
    """Run the recurrent layers of a workload."""
    for layer in range(p["layers"]):
        outputs = []
        for at, d, suffix in names(p):
            if at == layer:
                arrays = [weights[part + suffix] for part in parts_of(p)]
                outputs.append(_sequence(p["cell"], x, *arrays, reverse=d == 1))
        x = jnp.concatenate(outputs, axis=2) if len(outputs) > 1 else outputs[0]
    return x


def _normal(a: Any, hidden: int) -> Any:
    runs = a.reshape(*a.shape[:-1], -1, hidden)
    mean, variance = runs.mean(-1, keepdims=True), runs.var(-1, keepdims=True)
    return ((runs - mean) * jax.lax.rsqrt(variance + EPS)).reshape(a.shape)


def _sequence(cell: str, x: Any, w: Any, u: Any, b: Any, v: Any, *norms: Any, reverse: bool) -> Any:
    hidden = u.shape[1]
    start = jnp.zeros((x.shape[1], hidden), x.dtype)
    from_input = _normal(x @ w.T, hidden) * norms[0] + b if norms else x @ w.T + b

    def simple(h: Any, left: Any) -> Any:
        h = jnp.tanh(left + h @ u.T + v)
        return h, h

    def gru(h: Any, left: Any) -> Any:
        (xr, xz, xn), (hr, hz, hn) = jnp.split(left, 3, axis=1), jnp.split(h @ u.T + v, 3, axis=1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + r * hn)
        h = n + z * (h - n)
        return h, h

    def lstm(state: Any, left: Any) -> Any:
        h, c = state
        right = _normal(h @ u.T, hidden) * norms[1] + v if norms else h @ u.T + v
        i, f, g, o = jnp.split(left + right, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(_normal(c, hidden) * norms[2] + norms[3] if norms else c)
        return (h, c), h

    step = {"tanh": simple, "gru": gru, "lstm": lstm}[cell]
    return jax.lax.scan(step, (start, start) if cell == "lstm" else start, from_input, reverse=reverse)[1]
