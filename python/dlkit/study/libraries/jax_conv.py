"""The conv chapter's workloads in JAX, compiled once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.study.conv_workloads import POOL_KINDS, weight_shape
from dlkit.study.libraries import Prepared


def prepare(kind: str, p: dict[str, Any], a: dict[str, Any]) -> Prepared:
    """Return a workload compiled and ready to run."""
    if kind in POOL_KINDS:
        return _pool(kind, a)
    dims = len(p["size"]) - 2

    def convolve(x: Any, weight: Any) -> Any:
        return jax.lax.conv_general_dilated(
            *(x, weight, [p["stride"]] * dims, [(p["padding"], p["padding"])] * dims),
            feature_group_count=p["groups"],
        )

    if kind == "conv_forward":
        per_filter = (-1,) + (1,) * dims
        return _compiled(
            lambda x, weight, bias: (convolve(x, weight) + bias.reshape(per_filter),),
            ("out",),
            *(a["x"], a["weight"], a["bias"]),
        )
    if kind == "conv_input":
        size = _structure(p["size"])
        return _compiled(
            lambda grad, weight: jax.linear_transpose(lambda x: convolve(x, weight), size)(grad),
            *(("out",), a["grad"], a["weight"]),
        )
    shape = _structure(weight_shape(p))
    others = (0, *range(2, dims + 2))
    return _compiled(
        lambda grad, x: (
            *jax.linear_transpose(lambda weight: convolve(x, weight), shape)(grad),
            grad.sum(others),
        ),
        *(("out", "bias"), a["grad"], a["x"]),
    )


def _structure(shape: Any) -> Any:
    make: Any = jax.ShapeDtypeStruct
    return make(tuple(shape), jnp.float32)


def _compiled(function: Any, names: tuple[str, ...], *arguments: Any) -> Prepared:
    compiled, wait = jax.jit(function), _wait
    return Prepared(
        lambda: wait(compiled(*arguments)),
        lambda: dict(zip(names, map(np.asarray, compiled(*arguments)), strict=True)),
    )


def _wait(results: Any) -> Any:
    ready: Any = jax.block_until_ready
    return ready(results)


def _pool(kind: str, a: dict[str, Any]) -> Prepared:
    def pool(x: Any) -> Any:
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    if kind != "max_pool_backward":
        return _compiled(lambda x: (pool(x),), ("out",), a["x"])
    return _compiled(lambda x, grad: jax.vjp(pool, x)[1](grad), ("out",), a["x"], a["grad"])
