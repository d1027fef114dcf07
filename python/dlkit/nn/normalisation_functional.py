"""Layer and batch normalisation as functions; `functional` has them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array, make, mark_changed, record, shape_text
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import mixed_devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_ndarray = np.ndarray
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def sizes(normalized_shape: Any, operation: str) -> tuple[int, ...]:
    """Return `normalized_shape` as a tuple of integers of at least 1.

    Raises
    ------
    TypeError, ValueError
        If it is neither an integer nor several.
    """
    if hasattr(normalized_shape, "__index__") and not isinstance(normalized_shape, bool):
        shape: tuple[Any, ...] = (normalized_shape,)
    else:
        try:
            shape = tuple(normalized_shape)
        except TypeError:
            shape = (None,)
    if not all(hasattr(size, "__index__") and not isinstance(size, bool) for size in shape):
        raise TypeError(
            f"{operation}: normalized_shape is {normalized_shape!r}; expected an integer or several"
        )
    found = tuple(int(size.__index__()) for size in shape)
    if not found or min(found) < 1:
        raise ValueError(
            f"{operation}: normalized_shape is {shape_text(found)}; expected at least one size, each at least 1"
        )
    return found


def layer_norm(
    x: Any,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) weight + bias, over the last dimensions (Ba, Kiros & Hinton, 2016).

    Parameters
    ----------
    x : Tensor of shape (*, *normalized_shape)
    normalized_shape : int or sequence of int
        The sizes of the dimensions that mean and variance are taken over.
    weight, bias : Tensor of shape normalized_shape, optional
    eps : float

    Returns
    -------
    Tensor of the shape of x

    Raises
    ------
    TypeError
        If dtypes or devices differ, or dtypes are not float32 or float64.
    ValueError
        If shapes do not fit.
    """
    operation = "layer_norm"
    shape = sizes(normalized_shape, operation)
    tensor = _tensor(x, operation, weight)
    array = tensor._array
    if array.shape[max(array.ndim - len(shape), 0) :] != shape:
        raise ValueError(
            f"{operation}: x is {shape_text(array.shape)}; expected (..., {', '.join(map(str, shape))})"
        )
    _check(weight, "weight", shape, tensor, operation)
    _check(bias, "bias", shape, tensor, operation)
    rows = (prod(array.shape[: array.ndim - len(shape)]), prod(shape))  # not -1: sizes may be 0
    matrix = array.reshape(rows)
    w = None if weight is None else weight._array.reshape(-1)
    b = None if bias is None else bias._array.reshape(-1)
    out, mean, rstd = kernels.layer_norm(matrix, w, b, eps)
    out = out.reshape(array.shape)
    inputs = tuple(t for t in (tensor, weight, bias) if t is not None)
    if not mode.enabled or not any(t._tracked for t in inputs):
        return make(out)

    def backward(g: Array) -> tuple[Array | None, ...]:
        by_x, by_weight, by_bias = kernels.layer_norm_backward(
            g.reshape(rows),
            matrix,
            mean,
            rstd,
            w,
            need_weight=weight is not None and weight._tracked,
            need_bias=bias is not None and bias._tracked,
        )
        by_parameter = (
            None if gradient is None else gradient.reshape(shape) for gradient in (by_weight, by_bias)
        )
        return _given(by_x.reshape(g.shape), *zip((weight, bias), by_parameter, strict=True))

    return record(operation, out, inputs, backward, tuple(t for t in (tensor, weight) if t is not None))


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) weight + bias, for each channel (Ioffe & Szegedy, 2015).

    Parameters
    ----------
    x : Tensor of shape (N, C) or (N, C, ...)
    running_mean, running_var : Tensor of shape (C,), or None
        In training they move towards the batch's statistics, in place; else they are what is used.
    weight, bias : Tensor of shape (C,), optional
    training : bool
        Whether to use the statistics of the batch: over all samples and places, the population's variance.
    momentum : float
        ``running = (1 - momentum) running + momentum batch``, with the unbiased variance of the batch.
    eps : float

    Returns
    -------
    Tensor of the shape of x

    Raises
    ------
    TypeError
        If dtypes or devices differ, or dtypes are not float32 or float64.
    ValueError
        If shapes do not fit; in training, if there is one value for each channel; otherwise, if running statistics
        are missing.
    """
    operation = "batch_norm"
    tensor = _tensor(x, operation, weight)
    array = tensor._array
    if array.ndim < 2:
        raise ValueError(f"{operation}: x is {shape_text(array.shape)}; expected (N, C) or (N, C, ...)")
    channels = array.shape[1:2]
    for name, given in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        _check(given, name, channels, tensor, operation)
    inputs = tuple(t for t in (tensor, weight, bias) if t is not None)
    recorded = mode.enabled and any(t._tracked for t in inputs)
    w = None if weight is None else weight._array
    b = None if bias is None else bias._array
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(
                f"{operation}: running_mean or running_var is None; they are needed unless training=True"
            )
        out = kernels.batch_norm_apply(array, running_mean._array, running_var._array, w, b, eps)
        if not recorded:
            return make(out)
        # Copies: the running statistics may move on before the backward pass.
        return _record_apply(
            tensor, weight, bias, out, running_mean._array.copy(), running_var._array.copy(), eps
        )
    count = array.shape[0] * prod(array.shape[2:])
    if count == 1:
        raise ValueError(
            f"{operation}: x is {shape_text(array.shape)}, one value for each channel; "
            "expected more than one in training"
        )
    out, mean, rstd = kernels.batch_norm(array, w, b, eps)
    if count:
        _move(running_mean, mean, momentum)
        if running_var is not None:
            # In float64, as rstd^-2 - eps is the difference of two numbers that may be close.
            spread = np.maximum(rstd.astype(np.float64) ** -2 - eps, 0)
            _move(running_var, spread * (count / (count - 1)), momentum)
    if not recorded:
        return make(out)

    def backward(g: Array) -> tuple[Array | None, ...]:
        by_x, by_weight, by_bias = kernels.batch_norm_backward(
            g,
            array,
            mean,
            rstd,
            w,
            need_weight=weight is not None and weight._tracked,
            need_bias=bias is not None and bias._tracked,
        )
        return _given(by_x, (weight, by_weight), (bias, by_bias))

    return record(operation, out, inputs, backward, tuple(t for t in (tensor, weight) if t is not None))


def _record_apply(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, out: Array, mean: Array, var: Array, eps: float
) -> Tensor:
    array = x._array
    w = None if weight is None else weight._array

    def backward(g: Array) -> tuple[Array | None, ...]:
        by_x = kernels.batch_norm_apply(g, np.zeros_like(mean), var, w, None, eps)
        by_weight = by_bias = None
        if (weight is not None and weight._tracked) or (bias is not None and bias._tracked):
            # Sums of g (x - mean) rstd and of g: the same for any mean and rstd.
            rstd = (1 / np.sqrt(var.astype(np.float64) + eps)).astype(var.dtype)
            _, by_weight, by_bias = kernels.batch_norm_backward(g, array, mean, rstd)
        return _given(by_x, (weight, by_weight), (bias, by_bias))

    inputs = tuple(t for t in (x, weight, bias) if t is not None)
    return record("batch_norm", out, inputs, backward, tuple(t for t in (x, weight) if t is not None))


def _move(running: Tensor | None, batch: Array, momentum: float) -> None:
    if running is not None:
        running._array[...] = (1 - momentum) * running._array + momentum * batch
        mark_changed(running)


def _given(by_x: Array, *pairs: tuple[Tensor | None, Array | None]) -> tuple[Array | None, ...]:
    # The gradients of the inputs that there are, in order.
    return (by_x, *(gradient for tensor, gradient in pairs if tensor is not None))


def _tensor(value: Any, operation: str, weight: Any) -> Tensor:
    if isinstance(value, TensorBase):
        tensor: Tensor = value  # type: ignore[assignment]
    else:
        tensor = make(as_array(value, operation, "x", like=getattr(weight, "_array", None)))
    if tensor._array.dtype not in _FLOATS:
        raise TypeError(f"{operation}: x is of dtype {tensor._array.dtype}; expected float32 or float64")
    return tensor


def _check(value: Any, argument: str, shape: tuple[int, ...], x: Tensor, operation: str) -> None:
    if value is None:
        return
    if not isinstance(value, TensorBase):
        raise TypeError(f"{operation}: {argument} is a {type(value).__name__}; expected a Tensor or None")
    array = value._array
    if not array.__class__ is x._array.__class__ is _ndarray:
        mixed = mixed_devices(operation, [("x", x._array), (argument, array)])
        if mixed is not None:
            raise mixed
    if array.dtype != x._array.dtype:
        raise TypeError(
            f"{operation}: x is of dtype {x._array.dtype} but {argument} of {array.dtype}; expected one dtype"
        )
    if array.shape != shape:
        raise ValueError(
            f"{operation}: {argument} is {shape_text(array.shape)} but x is {shape_text(x._array.shape)}; "
            f"expected {shape_text(shape)}"
        )
