"""Matrix products of tensors."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import make, operand, promote, record, shape_text, unbroadcast
from dlkit.autograd.gradients import claim, settle
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import mixed_devices

if TYPE_CHECKING:
    from dlkit.autograd.base import Array, TensorBase
    from dlkit.autograd.tensor import Tensor


def matmul(a: Tensor, b: Any) -> Tensor:
    """Matrix product ``a @ b``, as `numpy.matmul` defines it: stacks broadcast, vectors are rows and columns.

    Gradients: ``g bᵀ`` and ``aᵀ g``, summed where a stack was broadcast.

    Raises
    ------
    ValueError
        If the inner dimensions differ, or an operand has no dimensions.
    """
    if b.__class__ is not a.__class__:
        b = operand(b, a, "matmul")
    if a._array.dtype.kind != b._array.dtype.kind:
        a, b = promote(a, b)
    x, y = a._array, b._array
    if x.dtype.kind != "f":
        return _of_integers(x, y)
    out = kernels.matmul(x, y)
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)

    def backward(g: Array, direct: bool) -> tuple[Array | None, Array | None]:
        rows = x if x.ndim > 1 else x[None, :]
        columns = y if y.ndim > 1 else y[:, None]
        if x.ndim == 1:
            g = g[..., None, :] if y.ndim > 1 else g.reshape(1, 1)
        elif y.ndim == 1:
            g = g[..., None]
        by_a = by_b = None
        if p:
            by_a = unbroadcast(kernels.matmul(g, columns, trans_b=True), rows.shape).reshape(x.shape)
        if q:
            if columns.ndim == 2:
                # One matrix for the whole stack: the sum over the stack is a longer inner dimension.
                count = prod(rows.shape[:-1])  # not -1: sizes may be 0
                tall, wide = rows.reshape(count, rows.shape[-1]), g.reshape(count, g.shape[-1])
                by_b = weight_gradient(b, tall, wide, direct and y.ndim == 2)
            else:
                by_b = unbroadcast(kernels.matmul(rows, g, trans_a=True), columns.shape)
            if by_b is not None:
                by_b = by_b.reshape(y.shape)
        return by_a, by_b

    saved = (a, b) if p and q else (b,) if p else (a,)
    return record("matmul", out, (a, b), backward, saved, direct=True)


def weight_gradient(weight: TensorBase, left: Array, right: Array, direct: bool) -> Array | None:
    """leftᵀ right: into the weight's own gradient if `direct` and it is a plain leaf (then None), else returned."""
    if not direct or weight._node is not None or weight._hooks:
        return kernels.matmul(left, right, trans_a=True)
    present = weight._grad
    if present is not None:
        kernels.matmul(left, right, trans_a=True, out=present._array, accumulate=True)
    else:
        target = claim(weight)
        kernels.matmul(left, right, trans_a=True, out=target._array)
        settle(weight, target)
    return None


def bias_gradient(bias: TensorBase, gradient: Array, direct: bool) -> Array | None:
    """The column sums of a matrix: into the bias's own gradient if `direct` and it is a plain leaf, else returned."""
    if not direct or bias._node is not None or bias._hooks:
        return kernels.column_sum(gradient)
    present = bias._grad
    if present is not None:
        kernels.column_sum(gradient, out=present._array, accumulate=True)
    else:
        target = claim(bias)
        kernels.column_sum(gradient, out=target._array)
        settle(bias, target)
    return None


def _of_integers(x: Array, y: Array) -> Tensor:
    try:
        return make(np.matmul(x, y))
    except TypeError as error:
        raise (mixed_devices("matmul", [("a", x), ("b", y)]) or error) from None
    except ValueError:
        raise ValueError(
            f"matmul: a is {shape_text(x.shape)} but b is {shape_text(y.shape)}: inner dimensions differ"
        ) from None


def rmatmul(a: Tensor, b: Any) -> Tensor:
    """b @ a."""
    return matmul(operand(b, a, "matmul"), a)
