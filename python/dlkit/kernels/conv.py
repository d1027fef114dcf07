"""Convolution and its gradients: the chapter csrc/conv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array
from dlkit.kernels.integers import integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "ConvGeometry",
    "conv1d",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv_geometry",
    "conv_output",
    "gradient_by_input",
    "gradient_by_weight",
    "kernel_extents",
]

devices: Any = OnDemand("dlkit.kernels.device_conv")

_ndarray = np.ndarray
_conv = _cpu.conv
_backward_input = _cpu.conv_backward_input
_backward_weight = _cpu.conv_backward_weight


class ConvGeometry(NamedTuple):
    """Where a kernel goes, as the bindings take it; in one dimension the heights are 1, 0, 0 and 1."""

    stride_h: int
    stride_w: int
    top: int
    bottom: int
    left: int
    right: int
    dilation_h: int
    dilation_w: int
    groups: int


def conv_geometry(
    operation: str, dims: int, kernel: Sequence[int], settings: tuple[Any, Any, Any, Any]
) -> ConvGeometry:
    """Return the settings of a convolution in one form.

    Parameters
    ----------
    operation : str
        What to call it in errors.
    dims : int
        1 or 2.
    kernel : sequence of dims int
        The size of the kernel, for ``padding="same"``.
    settings : (stride, padding, dilation, groups)
        Stride and dilation: int or sequence of dims int. Padding alike, or "valid" or "same": "same" makes an output
        as large as the input, with a stride of 1; an odd total has the larger half at the end. Groups: int.

    Raises
    ------
    TypeError, ValueError
        If something is no integer, or there are not as many as dimensions, or a text is unknown.
    """
    stride, padding, dilation, groups = settings
    strides, dilations = (
        integers(value, dims, operation, name) for value, name in ((stride, "stride"), (dilation, "dilation"))
    )
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ValueError(f"{operation}: padding is {padding!r}; expected numbers, 'valid' or 'same'")
        if padding == "same" and any(step != 1 for step in strides):
            raise ValueError(
                f"{operation}: padding is 'same' and stride is {stride!r}; expected a stride of 1 with it"
            )
        totals = (
            [0] * dims
            if padding == "valid"
            else [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        )
        before, after = [total // 2 for total in totals], [total - total // 2 for total in totals]
    else:
        before = after = integers(padding, dims, operation, "padding")
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise TypeError(f"{operation}: groups is a {type(groups).__name__}; expected an integer")
    if dims == 1:
        strides, dilations, before, after = [1, *strides], [1, *dilations], [0, *before], [0, *after]
    return ConvGeometry(
        *(strides[0], strides[1], before[0], after[0], before[1], after[1]),
        *(dilations[0], dilations[1], int(groups.__index__())),
    )


def conv2d(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    out: Array | None = None,
    variant: str | None = None,
) -> Array:
    """Convolve images with filters: ``y[n, f] = bias[f] + sum_c weight[f, c] * x[n, c]``, kernels not flipped.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
    weight : array of shape (F, C / groups, KH, KW)
    bias : array of shape (F,), optional
    stride, dilation : int or (int, int)
        Steps between places of the kernel, and between its elements; vertical first.
    padding : int, (int, int), "valid" or "same"
        Zeros around the images. "same": as many as make the output as large as the input (stride 1).
    groups : int
        The channels in so many groups, each read by as many of the filters; ``groups=C`` is a depthwise convolution.
    activation : {"relu"}, optional
        Applied to the sum, in the same pass.
    out : array of shape (N, F, OH, OW), optional
        Must not overlap the operands.
    variant : str, optional
        A step of the ladder, one of ``variants("conv2d")``. The default is the fastest for the shape.

    Returns
    -------
    array of shape (N, F, OH, OW)
        ``OH = (H + padding above and below - dilation (KH - 1) - 1) // stride + 1``, and OW alike.
        2 N F OH OW C / groups KH KW floating-point operations.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, dtypes differ, or a setting is no integer.
    ValueError
        If shapes do not fit, the kernel is larger than the padded image, groups do not divide channels and filters, a
        stride or dilation is below 1, or a name is unknown.

    Notes
    -----
    LeCun et al., "Gradient-based learning applied to document recognition", 1998. Variants: csrc/conv/variants.cpp.
    """
    return _forward(2, x, weight, bias, (stride, padding, dilation, groups), activation, out, variant)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    out: Array | None = None,
    variant: str | None = None,
) -> Array:
    """Convolve sequences with filters; all as for `conv2d`, with one dimension less.

    Parameters
    ----------
    x : array of shape (N, C, L), float32 or float64
    weight : array of shape (F, C / groups, K)
    bias : array of shape (F,), optional
    stride, dilation : int
    padding : int, "valid" or "same"
    groups : int
    activation : {"relu"}, optional
    out : array of shape (N, F, OL), optional
    variant : str, optional

    Returns
    -------
    array of shape (N, F, OL)
    """
    return _forward(1, x, weight, bias, (stride, padding, dilation, groups), activation, out, variant)


def conv2d_backward_input(
    grad: Any,
    weight: Any,
    input_size: Sequence[int],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Array:
    """Return the gradient of `conv2d` by x.

    Parameters
    ----------
    grad : array of shape (N, F, OH, OW), float32 or float64
        The gradient by the output.
    weight : array of shape (F, C / groups, KH, KW)
    input_size : (int, int)
        H and W of x; several give one output size where the stride is not 1.
    stride, padding, dilation, groups
        As for `conv2d`.
    out : array of shape (N, C, H, W), optional
    variant : str, optional
        One of ``variants("conv2d_backward_input")``.

    Returns
    -------
    array of shape (N, C, H, W)
    """
    settings = (stride, padding, dilation, groups)
    return gradient_by_input(2, grad, weight, input_size, settings, out, variant)


def conv1d_backward_input(
    grad: Any,
    weight: Any,
    input_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Array:
    """Return the gradient of `conv1d` by x, (N, C, L) with L = `input_size`; see `conv2d_backward_input`."""
    settings = (stride, padding, dilation, groups)
    return gradient_by_input(1, grad, weight, input_size, settings, out, variant)


def conv2d_backward_weight(
    grad: Any,
    x: Any,
    kernel_size: Sequence[int],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    with_bias: bool = True,
    out: Array | None = None,
    out_bias: Array | None = None,
    accumulate: bool = False,
    variant: str | None = None,
) -> tuple[Array, Array | None]:
    """Return the gradients of `conv2d` by weight and bias.

    Parameters
    ----------
    grad : array of shape (N, F, OH, OW), float32 or float64
        The gradient by the output.
    x : array of shape (N, C, H, W)
    kernel_size : (int, int)
        KH and KW.
    stride, padding, dilation, groups
        As for `conv2d`.
    with_bias : bool
        Whether to return the gradient by the bias: sums of `grad` over images and places.
    out : array of shape (F, C / groups, KH, KW), optional
    out_bias : array of shape (F,), optional
    accumulate : bool
        Add to what `out` and `out_bias` hold. Needs both.
    variant : str, optional
        One of ``variants("conv2d_backward_weight")``.

    Returns
    -------
    dweight : array of shape (F, C / groups, KH, KW)
    dbias : array of shape (F,) or None
    """
    settings, outs = (stride, padding, dilation, groups), (out, out_bias, accumulate)
    return gradient_by_weight(2, grad, x, kernel_size, settings, with_bias, outs, variant)


def conv1d_backward_weight(
    grad: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    with_bias: bool = True,
    out: Array | None = None,
    out_bias: Array | None = None,
    accumulate: bool = False,
    variant: str | None = None,
) -> tuple[Array, Array | None]:
    """Return the gradients of `conv1d` by weight (F, C / groups, K) and bias; see `conv2d_backward_weight`."""
    settings, outs = (stride, padding, dilation, groups), (out, out_bias, accumulate)
    return gradient_by_weight(1, grad, x, kernel_size, settings, with_bias, outs, variant)


def _forward(
    dims: int, x: Any, weight: Any, bias: Any, settings: Any, activation: Any, out: Any, variant: Any
) -> Array:
    operation = f"conv{dims}d"
    if activation not in (None, "relu"):
        raise ValueError(f"{operation}: activation is {activation!r}; expected None or 'relu'")
    if type(x) is not _ndarray or type(weight) is not _ndarray:
        if is_device_array(x) or is_device_array(weight):
            y: Array = devices.conv(dims, x, weight, bias, settings, activation, out, variant)
            return y
        x, weight = as_array(x, operation, "x"), as_array(weight, operation, "weight")
    if bias is not None and type(bias) is not _ndarray:
        bias = as_array(bias, operation, "bias")
    geometry = conv_geometry(operation, dims, kernel_extents(weight, dims), settings)
    return _conv(dims, x, weight, bias, geometry, activation == "relu", out, variant)


def conv_output(size: Sequence[int], kernel: Sequence[int], geometry: ConvGeometry) -> tuple[int, ...]:
    """Return the extents of a convolution's output, of as many dimensions as `size` has."""
    g = geometry
    axes = (
        (g.top + g.bottom, g.stride_h, g.dilation_h),
        (g.left + g.right, g.stride_w, g.dilation_w),
    )
    return tuple(
        (extent + pad - dilation * (taps - 1) - 1) // stride + 1
        for extent, taps, (pad, stride, dilation) in zip(size, kernel, axes[-len(size) :], strict=True)
    )


