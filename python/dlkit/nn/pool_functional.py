"""Pooling as functions; `functional` has them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array, make, record, require_float, shape_text
from dlkit.autograd.mode import mode
from dlkit.kernels.pool import PLACES, several

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_ndarray = np.ndarray

_MAX = {
    1: (kernels.max_pool1d, kernels.max_pool1d_backward),
    2: (kernels.max_pool2d, kernels.max_pool2d_backward),
}


def max_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    activation: str | None = None,
) -> Any:
    """Return the largest element of each window that steps over images.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, dilation : int or (int, int)
        Stride None: the window's own size. Padding: at most half the window; there is nothing in it.
    ceil_mode : bool
        Let a last window go past the end of the image.
    return_indices : bool
        Return the elements' numbers in their image, too, as int64. Without it a byte for each is kept for backward.
    activation : {"relu"}, optional
        Applied to the result, in the same kernel: the same as before pooling.

    Returns
    -------
    Tensor of shape (N, C, OH, OW) or (C, OH, OW), or a pair of it and its indices

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, or a setting is out of range.

    Notes
    -----
    As `dlkit.kernels.max_pool2d` has it. A gradient goes to the first of equal elements.
    """
    return _max_pool(2, x, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, activation)


def max_pool1d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    activation: str | None = None,
) -> Any:
    """Return the largest element of each window that steps over sequences (N, C, L) or (C, L); see `max_pool2d`."""
    return _max_pool(1, x, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, activation)


def _batched(x: Any, operation: str, dims: int) -> tuple[Tensor, Array, bool]:
    # The tensor, its array as (N, C, ...), and whether it came without N.
    tensor = x if isinstance(x, TensorBase) else make(as_array(x, operation, "x"))
    array = require_float(tensor, operation)
    if array.ndim == dims + 2:
        return tensor, array, False
    if array.ndim != dims + 1:
        axes = "H, W" if dims == 2 else "L"
        raise ValueError(
            f"{operation}: x is {shape_text(array.shape)}; expected (N, C, {axes}) or (C, {axes})"
        )
    return tensor, array[None], True


def _recorded(
    operation: str, x: Tensor, y: Array, single: bool, by_x: Callable[[Array], Array], *, saved: bool = False
) -> Tensor:
    # The output as a tensor. by_x(g): the gradient by the batch, given that by the batch of outputs.
    out = y[0] if single else y
    if not mode.enabled or not x._tracked:
        return make(out)

    def backward(g: Array) -> tuple[Array]:
        return (by_x(g.reshape(y.shape)).reshape(x._array.shape),)

    return record(operation, out, (x,), backward, (x,) if saved else None)


def _max_pool(dims: int, x: Any, settings: Any, return_indices: bool, activation: str | None) -> Any:
    operation = f"max_pool{dims}d"
    tensor, array, single = _batched(x, operation, dims)
    forward, back = _MAX[dims]
    tracked = mode.enabled and tensor._tracked
    small = (
        array.__class__ is _ndarray
        and prod(several(settings[0], dims, operation, "kernel_size", 1)) <= PLACES
    )
    keep: Any = bool(return_indices) or (tracked and ("places" if small else True))
    result = forward(array, *settings, keep, activation=activation)
    y, indices = result if keep else (result, None)
    size = array.shape[2:]
    out = _recorded(operation, tensor, y, single, lambda g: back(g, indices, size, *settings))
    if not return_indices:
        return out
    return out, make(indices[0] if single else indices)
