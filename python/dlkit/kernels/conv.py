"""Convolution and its gradients: the chapter csrc/conv."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array
from dlkit.kernels.pool import (
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    pool_geometry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "ConvGeometry",
    "conv1d",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv1d_max_pool",
    "conv1d_max_pool_backward_input",
    "conv1d_max_pool_backward_weight",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_max_pool",
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv_geometry",
    "conv_output",
    "from_places",
]

devices: Any = OnDemand("dlkit.kernels.device_conv")

_ndarray = np.ndarray
_conv = _cpu.conv
_max_pool = _cpu.conv_max_pool
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
        _several(value, dims, operation, name) for value, name in ((stride, "stride"), (dilation, "dilation"))
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
        before = after = _several(padding, dims, operation, "padding")
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise TypeError(f"{operation}: groups is a {type(groups).__name__}; expected an integer")
    if dims == 1:
        strides, dilations, before, after = [1, *strides], [1, *dilations], [0, *before], [0, *after]
    return ConvGeometry(
        *(strides[0], strides[1], before[0], after[0], before[1], after[1]),
        *(dilations[0], dilations[1], int(groups.__index__())),
    )


def _several(value: Any, dims: int, operation: str, argument: str) -> list[int]:
    if type(value) is int:
        return [value] * dims
    items = [value] * dims if hasattr(value, "__index__") else value
    try:
        items = list(items)
    except TypeError:
        items = [None]
    if len(items) != dims or not all(hasattr(i, "__index__") and not isinstance(i, bool) for i in items):
        expected = "an integer" if dims == 1 else f"an integer or {dims} of them"
        raise TypeError(f"{operation}: {argument} is {value!r}; expected {expected}")
    return [int(i.__index__()) for i in items]


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
    result: Array = _forward(
        2, x, weight, bias, (stride, padding, dilation, groups), activation, out, variant
    )
    return result


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
    result: Array = _forward(
        1, x, weight, bias, (stride, padding, dilation, groups), activation, out, variant
    )
    return result


def conv2d_max_pool(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    return_places: bool = False,
    *,
    activation: str | None = None,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Convolve images with filters and pool the result, in one pass that does not keep what is between.

    The convolution's output is computed a block of images at a time, and pooled while it is in the cache. The result
    has the same bits as ``max_pool2d(conv2d(...))``.

    Parameters
    ----------
    x, weight, bias, stride, padding, dilation, groups
        As for `conv2d`.
    window : tuple
        The pooling's kernel_size, and, if they are not the default, stride, padding, dilation and ceil_mode, as for
        `max_pool2d`.
    return_places : bool
        Return, too, where the maxima are, as uint8 numbers in their windows, for `max_pool2d_backward`.
    activation : {"relu"}, optional
        Applied to the result: the same as between the two. Results that are 0 by it have no place.
    out : array of shape (N, F, PH, PW), optional
        Must not overlap the operands.
    variant : str, optional
        Of the convolution, one of ``variants("conv2d")``.

    Returns
    -------
    y : array of shape (N, F, PH, PW)
    places : array of shape (N, F, PH, PW), uint8
        If asked for.

    Raises
    ------
    TypeError, ValueError
        As `conv2d` and `max_pool2d` do; if places are asked for of a window of more than 255 elements.

    Notes
    -----
    Scratch memory of a thread: 384 KB, or the convolution's output of one image if that is larger, up to 8 MB or one
    plane of it. Source: csrc/conv/conv_pool.cpp. On devices the two run one after the other.
    """
    settings = (stride, padding, dilation, groups)
    return _forward_and_pool(2, x, weight, bias, settings, window, return_places, activation, out, variant)


