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
    from collections.abc import Callable, Sequence

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


# By the number of dimensions.
_CONV: dict[int, Any] = {
    1: (kernels.conv1d, kernels.conv1d_backward_input, kernels.conv1d_backward_weight),
    2: (kernels.conv2d, kernels.conv2d_backward_input, kernels.conv2d_backward_weight),
}
_CONV_MAX_POOL: dict[int, Any] = {
    1: (
        kernels.conv1d_max_pool,
        kernels.conv1d_max_pool_backward_input,
        kernels.conv1d_max_pool_backward_weight,
    ),
    2: (
        kernels.conv2d_max_pool,
        kernels.conv2d_max_pool_backward_input,
        kernels.conv2d_max_pool_backward_weight,
    ),
}
_MAX_POOL: dict[int, Any] = {
    1: (max_pool1d, kernels.max_pool1d_backward),
    2: (max_pool2d, kernels.max_pool2d_backward),
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
    forward, input_gradient, weight_gradient = _CONV[dims]
    out = forward(inputs, w, b, *settings, activation=activation)
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if not mode.enabled or not any(t._tracked for t in tensors):
        return make(out[0] if single else out)
    size, kernel = inputs.shape[2:], w.shape[2:]

    def before_activation(g: Array) -> Array:
        return g if activation is None else kernels.activation_backward(g, activation, y=out)

    def by_input(g: Array) -> Array:
        return input_gradient(g, w, size, *settings)  # type: ignore[no-any-return]

    def by_weight(g: Array, **targets: Any) -> Any:
        return weight_gradient(g, inputs, kernel, *settings, **targets)

    op = operation if activation is None else f"{operation}_{activation}"
    return _recorded(op, out, single, tensors, before_activation, by_input, by_weight)


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
    pool, unpool = _MAX_POOL[dims]
    if inputs.__class__ is not _ndarray or (tracked and taps > PLACES):
        between = _conv(dims, x, weight, bias, settings, None)
        return pool(between, *window, activation=activation)  # type: ignore[no-any-return]
    forward, input_gradient, weight_gradient = _CONV_MAX_POOL[dims]
    pooled: Any = forward(inputs, w, b, *settings, window, tracked, activation=activation)
    if not tracked:
        return make(pooled[0] if single else pooled)
    out, places = pooled
    size, kernel = inputs.shape[2:], w.shape[2:]
    geometry = conv_geometry(operation, dims, kernel, settings)
    sparse_by_input, sparse_by_weight = from_places(
        dims, inputs.shape, w.shape, geometry, pool_geometry(operation, dims, *window), w.itemsize == 4
    )
    unpooled = conv_output(size, kernel, geometry)

    def with_dense(g: Array) -> tuple[Array, Array | None]:
        # The gradient, and that by the convolution's output where one of the two is not taken from places.
        parameters = any(t._tracked for t in tensors[1:])
        dense = (x._tracked and not sparse_by_input) or (parameters and not sparse_by_weight)
        return g, unpool(g, places, unpooled, *window) if dense else None

    def by_input(given: tuple[Array, Array]) -> Array:
        g, dense = given
        if sparse_by_input:
            return input_gradient(g, places, w, size, *settings, window, variant="places")  # type: ignore[no-any-return]
        return _CONV[dims][1](dense, w, size, *settings)  # type: ignore[no-any-return]

    def by_weight(given: tuple[Array, Array], **targets: Any) -> Any:
        g, dense = given
        if sparse_by_weight:
            return weight_gradient(g, places, inputs, kernel, *settings, window, variant="places", **targets)
        return _CONV[dims][2](dense, inputs, kernel, *settings, **targets)

    op = operation if activation is None else f"{operation}_{activation}"
    return _recorded(op, out, single, tensors, with_dense, by_input, by_weight)


def _recorded(
    op: str,
    out: Array,
    single: bool,
    tensors: tuple[Tensor, ...],
    prepare: Callable[[Array], Any],
    by_input: Callable[[Any], Array],
    by_weight: Callable[..., Any],
) -> Tensor:
    # The output of a batch as a tensor, made from x, weight and bias. `prepare` makes of the gradient by it what the
    # gradients by x and by weight and bias are then made from.
    x, weight, bias = (*tensors, None)[:3]
    assert x is not None
    assert weight is not None

    def backward(g: Array, direct: bool) -> tuple[Array | None, ...]:
        given = prepare(g.reshape(out.shape))
        dx = by_input(given) if x._tracked else None
        if single and dx is not None:
            dx = dx[0]
        wanted = weight._tracked, bias is not None and bias._tracked
        dw = db = None
        if any(wanted):
            dw, db = _parameter_gradients(by_weight, given, weight, bias, wanted, direct)
        return (dx, dw) if bias is None else (dx, dw, db)

    return record(op, out[0] if single else out, tensors, backward, (x, weight), direct=True)


def _parameter_gradients(
    by_weight: Callable[..., Any],
    given: Any,
    weight: Tensor,
    bias: Tensor | None,
    wanted: tuple[bool, bool],
    direct: bool,
) -> tuple[Array | None, Array | None]:
    # Both, by way of the parameters' own gradients where they are plain leaves in the same state (then None).
    parameters = [t for t, want in zip((weight, bias), wanted, strict=True) if want and t is not None]
    plain = direct and wanted[0] and all(t._node is None and not t._hooks for t in parameters)
    fresh = [t._grad is None for t in parameters]
    if not plain or any(fresh) != all(fresh):
        dw, db = by_weight(given, with_bias=wanted[1])
        return (dw if wanted[0] else None), db
    targets = [claim(t) if t._grad is None else t._grad for t in parameters]
    arrays = [t._array for t in targets]
    by_weight(
        given,
        with_bias=wanted[1],
        out=arrays[0],
        out_bias=arrays[1] if wanted[1] else None,
        accumulate=not fresh[0],
    )
    if fresh[0]:
        for parameter, target in zip(parameters, targets, strict=True):
            settle(parameter, target)
    return None, None