def gradient_by_input(
    dims: int, grad: Any, weight: Any, input_size: Any, settings: Any, out: Any, variant: Any
) -> Array:
    """Return what `conv2d_backward_input` or `conv1d_backward_input` does, for so many dimensions."""
    operation = f"conv{dims}d_backward_input"
    if type(grad) is not _ndarray or type(weight) is not _ndarray:
        if is_device_array(grad) or is_device_array(weight):
            dx: Array = devices.conv_backward_input(dims, grad, weight, input_size, settings, out, variant)
            return dx
        grad, weight = as_array(grad, operation, "grad"), as_array(weight, operation, "weight")
    geometry = conv_geometry(operation, dims, kernel_extents(weight, dims), settings)
    height, width = ([1] * dims + integers(input_size, dims, operation, "input_size"))[-2:]
    return _backward_input(dims, grad, weight, height, width, geometry, out, variant)


def gradient_by_weight(
    dims: int, grad: Any, x: Any, kernel: Any, settings: Any, with_bias: bool, outs: Any, variant: Any
) -> tuple[Array, Array | None]:
    """Return what `conv2d_backward_weight` or `conv1d_backward_weight` does, for so many dimensions."""
    operation = f"conv{dims}d_backward_weight"
    if type(grad) is not _ndarray or type(x) is not _ndarray:
        if is_device_array(grad) or is_device_array(x):
            gradients: tuple[Array, Array | None] = devices.conv_backward_weight(
                dims, grad, x, kernel, settings, with_bias, outs, variant
            )
            return gradients
        grad, x = as_array(grad, operation, "grad"), as_array(x, operation, "x")
    sizes = integers(kernel, dims, operation, "kernel_size")
    geometry = conv_geometry(operation, dims, sizes, settings)
    kernel_h, kernel_w = ([1] * dims + sizes)[-2:]
    out, out_bias, accumulate = outs
    return _backward_weight(
        *(dims, grad, x, kernel_h, kernel_w, bool(with_bias), geometry),
        *(out, out_bias, bool(accumulate), variant),
    )


def kernel_extents(weight: Array, dims: int) -> Sequence[int]:
    """Return the extents of a weight's kernel.

    Of a weight of another number of dimensions, which the binding refuses, something of the right length.
    """
    return weight.shape[2:] if weight.ndim == dims + 2 else (1,) * dims


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the ladders of this chapter: for each operation name, idea and needs of its variants."""
    tables = _cpu.conv_variants()
    return {
        f"conv{dims}d{operation.removeprefix('conv')}": rows
        for dims in (2, 1)
        for operation, rows in tables.items()
    }