def conv1d_max_pool(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    return_places: bool = False,
    *,
    activation: str | None = None,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Convolve sequences and pool the result in one pass: (N, C, L) to (N, F, PL); see `conv2d_max_pool`."""
    settings = (stride, padding, dilation, groups)
    return _forward_and_pool(1, x, weight, bias, settings, window, return_places, activation, out, variant)


def conv2d_max_pool_backward_input(
    grad: Any,
    places: Any,
    weight: Any,
    input_size: Sequence[int],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Array:
    """Return the gradient of `conv2d_max_pool` by x.

    Parameters
    ----------
    grad : array of shape (N, F, PH, PW), float32 or float64
        The gradient by the output.
    places : array of shape (N, F, PH, PW), uint8
        What `conv2d_max_pool` returned; 255 is nowhere.
    weight, input_size, stride, padding, dilation, groups
        As for `conv2d_backward_input`.
    window : tuple
        As for `conv2d_max_pool`.
    out : array of shape (N, C, H, W), optional
    variant : {"places", "dense"}, optional
        "places" multiplies only at the places of the maxima: of windows of 2×2 a quarter of the operations. It needs
        one group, a horizontal dilation of 1, and images that stay in the cache. "dense" forms the gradient by the
        convolution's output, and is for any, and for devices. The default is what takes fewer cycles, by estimate.

    Returns
    -------
    array of shape (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit, or a setting is out of range.
    """
    settings = (stride, padding, dilation, groups)
    return _pooled_by_input(2, grad, places, weight, input_size, settings, window, out, variant)


def conv1d_max_pool_backward_input(
    grad: Any,
    places: Any,
    weight: Any,
    input_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Array:
    """Return the gradient of `conv1d_max_pool` by x; see `conv2d_max_pool_backward_input`."""
    settings = (stride, padding, dilation, groups)
    return _pooled_by_input(1, grad, places, weight, input_size, settings, window, out, variant)


def conv2d_max_pool_backward_weight(
    grad: Any,
    places: Any,
    x: Any,
    kernel_size: Sequence[int],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    *,
    with_bias: bool = True,
    out: Array | None = None,
    out_bias: Array | None = None,
    accumulate: bool = False,
    variant: str | None = None,
) -> tuple[Array, Array | None]:
    """Return the gradients of `conv2d_max_pool` by weight and bias.

    Parameters
    ----------
    grad, places, window, variant
        As for `conv2d_max_pool_backward_input`.
    x, kernel_size, stride, padding, dilation, groups, with_bias, out, out_bias, accumulate
        As for `conv2d_backward_weight`.

    Returns
    -------
    dweight : array of shape (F, C / groups, KH, KW)
    dbias : array of shape (F,) or None

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit, or a setting is out of range.
    """
    settings, outs = (stride, padding, dilation, groups), (out, out_bias, accumulate)
    return _pooled_by_weight(2, grad, places, x, kernel_size, settings, window, with_bias, outs, variant)


def conv1d_max_pool_backward_weight(
    grad: Any,
    places: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    window: tuple[Any, ...] = (2,),
    *,
    with_bias: bool = True,
    out: Array | None = None,
    out_bias: Array | None = None,
    accumulate: bool = False,
    variant: str | None = None,
) -> tuple[Array, Array | None]:
    """Return the gradients of `conv1d_max_pool` by weight and bias; see `conv2d_max_pool_backward_weight`."""
    settings, outs = (stride, padding, dilation, groups), (out, out_bias, accumulate)
    return _pooled_by_weight(1, grad, places, x, kernel_size, settings, window, with_bias, outs, variant)


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
    result: Array = _by_input(2, grad, weight, input_size, (stride, padding, dilation, groups), out, variant)
    return result


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
    result: Array = _by_input(1, grad, weight, input_size, (stride, padding, dilation, groups), out, variant)
    return result


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
    settings = (stride, padding, dilation, groups)
    outs = (out, out_bias, accumulate)
    result: tuple[Array, Array | None] = _by_weight(
        2, grad, x, kernel_size, settings, with_bias, outs, variant
    )
    return result


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
    settings = (stride, padding, dilation, groups)
    outs = (out, out_bias, accumulate)
    result: tuple[Array, Array | None] = _by_weight(
        1, grad, x, kernel_size, settings, with_bias, outs, variant
    )
    return result


def _forward(
    dims: int, x: Any, weight: Any, bias: Any, settings: Any, activation: Any, out: Any, variant: Any
) -> Any:
    operation = f"conv{dims}d"
    if activation not in (None, "relu"):
        raise ValueError(f"{operation}: activation is {activation!r}; expected None or 'relu'")
    if type(x) is not _ndarray or type(weight) is not _ndarray:
        if is_device_array(x) or is_device_array(weight):
            return devices.conv(dims, x, weight, bias, settings, activation, out, variant)
        x, weight = as_array(x, operation, "x"), as_array(weight, operation, "weight")
    if bias is not None and type(bias) is not _ndarray:
        bias = as_array(bias, operation, "bias")
    geometry = conv_geometry(operation, dims, _kernel(weight, dims), settings)
    return _conv(dims, x, weight, bias, geometry, activation == "relu", out, variant)


def _forward_and_pool(
    dims: int,
    x: Any,
    weight: Any,
    bias: Any,
    settings: Any,
    window: Any,
    places: Any,
    activation: Any,
    out: Any,
    variant: Any,
) -> Any:
    operation = f"conv{dims}d_max_pool"
    if activation not in (None, "relu"):
        raise ValueError(f"{operation}: activation is {activation!r}; expected None or 'relu'")
    if not isinstance(window, tuple) or not 1 <= len(window) <= 5:
        raise TypeError(
            f"{operation}: window is {window!r}; expected (kernel_size,), and after it stride, padding, dilation "
            "and ceil_mode if they are not the default"
        )
    if type(x) is not _ndarray or type(weight) is not _ndarray:
        if is_device_array(x) or is_device_array(weight):
            between = devices.conv(dims, x, weight, bias, settings, None, None, variant)
            pool: Any = max_pool1d if dims == 1 else max_pool2d
            keep: Any = "places" if places else False
            return pool(between, *window, *_DEFAULTS[len(window) :], keep, activation=activation, out=out)
        x, weight = as_array(x, operation, "x"), as_array(weight, operation, "weight")
    if bias is not None and type(bias) is not _ndarray:
        bias = as_array(bias, operation, "bias")
    geometry = conv_geometry(operation, dims, _kernel(weight, dims), settings)
    pooling = pool_geometry(operation, dims, *window)
    return _max_pool(
        *(dims, x, weight, bias, geometry, pooling, bool(places), activation == "relu", out, variant)
    )


@lru_cache(maxsize=512)
def from_places(
    dims: int,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: ConvGeometry,
    window: Any,
    single: bool,
) -> tuple[bool, bool]:
    """Return whether the gradients by input and by weight are faster from places than from a full gradient.

    Parameters
    ----------
    dims : int
        1 or 2.
    x, weight : tuple of int
        Their shapes.
    geometry : ConvGeometry
    window : PoolGeometry
    single : bool
        Whether in float32.
    """
    return _cpu.conv_max_pool_choice(dims, x, weight, geometry, window, single)


def _pooled(
    operation: str, dims: int, grad: Any, places: Any, other: Any, kernel: Any, settings: Any, window: Any
) -> tuple[Any, Any, Any, ConvGeometry, Any]:
    # Arrays and settings of a gradient, checked as far as they are needed before the kernels check all.
    if not isinstance(window, tuple) or not 1 <= len(window) <= 5:
        raise TypeError(
            f"{operation}: window is {window!r}; expected (kernel_size, ...) as conv{dims}d_max_pool"
        )
    grad, other = as_array(grad, operation, "grad"), as_array(other, operation, "the other operand")
    if grad.ndim != dims + 2 or other.ndim != dims + 2:
        raise ValueError(
            f"{operation}: grad is {grad.shape} and the other operand {other.shape}; expected {dims + 2} dimensions"
        )
    if type(places) is not _ndarray or places.dtype != np.uint8:
        given = places.dtype if type(places) is _ndarray else type(places).__name__
        raise TypeError(f"{operation}: places is {given}; expected an array of uint8")
    geometry = conv_geometry(operation, dims, kernel, settings)
    return grad, places, other, geometry, pool_geometry(operation, dims, *window)


def _chooses(operation: str, variant: Any, chosen: Callable[[], bool]) -> bool:
    if variant not in (None, "places", "dense"):
        raise ValueError(f"{operation}: variant is {variant!r}; expected None, 'places' or 'dense'")
    return variant == "places" or (variant is None and chosen())


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


def _pooled_by_input(
    dims: int,
    grad: Any,
    places: Any,
    weight: Any,
    input_size: Any,
    settings: Any,
    window: Any,
    out: Any,
    variant: Any,
) -> Array:
    operation = f"conv{dims}d_max_pool_backward_input"
    if is_device_array(grad) and is_device_array(weight):
        kernel = weight.shape[2:]
        g = conv_geometry(operation, dims, kernel, settings)
        size = tuple(_several(input_size, dims, operation, "input_size"))
        between = _unpooled(dims, grad, places, conv_output(size, kernel, g), window)
        return cast("Array", _by_input(dims, between, weight, input_size, settings, out, None))
    kernel = _kernel(as_array(weight, operation, "weight"), dims)
    grad, places, weight, g, pooling = _pooled(
        operation, dims, grad, places, weight, kernel, settings, window
    )
    size = tuple(_several(input_size, dims, operation, "input_size"))
    shape = (len(grad), weight.shape[1] * g.groups, *size)
    single = grad.dtype == np.float32
    if _chooses(operation, variant, lambda: from_places(dims, shape, weight.shape, g, pooling, single)[0]):
        height, width = (1, *size)[-2:]
        return _cpu.conv_max_pool_backward_input(dims, grad, places, weight, height, width, g, pooling, out)
    between = _unpooled(dims, grad, places, conv_output(size, kernel, g), window)
    return cast("Array", _by_input(dims, between, weight, input_size, settings, out, None))


def _pooled_by_weight(
    dims: int,
    grad: Any,
    places: Any,
    x: Any,
    kernel_size: Any,
    settings: Any,
    window: Any,
    with_bias: bool,
    outs: Any,
    variant: Any,
) -> tuple[Array, Array | None]:
    operation = f"conv{dims}d_max_pool_backward_weight"
    kernel = _several(kernel_size, dims, operation, "kernel_size")
    if is_device_array(grad) and is_device_array(x):
        g = conv_geometry(operation, dims, kernel, settings)
        between = _unpooled(dims, grad, places, conv_output(x.shape[2:], kernel, g), window)
        return cast(
            "tuple[Array, Array | None]",
            _by_weight(dims, between, x, kernel_size, settings, with_bias, outs, None),
        )
    grad, places, x, g, pooling = _pooled(operation, dims, grad, places, x, kernel, settings, window)
    shape = (grad.shape[1], x.shape[1] // g.groups if g.groups > 0 else 0, *kernel)
    single = grad.dtype == np.float32
    if _chooses(operation, variant, lambda: from_places(dims, x.shape, shape, g, pooling, single)[1]):
        out, out_bias, accumulate = outs
        kernel_h, kernel_w = (1, *kernel)[-2:]
        return _cpu.conv_max_pool_backward_weight(
            *(dims, grad, places, x, kernel_h, kernel_w, bool(with_bias), g, pooling),
            *(out, out_bias, bool(accumulate)),
        )
    between = _unpooled(dims, grad, places, conv_output(x.shape[2:], kernel, g), window)
    return cast(
        "tuple[Array, Array | None]",
        _by_weight(dims, between, x, kernel_size, settings, with_bias, outs, None),
    )


def _unpooled(dims: int, grad: Any, places: Any, size: tuple[int, ...], window: Any) -> Any:
    if dims == 1:
        return max_pool1d_backward(grad, places, size, *window)
    return max_pool2d_backward(grad, places, size, *window)


# Of a window: kernel_size has none.
_DEFAULTS: tuple[Any, ...] = (None, None, 0, 1, False)


def _by_input(
    dims: int, grad: Any, weight: Any, input_size: Any, settings: Any, out: Any, variant: Any
) -> Any:
    operation = f"conv{dims}d_backward_input"
    if type(grad) is not _ndarray or type(weight) is not _ndarray:
        if is_device_array(grad) or is_device_array(weight):
            return devices.conv_backward_input(dims, grad, weight, input_size, settings, out, variant)
        grad, weight = as_array(grad, operation, "grad"), as_array(weight, operation, "weight")
    geometry = conv_geometry(operation, dims, _kernel(weight, dims), settings)
    height, width = ([1] * dims + _several(input_size, dims, operation, "input_size"))[-2:]
    return _backward_input(dims, grad, weight, height, width, geometry, out, variant)


def _by_weight(
    dims: int, grad: Any, x: Any, kernel: Any, settings: Any, with_bias: bool, outs: Any, variant: Any
) -> Any:
    operation = f"conv{dims}d_backward_weight"
    if type(grad) is not _ndarray or type(x) is not _ndarray:
        if is_device_array(grad) or is_device_array(x):
            return devices.conv_backward_weight(dims, grad, x, kernel, settings, with_bias, outs, variant)
        grad, x = as_array(grad, operation, "grad"), as_array(x, operation, "x")
    sizes = _several(kernel, dims, operation, "kernel_size")
    geometry = conv_geometry(operation, dims, sizes, settings)
    kernel_h, kernel_w = ([1] * dims + sizes)[-2:]
    out, out_bias, accumulate = outs
    return _backward_weight(
        *(dims, grad, x, kernel_h, kernel_w, bool(with_bias), geometry),
        *(out, out_bias, bool(accumulate), variant),
    )


def _kernel(weight: Array, dims: int) -> Sequence[int]:
    # Of a weight of another number of dimensions, which the binding refuses, something of the right length.
    return weight.shape[2:] if weight.ndim == dims + 2 else (1,) * dims


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the ladders of this chapter: for each operation name, idea and needs of its variants."""
    tables = _cpu.conv_variants()
    return {
        f"conv{dims}d{operation.removeprefix('conv')}": rows
        for dims in (2, 1)
        for operation, rows in tables.items()
    }
