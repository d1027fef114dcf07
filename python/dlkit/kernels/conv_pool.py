"""Convolution and max-pooling in one pass, and its gradients (csrc/conv/conv_pool.cpp)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array
from dlkit.kernels.conv import (
    ConvGeometry,
    conv_geometry,
    conv_output,
    gradient_by_input,
    gradient_by_weight,
    kernel_extents,
)
from dlkit.kernels.integers import integers
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
    "conv1d_max_pool",
    "conv1d_max_pool_backward_input",
    "conv1d_max_pool_backward_weight",
    "conv2d_max_pool",
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "from_places",
]

devices: Any = OnDemand("dlkit.kernels.device_conv")

_ndarray = np.ndarray
_max_pool = _cpu.conv_max_pool


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
    _check_window(operation, window)
    if type(x) is not _ndarray or type(weight) is not _ndarray:
        if is_device_array(x) or is_device_array(weight):
            between = devices.conv(dims, x, weight, bias, settings, None, None, variant)
            pool: Any = max_pool1d if dims == 1 else max_pool2d
            keep: Any = "places" if places else False
            return pool(between, *window, *_DEFAULTS[len(window) :], keep, activation=activation, out=out)
        x, weight = as_array(x, operation, "x"), as_array(weight, operation, "weight")
    if bias is not None and type(bias) is not _ndarray:
        bias = as_array(bias, operation, "bias")
    geometry = conv_geometry(operation, dims, kernel_extents(weight, dims), settings)
    pooling = pool_geometry(operation, dims, *window)
    return _max_pool(
        *(dims, x, weight, bias, geometry, pooling, bool(places), activation == "relu", out, variant)
    )


def _check_window(operation: str, window: Any) -> None:
    if not isinstance(window, tuple) or not 1 <= len(window) <= 5:
        raise TypeError(
            f"{operation}: window is {window!r}; expected (kernel_size,), and after it stride, padding, dilation "
            "and ceil_mode if they are not the default"
        )


def _host(operation: str, dims: int, places: Any, **arrays: Any) -> list[Any]:
    # The arrays of a gradient, checked as far as choosing a variant needs it; the kernels check all.
    found = []
    for name, value in arrays.items():
        array = as_array(value, operation, name)
        if array.ndim != dims + 2:
            raise ValueError(f"{operation}: {name} is {array.shape}; expected {dims + 2} dimensions")
        found.append(array)
    if type(places) is not _ndarray or places.dtype != np.uint8:
        given = places.dtype if type(places) is _ndarray else type(places).__name__
        raise TypeError(f"{operation}: places is {given}; expected an array of uint8")
    if places.shape != found[0].shape:
        shape = found[0].shape
        raise ValueError(
            f"{operation}: grad is {shape} and places is {places.shape}; expected {shape} of both"
        )
    return found


def _by_places(operation: str, variant: Any, grad: Any, chosen: Callable[[], bool]) -> bool:
    # Whether a gradient takes the variant of that name; by default, on the CPU, by what `chosen` says.
    if variant not in (None, "places", "dense"):
        raise ValueError(f"{operation}: variant is {variant!r}; expected None, 'places' or 'dense'")
    if is_device_array(grad):
        if variant == "places":
            raise ValueError(
                f"{operation}: variant is 'places', which is for the CPU alone; expected 'dense'"
            )
        return False
    if variant == "places":
        return True  # the binding checks all
    pays = chosen()  # raises where shapes do not fit
    return variant is None and pays


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
    _check_window(operation, window)
    if not (is_device_array(grad) and is_device_array(weight)):
        grad, weight = _host(operation, dims, places, grad=grad, weight=weight)
    kernel = weight.shape[2:]
    g, pooling = conv_geometry(operation, dims, kernel, settings), pool_geometry(operation, dims, *window)
    size = tuple(integers(input_size, dims, operation, "input_size"))

    def chosen() -> bool:
        shape = (len(grad), weight.shape[1] * g.groups, *size)
        return from_places(dims, shape, weight.shape, g, pooling, grad.dtype == np.float32)[0]

    if _by_places(operation, variant, grad, chosen):
        height, width = (1, *size)[-2:]
        return _cpu.conv_max_pool_backward_input(dims, grad, places, weight, height, width, g, pooling, out)
    between = _unpooled(dims, grad, places, conv_output(size, kernel, g), window)
    return gradient_by_input(dims, between, weight, input_size, settings, out, None)


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
    _check_window(operation, window)
    if not (is_device_array(grad) and is_device_array(x)):
        grad, x = _host(operation, dims, places, grad=grad, x=x)
    kernel = integers(kernel_size, dims, operation, "kernel_size")
    g, pooling = conv_geometry(operation, dims, kernel, settings), pool_geometry(operation, dims, *window)

    def chosen() -> bool:
        shape = (grad.shape[1], x.shape[1] // g.groups if g.groups > 0 else 0, *kernel)
        return from_places(dims, x.shape, shape, g, pooling, grad.dtype == np.float32)[1]

    if _by_places(operation, variant, grad, chosen):
        out, out_bias, accumulate = outs
        kernel_h, kernel_w = (1, *kernel)[-2:]
        return _cpu.conv_max_pool_backward_weight(
            *(dims, grad, places, x, kernel_h, kernel_w, bool(with_bias), g, pooling),
            *(out, out_bias, bool(accumulate)),
        )
    between = _unpooled(dims, grad, places, conv_output(x.shape[2:], kernel, g), window)
    return gradient_by_weight(dims, between, x, kernel_size, settings, with_bias, outs, None)


def _unpooled(dims: int, grad: Any, places: Any, size: tuple[int, ...], window: Any) -> Any:
    if dims == 1:
        return max_pool1d_backward(grad, places, size, *window)
    return max_pool2d_backward(grad, places, size, *window)


# Of a window: kernel_size has none.
_DEFAULTS: tuple[Any, ...] = (None, None, 0, 1, False)
