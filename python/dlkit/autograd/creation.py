"""New tensors: from data, constant, evenly spaced, random."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import as_array, shape_text
from dlkit.autograd.tensor import Tensor, _dtype
from dlkit.kernels.backend import move, resolve_device


def tensor(
    data: Any,
    dtype: Any = None,
    requires_grad: bool = False,
    name: str | None = None,
    *,
    device: str | None = None,
) -> Tensor:
    """Return a tensor with a copy of `data`: an array, number, nested list or Tensor.

    Python floats become float32, integers int64; arrays keep their dtype and their device, unless others are given.
    """
    if dtype is not None:
        dtype = _dtype(dtype, "tensor")
    if device is None:
        return Tensor(as_array(data, "tensor", "data", copy=True, dtype=dtype), requires_grad, dtype, name)
    there = resolve_device(device, "tensor")
    array = as_array(data, "tensor", "data", dtype=dtype)
    if dtype is not None:
        array = array.astype(dtype, copy=False)
    moved = move(array, there)
    return Tensor(moved.copy() if moved is array else moved, requires_grad, None, name)


def _placed(array: Any, requires_grad: bool, device: str | None, operation: str) -> Tensor:
    # Made on the host whatever the device: the same seed gives the same numbers everywhere.
    return Tensor(array if device is None else move(array, resolve_device(device, operation)), requires_grad)


def _shape(size: tuple[Any, ...] | list[Any], operation: str) -> tuple[int, ...]:
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    try:
        shape = tuple(int(n.__index__()) for n in size)
    except AttributeError:
        raise TypeError(f"{operation}: size is {size}; expected integers") from None
    if any(n < 0 for n in shape):
        raise ValueError(f"{operation}: size is {shape}; expected no negative size")
    return shape


def zeros(
    *size: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Return a tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return _placed(np.zeros(_shape(size, "zeros"), _dtype(dtype, "zeros")), requires_grad, device, "zeros")


def ones(
    *size: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Return a tensor of ones: ``ones(2, 3)`` or ``ones((2, 3))``."""
    return _placed(np.ones(_shape(size, "ones"), _dtype(dtype, "ones")), requires_grad, device, "ones")


def full(
    size: Any,
    fill_value: float,
    dtype: Any = None,
    requires_grad: bool = False,
    *,
    device: str | None = None,
) -> Tensor:
    """Return a tensor of the shape `size` with every element `fill_value`."""
    shape = _shape(size if isinstance(size, (tuple, list)) else (size,), "full")
    if dtype is not None:
        dtype = _dtype(dtype, "full")
    value = as_array(fill_value, "full", "fill_value", dtype=dtype)
    if value.size != 1:
        raise ValueError(f"full: fill_value is {shape_text(value.shape)}; expected a single number")
    filled = np.full(shape, value.reshape(()), value.dtype if dtype is None else dtype)
    return _placed(filled, requires_grad, device, "full")


def zeros_like(other: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return zeros of another tensor's shape, device and, by default, dtype."""
    return zeros(
        other.shape,
        dtype=other.dtype if dtype is None else dtype,
        requires_grad=requires_grad,
        device=other.device,
    )


def ones_like(other: Tensor, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones of another tensor's shape, device and, by default, dtype."""
    return ones(
        other.shape,
        dtype=other.dtype if dtype is None else dtype,
        requires_grad=requires_grad,
        device=other.device,
    )


def eye(
    n: int,
    m: int | None = None,
    dtype: Any = np.float32,
    requires_grad: bool = False,
    *,
    device: str | None = None,
) -> Tensor:
    """Return the n by m matrix (by default n by n) with ones on the diagonal."""
    _shape((n,) if m is None else (n, m), "eye")
    return _placed(np.eye(n, m, dtype=_dtype(dtype, "eye")), requires_grad, device, "eye")


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    dtype: Any = None,
    requires_grad: bool = False,
    *,
    device: str | None = None,
) -> Tensor:
    """Return start, start + step, … below `end`; from 0 where one bound is given.

    Integers give int64, floats float32.
    """
    for bound in (start, step, 0 if end is None else end):
        if not isinstance(bound, (int, float, np.integer, np.floating, Tensor)):
            raise TypeError(f"arange: start, end and step are {start!r}, {end!r}, {step!r}; expected numbers")
    if step == 0:
        raise ValueError("arange: step is 0; expected another number")
    if end is None:
        start, end = 0, start
    values = np.arange(start, end, step)
    if dtype is None:
        dtype = np.float32 if values.dtype.kind == "f" else np.int64
    return _placed(values.astype(_dtype(dtype, "arange"), copy=False), requires_grad, device, "arange")


def linspace(
    start: float,
    end: float,
    steps: int,
    dtype: Any = np.float32,
    requires_grad: bool = False,
    *,
    device: str | None = None,
) -> Tensor:
    """Return `steps` numbers from `start` to `end`, both included, evenly spaced."""
    if not hasattr(steps, "__index__"):
        raise TypeError(f"linspace: steps is {steps!r}; expected an integer")
    if steps < 0:
        raise ValueError(f"linspace: steps is {steps}; expected 0 or more")
    values = np.linspace(start, end, steps, dtype=_dtype(dtype, "linspace"))
    return _placed(values, requires_grad, device, "linspace")


def randn(
    *size: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Return numbers of the standard normal distribution, from the generator of `dlkit.manual_seed`."""
    kind: Any = _random_dtype(dtype, "randn")
    values = np.asarray(kernels.random.generator().standard_normal(_shape(size, "randn"), kind))
    return _placed(values, requires_grad, device, "randn")


def rand(
    *size: Any, dtype: Any = np.float32, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """Return numbers evenly distributed over [0, 1), from the generator of `dlkit.manual_seed`."""
    kind: Any = _random_dtype(dtype, "rand")
    values = np.asarray(kernels.random.generator().random(_shape(size, "rand"), kind))
    return _placed(values, requires_grad, device, "rand")


def _random_dtype(dtype: Any, operation: str) -> np.dtype[Any]:
    kind = _dtype(dtype, operation)
    if kind not in (np.float32, np.float64):
        raise TypeError(f"{operation}: dtype is {kind}; expected float32 or float64")
    return kind
