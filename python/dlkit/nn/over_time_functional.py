"""Convolution and maximum over time as a function; `functional` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array, make, record
from dlkit.autograd.gradients import claim, settle
from dlkit.autograd.mode import mode

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_ndarray = np.ndarray


def conv1d_max(x: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve sequences with filters and take each filter's maximum over time, in one kernel.

    The same as ``conv1d(x.transpose(1, 2), weight, bias).max(dim=2)``, with gradients that go to the first place of
    each maximum; the convolution's output is never in memory, and backward costs no more than that one place.

    Parameters
    ----------
    x : Tensor of shape (N, L, C)
        Time before channels, as `embedding` gives it.
    weight : Tensor of shape (F, C, K)
        As for `conv1d`; K at most L.
    bias : Tensor of shape (F,), optional

    Returns
    -------
    Tensor of shape (N, F)

    Raises
    ------
    TypeError
        If dtypes or devices differ, or dtypes are not float32 or float64; if weight or bias is no tensor.
    ValueError
        If shapes do not fit, or K exceeds L.

    Notes
    -----
    An activation that never falls may follow instead of standing between the two: the result is the same, of one
    number instead of L - K + 1. On devices it is the two operations.
    """
    for name, value in (("weight", weight), ("bias", bias)):
        if not isinstance(value, TensorBase) and not (value is None and name == "bias"):
            expected = "a Tensor" if name == "weight" else "a Tensor or None"
            raise TypeError(f"conv1d_max: {name} is a {type(value).__name__}; expected {expected}")
    if not isinstance(x, TensorBase):
        x = make(as_array(x, "conv1d_max", "x", like=weight._array))
    inputs, w = x._array, weight._array
    if not inputs.__class__ is w.__class__ is _ndarray:
        from dlkit.nn.conv_functional import conv1d
        from dlkit.nn.pool_functional import max_over_time

        return max_over_time(conv1d(x.transpose(1, 2), weight, bias))
    b = None if bias is None else bias._array
    out, place = kernels.conv1d_max(inputs, w, b)
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if not mode.enabled or not any(t._tracked for t in tensors):
        return make(out)

    def backward(g: Array, direct: bool) -> tuple[Array | None, ...]:
        wanted = {
            "by_x": x._tracked,
            "by_weight": weight._tracked,
            "with_bias": bias is not None and bias._tracked,
        }
        leaves = [t for t in (weight, bias) if t is not None and t._tracked]
        fresh = [t._grad is None for t in leaves]
        plain = direct and weight._tracked and all(t._node is None and not t._hooks for t in leaves)
        if not plain or any(fresh) != all(fresh):
            wanted["by_weight"] = wanted["by_weight"] or wanted["with_bias"]
            dx, dw, db = kernels.conv1d_max_backward(g, place, inputs, w, **wanted)
            dw = dw if weight._tracked else None
            return (dx, dw) if bias is None else (dx, dw, db)
        targets = [claim(t) if t._grad is None else t._grad for t in leaves]
        arrays = [t._array for t in targets]
        dx, _, _ = kernels.conv1d_max_backward(
            *(g, place, inputs, w),
            **wanted,
            out=arrays[0],
            out_bias=arrays[1] if wanted["with_bias"] else None,
            accumulate=not fresh[0],
        )
        if fresh[0]:
            for leaf, target in zip(leaves, targets, strict=True):
                settle(leaf, target)
        return (dx, None) if bias is None else (dx, None, None)

    return record("conv1d_max", out, tensors, backward, (x, weight), direct=True)
