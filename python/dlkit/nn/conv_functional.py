"""Convolution as functions; `functional` has them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array, make, record, shape_text
from dlkit.autograd.gradients import claim, settle
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import mixed_devices
from dlkit.kernels.conv import conv_geometry, conv_output
from dlkit.kernels.conv_pool import from_places
from dlkit.kernels.pool import PLACES, pool_geometry, several
from dlkit.nn.pool_functional import max_pool1d, max_pool2d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_ndarray = np.ndarray


def conv2d(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Tensor:
    """Convolve images with filters, in one kernel, bias and activation included.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    weight : Tensor of shape (F, C / groups, KH, KW)
    bias : Tensor of shape (F,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), "valid" or "same"
    groups : int
    activation : {"relu"}, optional

    Returns
    -------
    Tensor of shape (N, F, OH, OW) or (F, OH, OW)

    Raises
    ------
    TypeError
        If dtypes or devices differ, or dtypes are not float32 or float64; if weight or bias is no tensor.
    ValueError
        If shapes do not fit, or a setting is out of range.

    Notes
    -----
    As `dlkit.kernels.conv2d` has it.
    """
    return _conv(2, x, weight, bias, (stride, padding, dilation, groups), activation)


def conv1d(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Tensor:
    """Convolve sequences with filters: (N, C, L) or (C, L) to (N, F, OL) or (F, OL); see `conv2d`."""
    return _conv(1, x, weight, bias, (stride, padding, dilation, groups), activation)


_POOLED: dict[int, Any] = {1: kernels.conv1d_max_pool, 2: kernels.conv2d_max_pool}
_UNPOOLED: dict[int, Any] = {
    1: (
        kernels.max_pool1d_backward,
        kernels.conv1d_max_pool_backward_input,
        kernels.conv1d_max_pool_backward_weight,
    ),
    2: (
        kernels.max_pool2d_backward,
        kernels.conv2d_max_pool_backward_input,
        kernels.conv2d_max_pool_backward_weight,
    ),
}
_POOLS: dict[int, Any] = {1: max_pool1d, 2: max_pool2d}
_KERNELS = {
    1: (kernels.conv1d, kernels.conv1d_backward_input, kernels.conv1d_backward_weight),
    2: (kernels.conv2d, kernels.conv2d_backward_input, kernels.conv2d_backward_weight),
}


def conv2d_max_pool(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    activation: str | None = None,
) -> Tensor:
    """Convolve images with filters and take the largest of each window of the result, in one pass.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups
        As for `conv2d`.
    window : tuple
        kernel_size of the pooling, and, if they are not the default, stride, padding, dilation and ceil_mode, as for
        `max_pool2d`.
    activation : {"relu"}, optional
        Between the two.

    Returns
    -------
    Tensor of shape (N, F, PH, PW) or (F, PH, PW)

    Raises
    ------
    TypeError, ValueError
        As `conv2d` and `max_pool2d` do.

    Notes
    -----
    As `dlkit.kernels.conv2d_max_pool` has it, the same numbers as by `conv2d` and `max_pool2d`, which run where that
    does not: on devices, and if gradients are wanted of windows of more than 255 elements.
    """
    return _conv_max_pool(2, x, weight, bias, (stride, padding, dilation, groups), window, activation)


def conv1d_max_pool(
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    activation: str | None = None,
) -> Tensor:
    """Convolve sequences and take the largest of each window of the result; see `conv2d_max_pool`."""
    return _conv_max_pool(1, x, weight, bias, (stride, padding, dilation, groups), window, activation)


def _operands(
    operation: str, dims: int, x: Any, weight: Any, bias: Any
) -> tuple[Tensor, Array, Array, Array | None, bool]:
    # x as a tensor; the arrays of x, with N, of weight and of bias; whether x came without N.
    for name, value in (("weight", weight), ("bias", bias)):
        if not isinstance(value, TensorBase) and not (value is None and name == "bias"):
            expected = "a Tensor" if name == "weight" else "a Tensor or None"
            raise TypeError(f"{operation}: {name} is a {type(value).__name__}; expected {expected}")
    if not isinstance(x, TensorBase):
        x = make(as_array(x, operation, "x", like=weight._array))
    inputs, w = x._array, weight._array
    b = None if bias is None else bias._array
    if not inputs.__class__ is w.__class__ is _ndarray:
        mixed = mixed_devices(
            operation, [("x", inputs), ("weight", w)] + ([] if b is None else [("bias", b)])
        )
        if mixed is not None:
            raise mixed
    single = inputs.ndim == dims + 1
    if single:
        inputs = inputs[None]
    elif inputs.ndim != dims + 2:
        axes = "H, W" if dims == 2 else "L"
        raise ValueError(
            f"{operation}: x is {shape_text(inputs.shape)}; expected (N, C, {axes}) or (C, {axes})"
        )
    return x, inputs, w, b, single


def _conv(
    dims: int, x: Any, weight: Tensor, bias: Tensor | None, settings: Any, activation: str | None
) -> Tensor:
    operation = f"conv{dims}d"
    x, inputs, w, b, single = _operands(operation, dims, x, weight, bias)
    forward, by_input, by_weight = _KERNELS[dims]
    out = forward(inputs, w, b, *settings, activation=activation)
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if not mode.enabled or not any(t._tracked for t in tensors):
        return make(out[0] if single else out)

    def backward(g: Array, direct: bool) -> tuple[Array | None, ...]:
        g = g.reshape(out.shape)
        if activation is not None:
            g = kernels.activation_backward(g, activation, y=out)
        dx = None
        if x._tracked:
            dx = by_input(g, w, inputs.shape[2:], *settings)
            dx = dx[0] if single else dx
        dw = db = None
        wanted = weight._tracked, bias is not None and bias._tracked
        if any(wanted):
            dw, db = _parameter_gradients(by_weight, g, inputs, weight, bias, settings, wanted, direct)
        return (dx, dw) if bias is None else (dx, dw, db)

    op = operation if activation is None else f"{operation}_{activation}"
    return record(op, out[0] if single else out, tensors, backward, (x, weight), direct=True)


def _conv_max_pool(
    dims: int,
    x: Any,
    weight: Tensor,
    bias: Tensor | None,
    settings: Any,
    window: tuple[Any, ...],
    activation: str | None,
) -> Tensor:
    operation = f"conv{dims}d_max_pool"
    x, inputs, w, b, single = _operands(operation, dims, x, weight, bias)
    tensors = (x, weight) if bias is None else (x, weight, bias)
    tracked = mode.enabled and any(t._tracked for t in tensors)
    taps = prod(several(window[0], dims, operation, "kernel_size", 1))
    if inputs.__class__ is not _ndarray or (tracked and taps > PLACES):
        between = _conv(dims, x, weight, bias, settings, None)
        return _POOLS[dims](between, *window, activation=activation)  # type: ignore[no-any-return]
    pooled: Any = _POOLED[dims](inputs, w, b, *settings, window, tracked, activation=activation)
    if not tracked:
        return make(pooled[0] if single else pooled)
    out, places = pooled
    geometry = conv_geometry(operation, dims, w.shape[2:], settings)
    sparse = from_places(
        dims, inputs.shape, w.shape, geometry, pool_geometry(operation, dims, *window), w.itemsize == 4
    )
    size = conv_output(inputs.shape[2:], w.shape[2:], geometry)
    unpool, by_input, by_weight = _UNPOOLED[dims]

    def backward(g: Array, direct: bool) -> tuple[Array | None, ...]:
        g = g.reshape(out.shape)
        wanted = weight._tracked, bias is not None and bias._tracked
        between = None
        if (x._tracked and not sparse[0]) or (any(wanted) and not sparse[1]):
            between = unpool(g, places, size, *window)
        dx = None
        if x._tracked:
            if sparse[0]:
                dx = by_input(g, places, w, inputs.shape[2:], *settings, window, variant="places")
            else:
                dx = _KERNELS[dims][1](between, w, inputs.shape[2:], *settings)
            dx = dx[0] if single else dx
        dw = db = None
        if any(wanted):

            def from_sparse(g: Array, *args: Any, **more: Any) -> Any:
                return by_weight(g, places, *args, window, variant="places", **more)

            function: Any = from_sparse if sparse[1] else _KERNELS[dims][2]
            given: Any = g if sparse[1] else between
            dw, db = _parameter_gradients(function, given, inputs, weight, bias, settings, wanted, direct)
        return (dx, dw) if bias is None else (dx, dw, db)

    op = operation if activation is None else f"{operation}_{activation}"
    return record(op, out[0] if single else out, tensors, backward, (x, weight), direct=True)


def _parameter_gradients(
    by_weight: Any,
    g: Array,
    inputs: Array,
    weight: Tensor,
    bias: Tensor | None,
    settings: Any,
    wanted: tuple[bool, bool],
    direct: bool,
) -> tuple[Array | None, Array | None]:
    # Both, by way of the parameters' own gradients where they are plain leaves in the same state (then None).
    size = weight._array.shape[2:]
    parameters = [t for t, want in zip((weight, bias), wanted, strict=True) if want and t is not None]
    plain = direct and wanted[0] and all(t._node is None and not t._hooks for t in parameters)
    fresh = [t._grad is None for t in parameters]
    if not plain or any(fresh) != all(fresh):
        dw, db = by_weight(g, inputs, size, *settings, with_bias=wanted[1])
        return (dw if wanted[0] else None), db
    targets = [claim(t) if t._grad is None else t._grad for t in parameters]
    arrays = [t._array for t in targets]
    by_weight(
        *(g, inputs, size, *settings),
        with_bias=wanted[1],
        out=arrays[0],
        out_bias=arrays[1] if wanted[1] else None,
        accumulate=not fresh[0],
    )
    if fresh[0]:
        for parameter, target in zip(parameters, targets, strict=True):
            settle(parameter, target)
    return None, None
