"""Softmax and its logarithm along a dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import make, normal_dim, record, require_float
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import namespace

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


def softmax(a: Tensor, dim: int = -1) -> Tensor:
    """exp(x) / sum exp(x) along `dim`. Gradient: y (g - sum g y)."""
    return _along(a, dim, "softmax", kernels.softmax, kernels.softmax_backward)


def log_softmax(a: Tensor, dim: int = -1) -> Tensor:
    """The logarithm of `softmax`, without forming it. Gradient: g - exp(y) sum g."""
    return _along(a, dim, "log_softmax", kernels.log_softmax, kernels.log_softmax_backward)


def _along(a: Tensor, dim: int, op: str, forward: Any, backward: Any) -> Tensor:
    x = require_float(a, op)
    d = normal_dim(dim, x.ndim, op)
    if x.ndim == 0:
        x = x.reshape(1)
    last = d == x.ndim - 1
    y = forward(x if last else namespace(x).ascontiguousarray(np.moveaxis(x, d, -1)))
    out = y if last else np.moveaxis(y, -1, d)
    shape = a._array.shape
    if not a._tracked or not mode.enabled:
        return make(out.reshape(shape))

    def by_input(g: Array) -> tuple[Array]:
        if last:
            return (backward(g.reshape(y.shape), y).reshape(shape),)
        return (np.moveaxis(backward(namespace(g).ascontiguousarray(np.moveaxis(g, d, -1)), y), -1, d),)

    return record(op, out.reshape(shape), (a,), by_input)
