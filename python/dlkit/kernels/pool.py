"""Pooling and its gradients: the chapter csrc/conv."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array, mixed_devices
from dlkit.kernels.integers import integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "PoolGeometry",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "k_max_pool1d",
    "k_max_pool1d_backward",
    "max_over_time",
    "max_over_time_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "maxout",
    "maxout_backward",
    "pool_geometry",
    "pool_output",
    "stochastic_average2d",
    "stochastic_average2d_backward",
    "stochastic_pool2d",
]

devices: Any = OnDemand("dlkit.kernels.device_pool")
others: Any = OnDemand("dlkit.kernels.device_pool_others")

_ndarray = np.ndarray
_max = _cpu.max_pool
_max_backward = _cpu.max_pool_backward

PLACES = 255
"""How many elements a window may have for its places to be numbered by a byte."""

# What `return_indices` may be, and how the bindings take it.
_KEEP = {False: 0, True: 1, "places": 2}


class PoolGeometry(NamedTuple):
    """Where a window goes, as the bindings take it; in one dimension the heights are 1, 1, 0 and 1."""

    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    ceil_mode: bool


def pool_geometry(
    operation: str,
    dims: int,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil: Any = False,
) -> PoolGeometry:
    """Return the settings of a window in one form.

    Parameters
    ----------
    operation : str
        What to call it in errors.
    dims : int
        1 or 2.
    kernel, stride, padding, dilation : int or sequence of dims int
        Stride None: that of the kernel.
    ceil : bool

    Raises
    ------
    TypeError
        If something is no integer, or there are not as many as dimensions.
    """
    k_h, k_w = several(kernel, dims, operation, "kernel_size", 1)
    s_h, s_w = (k_h, k_w) if stride is None else several(stride, dims, operation, "stride", 1)
    p_h, p_w = several(padding, dims, operation, "padding", 0)
    d_h, d_w = several(dilation, dims, operation, "dilation", 1)
    return PoolGeometry(k_h, k_w, s_h, s_w, p_h, p_w, d_h, d_w, bool(ceil))


def pool_output(shape: Sequence[int], geometry: PoolGeometry) -> tuple[int, ...]:
    """Return the shape of the output of a window on (N, C, H, W); 0 or less where it does not fit."""
    sizes = []
    for extent, axis in zip(shape[2:], (0, 1), strict=True):
        kernel, stride, pad, dilation = geometry[axis:8:2]
        room = extent + 2 * pad - dilation * (kernel - 1) - 1
        size = (-(-room // stride) if geometry.ceil_mode else room // stride) + 1
        sizes.append(size - 1 if geometry.ceil_mode and (size - 1) * stride >= extent + pad else size)
    return (*shape[:2], *sizes)


def several(value: Any, dims: int, operation: str, argument: str, above: int) -> tuple[int, int]:
    """Return an integer, or as many as dimensions, as two: in one dimension `above` first.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if type(value) is int:
        return (value if dims == 2 else above), value
    numbers = integers(value, dims, operation, argument)
    return (numbers[0] if dims == 2 else above), numbers[-1]


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool | str = False,
    *,
    activation: str | None = None,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the largest element of each window that steps over images.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
    kernel_size, stride, padding, dilation : int or (int, int)
        Of the window, vertical first; its step (None: the window's own size); how far it begins outside the image, at
        most half its extent, where there is nothing; steps between its elements.
    ceil_mode : bool
        Let a last window go past the end of the image, if it begins within.
    return_indices : bool or "places"
        True: return, too, where the elements are, as int64 numbers in their image, as PyTorch does. "places": as uint8
        numbers in their window, for windows of at most 255 elements; 255 is nowhere. For `max_pool2d_backward`, which
        takes both, they are an eighth of the memory.
    activation : {"relu"}, optional
        Applied to the result: the same as before pooling. Results that are 0 by it have no place: -1 in int64.
    out : array of shape (N, C, OH, OW), optional
    variant : str, optional
        A step of the ladder, one of ``variants("max_pool2d")``. The default is the fastest for the window.

    Returns
    -------
    y : array of shape (N, C, OH, OW)
        ``OH = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1``, and OW alike. NaN where the window holds one. Of
        equal elements the first has the place, of several NaN the last, as in PyTorch.
    indices : array of shape (N, C, OH, OW), int64 or uint8
        If asked for.

    Raises
    ------
    TypeError
        If x is no array of float32 or float64, or a setting is no integer.
    ValueError
        If x has no such shape or is empty but for N and C, the window does not fit, a stride is below 1, padding is
        more than half the window, or a name is unknown.

    Notes
    -----
    Variants: csrc/conv/pool_variants.cpp.
    """
    settings = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(2, x, settings, return_indices, activation, out, variant)


def max_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool | str = False,
    *,
    activation: str | None = None,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the largest element of each window that steps over sequences (N, C, L); all else as for `max_pool2d`."""
    settings = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(1, x, settings, return_indices, activation, out, variant)


def max_pool2d_backward(
    grad: Any,
    indices: Any,
    input_size: Sequence[int],
    kernel_size: Any = None,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the gradient of `max_pool2d` by x: each output's where its maximum was.

    Parameters
    ----------
    grad : array of shape (N, C, OH, OW), float32 or float64
        The gradient by the output.
    indices : array of shape (N, C, OH, OW), int64 or uint8
        What `max_pool2d` returned; -1 and 255 are nowhere.
    input_size : (int, int)
        H and W of x.
    kernel_size, stride, padding, dilation, ceil_mode
        As for `max_pool2d`. Needed for uint8 alone.
    out : array of shape (N, C, H, W), optional
    variant : str, optional
        One of ``variants("max_pool2d_backward")``.

    Returns
    -------
    array of shape (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit, or an index is no element of the image.
    """
    settings = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool_backward(2, grad, indices, input_size, settings, out, variant)


def max_pool1d_backward(
    grad: Any,
    indices: Any,
    input_size: Any,
    kernel_size: Any = None,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the gradient of `max_pool1d` by x, (N, C, L) with L = `input_size`; see `max_pool2d_backward`."""
    settings = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool_backward(1, grad, indices, input_size, settings, out, variant)


def _max_pool(
    dims: int, x: Any, settings: Any, return_indices: Any, activation: Any, out: Any, variant: Any
) -> Any:
    operation = f"max_pool{dims}d"
    if activation not in (None, "relu"):
        raise ValueError(f"{operation}: activation is {activation!r}; expected None or 'relu'")
    try:
        keep = _KEEP[return_indices]
    except (KeyError, TypeError):
        raise ValueError(
            f"{operation}: return_indices is {return_indices!r}; expected False, True or 'places'"
        ) from None
    if type(x) is not _ndarray:
        if is_device_array(x):
            more = (*_window(pool_geometry(operation, dims, *settings)), return_indices)
            return devices.max_pool2d(x, *more, activation=activation, out=out, variant=variant, dims=dims)
        x = as_array(x, operation, "x")
    geometry = pool_geometry(operation, dims, *settings)
    return _max(dims, x, geometry, keep, activation == "relu", out, variant)


def _max_pool_backward(
    dims: int, grad: Any, indices: Any, input_size: Any, settings: Any, out: Any, variant: Any
) -> Any:
    operation = f"max_pool{dims}d_backward"
    height, width = several(input_size, dims, operation, "input_size", 1)
    if type(grad) is not _ndarray:
        if is_device_array(grad):
            window = () if settings[0] is None else _window(pool_geometry(operation, dims, *settings))
            more = (indices, (height, width), *window)
            return devices.max_pool2d_backward(grad, *more, out=out, variant=variant, dims=dims)
        grad = as_array(grad, operation, "grad")
    geometry = None if settings[0] is None else pool_geometry(operation, dims, *settings)
    return _max_backward(dims, grad, indices, height, width, geometry, out, variant)


def _window(g: PoolGeometry) -> tuple[Any, ...]:
    return g[:2], g[2:4], g[4:6], g[6:8], g[8]


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the mean of each window that steps over images.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
    kernel_size, stride, padding : int or (int, int)
        As for `max_pool2d`; padding is of zeros.
    ceil_mode : bool
        Let a last window go past the end of the padded image; what is beyond it does not count.
    count_include_pad : bool
        Divide by the number of elements with the padding's; without, by those in the image alone.
    divisor_override : int, optional
        What to divide by instead.
    out : array of shape (N, C, OH, OW), optional
    variant : str, optional
        A step of the ladder, one of ``variants("avg_pool2d")``.

    Returns
    -------
    array of shape (N, C, OH, OW)

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`; if `divisor_override` is 0.
    """
    settings = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool(2, x, settings, out, variant)


def avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the mean of each window that steps over sequences (N, C, L); all else as for `avg_pool2d`."""
    return _avg_pool(1, x, (kernel_size, stride, padding, ceil_mode, count_include_pad, None), out, variant)


def avg_pool2d_backward(
    grad: Any,
    input_size: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the gradient of `avg_pool2d` by x, (N, C, H, W) with H and W = `input_size`, given that by its output."""
    settings = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool_backward(2, grad, input_size, settings, out, variant)


def avg_pool1d_backward(
    grad: Any,
    input_size: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Any:
    """Return the gradient of `avg_pool1d` by x, (N, C, L) with L = `input_size`, given that by its output."""
    settings = (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    return _avg_pool_backward(1, grad, input_size, settings, out, variant)


def _avg_pool(dims: int, x: Any, settings: Any, out: Any, variant: Any) -> Any:
    operation = f"avg_pool{dims}d"
    kernel, stride, padding, ceil, include_pad, divisor = settings
    g = pool_geometry(operation, dims, kernel, stride, padding, 1, ceil)
    if type(x) is not _ndarray:
        if is_device_array(x):
            more = (g[:2], g[2:4], g[4:6], g[8], bool(include_pad), divisor)
            return devices.avg_pool2d(x, *more, out=out, variant=variant, dims=dims)
        x = as_array(x, operation, "x")
    return _cpu.avg_pool(dims, x, g, bool(include_pad), divisor, out, variant)


def _avg_pool_backward(dims: int, grad: Any, input_size: Any, settings: Any, out: Any, variant: Any) -> Any:
    operation = f"avg_pool{dims}d_backward"
    kernel, stride, padding, ceil, include_pad, divisor = settings
    g = pool_geometry(operation, dims, kernel, stride, padding, 1, ceil)
    size = several(input_size, dims, operation, "input_size", 1)
    if type(grad) is not _ndarray:
        if is_device_array(grad):
            more = (size, g[:2], g[2:4], g[4:6], g[8], bool(include_pad), divisor)
            return devices.avg_pool2d_backward(grad, *more, out=out, variant=variant, dims=dims)
        grad = as_array(grad, operation, "grad")
    return _cpu.avg_pool_backward(dims, grad, *size, g, bool(include_pad), divisor, out, variant)


def adaptive_avg_pool2d(
    x: Any, output_size: Any, *, out: Array | None = None, variant: str | None = None
) -> Any:
    """Return the means of windows that divide images into a given number; an output size of 1 is global pooling.

    Window i of O along an extent E is ``floor(i E / O)`` to ``ceil((i + 1) E / O)``, as in PyTorch.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
    output_size : int or (int or None, int or None)
        How many windows; None: as many as there are elements.
    out : array of shape (N, C, OH, OW), optional
    variant : str, optional
        One of ``variants("adaptive_avg_pool2d")``.

    Returns
    -------
    array of shape (N, C, OH, OW)
    """
    return _adaptive_avg(2, x, output_size, out, variant)


def adaptive_avg_pool1d(
    x: Any, output_size: Any, *, out: Array | None = None, variant: str | None = None
) -> Any:
    """Return the means of windows that divide sequences (N, C, L); see `adaptive_avg_pool2d`."""
    return _adaptive_avg(1, x, output_size, out, variant)


def adaptive_avg_pool2d_backward(
    grad: Any, input_size: Sequence[int], *, out: Array | None = None, variant: str | None = None
) -> Any:
    """Return the gradient of `adaptive_avg_pool2d` by x, (N, C, H, W) with H and W = `input_size`."""
    return _adaptive_avg_backward(2, grad, input_size, out, variant)


def adaptive_avg_pool1d_backward(
    grad: Any, input_size: Any, *, out: Array | None = None, variant: str | None = None
) -> Any:
    """Return the gradient of `adaptive_avg_pool1d` by x, (N, C, L) with L = `input_size`."""
    return _adaptive_avg_backward(1, grad, input_size, out, variant)


def adaptive_max_pool2d(x: Any, output_size: Any, *, variant: str | None = None) -> tuple[Any, Any]:
    """Return the maxima of windows as `adaptive_avg_pool2d` has them, and where they are.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
    output_size : int or (int or None, int or None)
    variant : str, optional
        One of ``variants("adaptive_max_pool2d")``.

    Returns
    -------
    y : array of shape (N, C, OH, OW)
    indices : array of shape (N, C, OH, OW), int64
        Numbers in the image, for `max_pool2d_backward`.
    """
    return _adaptive_max(2, x, output_size, variant)


def adaptive_max_pool1d(x: Any, output_size: Any, *, variant: str | None = None) -> tuple[Any, Any]:
    """Return the maxima of windows that divide sequences (N, C, L), and where; see `adaptive_max_pool2d`."""
    return _adaptive_max(1, x, output_size, variant)


def _adaptive_avg(dims: int, x: Any, output_size: Any, out: Any, variant: Any) -> Any:
    operation = f"adaptive_avg_pool{dims}d"
    if is_device_array(x):
        size = _output_size(dims, x, output_size, operation)
        return others.adaptive_avg_pool(dims, x, size, out=out, variant=variant)
    x = as_array(x, operation, "x")
    size = _output_size(dims, x, output_size, operation)
    return _cpu.adaptive_avg_pool(dims, x, *size, out, variant)


def _adaptive_avg_backward(dims: int, grad: Any, input_size: Any, out: Any, variant: Any) -> Any:
    operation = f"adaptive_avg_pool{dims}d_backward"
    size = several(input_size, dims, operation, "input_size", 1)
    if is_device_array(grad):
        return others.adaptive_avg_pool_backward(dims, grad, size, out=out, variant=variant)
    return _cpu.adaptive_avg_pool_backward(dims, as_array(grad, operation, "grad"), *size, out, variant)


def _adaptive_max(dims: int, x: Any, output_size: Any, variant: Any) -> tuple[Any, Any]:
    operation = f"adaptive_max_pool{dims}d"
    result: tuple[Any, Any]
    if is_device_array(x):
        size = _output_size(dims, x, output_size, operation)
        result = others.adaptive_max_pool(dims, x, size, variant=variant)
        return result
    x = as_array(x, operation, "x")
    size = _output_size(dims, x, output_size, operation)
    result = _cpu.adaptive_max_pool(dims, x, *size, variant)
    return result


def k_max_pool1d(x: Any, k: int, *, variant: str | None = None) -> tuple[Any, Any]:
    """Return the `k` largest elements along the last axis, in the order in which they are there.

    Parameters
    ----------
    x : array of shape (..., L), float32 or float64
    k : int
        From 1 to L.
    variant : str, optional
        One of ``variants("k_max_pool1d")``.

    Returns
    -------
    y : array of shape (..., k)
        Of equal elements the first are taken; NaN counts as the largest.
    indices : array of shape (..., k), int64
        Where they are along the axis.

    Raises
    ------
    ValueError
        If the axis is shorter than k.

    Notes
    -----
    Kalchbrenner, Grefenstette & Blunsom, "A convolutional neural network for modelling sentences", 2014.
    """
    result: tuple[Any, Any]
    if is_device_array(x):
        result = others.k_max_pool1d(x, _integer(k, "k_max_pool1d", "k"), variant=variant)
        return result
    x = as_array(x, "k_max_pool1d", "x")
    result = _cpu.k_max_pool1d(x, _integer(k, "k_max_pool1d", "k"), variant)
    return result


def k_max_pool1d_backward(grad: Any, indices: Any, length: int) -> Any:
    """Return the gradient of `k_max_pool1d` by x, (..., L) with L = `length`, given that by y and the indices."""
    operation = "k_max_pool1d_backward"
    grad, indices = _together(operation, grad, "indices", indices)
    if grad.ndim == 0 or indices.shape != grad.shape:
        raise ValueError(f"{operation}: grad is {grad.shape} and indices {indices.shape}; expected one shape")
    shape = (1, prod(grad.shape[:-1]), grad.shape[-1])
    dx = max_pool1d_backward(grad.reshape(shape), indices.reshape(shape), length)
    return dx.reshape(*grad.shape[:-1], dx.shape[-1])


def max_over_time(x: Any, lengths: Any | None = None, *, variant: str | None = None) -> tuple[Any, Any]:
    """Return the largest element of each channel over the whole sequence, padding left out.

    Parameters
    ----------
    x : array of shape (N, C, L), float32 or float64
    lengths : array of shape (N,), integers from 1 to L, optional
        How much of each sequence counts; all by default. May be on the host where x is on a device; those on a device
        are not waited for: one out of range counts as the nearest in it.
    variant : str, optional
        One of ``variants("max_over_time")``.

    Returns
    -------
    y : array of shape (N, C)
    indices : array of shape (N, C), int64
        Where they are along the sequence.

    Raises
    ------
    ValueError
        If a length is 0 or larger than L.

    Notes
    -----
    Collobert et al., "Natural language processing (almost) from scratch", 2011.
    """
    if is_device_array(x):
        found: tuple[Any, Any] = others.max_over_time(x, lengths, variant=variant)
        return found
    x = as_array(x, "max_over_time", "x")
    if lengths is not None:
        lengths = np.asarray(lengths)
        if lengths.dtype.kind not in "iu":
            raise TypeError(f"max_over_time: lengths has dtype {lengths.dtype}; expected integers")
        lengths = lengths.astype(np.int64, copy=False)
    result: tuple[Any, Any] = _cpu.max_over_time(x, lengths, variant)
    return result


def max_over_time_backward(grad: Any, indices: Any, length: int) -> Any:
    """Return the gradient of `max_over_time` by x, (N, C, L) with L = `length`."""
    operation = "max_over_time_backward"
    grad, indices = _together(operation, grad, "indices", indices)
    if grad.ndim != 2 or indices.shape != grad.shape:
        raise ValueError(f"{operation}: grad is {grad.shape} and indices {indices.shape}; expected (N, C)")
    return max_pool1d_backward(grad[..., None], indices[..., None], length)


def stochastic_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    *,
    seed: int,
    offset: int,
    variant: str | None = None,
) -> tuple[Any, Any]:
    """Return an element of each window, drawn with a probability proportional to it.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
        Activations; negative ones count as 0, and are never drawn.
    kernel_size, stride, padding : int or (int, int)
        As for `max_pool2d`; windows of at most 255 elements.
    ceil_mode : bool
    seed, offset : int
        From ``dlkit.kernels.random.next_offset`` of as many as there are outputs. Output i, in row-major order, takes
        number ``offset + i`` of the Philox stream `seed`: the same on any number of threads.
    variant : str, optional
        One of ``variants("stochastic_pool2d")``.

    Returns
    -------
    y : array of shape (N, C, OH, OW)
        0 where the window has nothing above 0; NaN where it has a NaN.
    places : array of shape (N, C, OH, OW), uint8
        For `max_pool2d_backward`; 255 where nothing was drawn.

    Notes
    -----
    Zeiler & Fergus, "Stochastic pooling for regularization of deep convolutional neural networks", 2013.
    """
    operation = "stochastic_pool2d"
    geometry = pool_geometry(operation, 2, kernel_size, stride, padding, 1, ceil_mode)
    result: tuple[Any, Any]
    if is_device_array(x):
        window = _stepping(geometry)
        result = devices.stochastic_pool2d(x, *window, seed=seed, offset=offset, variant=variant)
        return result
    result = _cpu.stochastic_pool(as_array(x, operation, "x"), geometry, seed, offset, variant)
    return result


def stochastic_average2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    *,
    variant: str | None = None,
) -> Any:
    """Return what `stochastic_pool2d` is on average: the elements of each window weighed with their probabilities.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
    kernel_size, stride, padding, ceil_mode
        As for `stochastic_pool2d`.
    variant : str, optional
        One of ``variants("stochastic_average2d")``.

    Returns
    -------
    array of shape (N, C, OH, OW)
        The sum of squares over the sum, of elements above 0; 0 where there are none.
    """
    geometry = pool_geometry("stochastic_pool2d", 2, kernel_size, stride, padding, 1, ceil_mode)
    if is_device_array(x):
        return devices.stochastic_average2d(x, *_stepping(geometry), variant=variant)
    return _cpu.stochastic_average(as_array(x, "stochastic_pool2d", "x"), geometry, variant)


def stochastic_average2d_backward(
    grad: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    *,
    variant: str | None = None,
) -> Any:
    """Return the gradient of `stochastic_average2d` by x, given that by its output. Of negative elements it is 0."""
    operation = "stochastic_pool2d_backward"
    geometry = pool_geometry(operation, 2, kernel_size, stride, padding, 1, ceil_mode)
    if is_device_array(grad) or is_device_array(x):
        return devices.stochastic_average2d_backward(grad, x, *_stepping(geometry), variant=variant)
    grad, x = as_array(grad, operation, "grad"), as_array(x, operation, "x")
    return _cpu.stochastic_average_backward(grad, x, geometry, variant)


def _stepping(g: PoolGeometry) -> tuple[Any, ...]:
    return g[:2], g[2:4], g[4:6], g[8]


def maxout(
    x: Any, pieces: int, dim: int = 1, return_indices: bool | str = False, *, variant: str | None = None
) -> Any:
    """Return the largest of each group of consecutive channels or features.

    Parameters
    ----------
    x : array, float32 or float64
    pieces : int
        How many are a group; divides the extent of `dim`.
    dim : int
        Along which axis.
    return_indices : bool or "places"
        "places": return, too, which of its group each is, as uint8, for at most 255 pieces; True: as int64.
    variant : str, optional
        One of ``variants("max_pool2d")``, of which this is a case; on devices of ``variants("maxout", backend)``.

    Returns
    -------
    y : array with the extent of `dim` divided by `pieces`
    indices : array of the shape of y
        If asked for.

    Notes
    -----
    Goodfellow et al., "Maxout networks", 2013.
    """
    if is_device_array(x):
        sizes, result = _maxout_sizes(x.shape, pieces, dim, "maxout")
        return others.maxout(x, sizes, result, return_indices, variant=variant)
    x = as_array(x, "maxout", "x")
    shape, window, result = _maxout_shapes(x.shape, pieces, dim, "maxout")
    images = x.reshape(shape)
    keep = "places" if return_indices else False
    if keep and window[0] * window[1] > PLACES:
        y, numbers = max_pool2d(images, window, return_indices=True, variant=variant)
        places = (numbers // shape[3] if window[1] == 1 else numbers) % pieces
    else:
        y = max_pool2d(images, window, return_indices=keep, variant=variant)
        y, places = y if keep else (y, None)
    y = y.reshape(result)
    if not return_indices:
        return y
    if return_indices is True:
        places = places.astype(np.int64)
    return y, places.reshape(result)


def maxout_backward(grad: Any, places: Any, pieces: int, dim: int = 1) -> Any:
    """Return the gradient of `maxout` by x, given that by y and the places that it returned.

    Parameters
    ----------
    grad : array, float32 or float64
    places : array of the shape of grad, uint8 or int64
    pieces, dim : int
        As for `maxout`.

    Returns
    -------
    array of the shape of x
    """
    operation = "maxout_backward"
    grad, places = _together(operation, grad, "places", places)
    if places.shape != grad.shape:
        raise ValueError(f"{operation}: grad is {grad.shape} and places {places.shape}; expected one shape")
    pieces = _integer(pieces, operation, "pieces")
    dim = _axis(dim, grad.ndim, operation)
    full = (*grad.shape[:dim], grad.shape[dim] * pieces, *grad.shape[dim + 1 :])
    if is_device_array(grad):
        return others.maxout_backward(grad, places, _maxout_sizes(full, pieces, dim, operation)[0], full)
    shape, window, _ = _maxout_shapes(full, pieces, dim, operation)
    small = (*shape[:2], shape[2] // window[0], shape[3] // window[1])
    grad, places = grad.reshape(small), places.reshape(small)
    if places.dtype != np.uint8:
        tall = window[1] == 1
        rows, cols = np.arange(small[2])[:, None], np.arange(small[3])
        if tall:
            places = (rows * pieces + places) * shape[3] + cols
        else:
            places = rows * shape[3] + cols * pieces + places
    dx = max_pool2d_backward(grad, places, shape[2:], window)
    return dx.reshape(full)


def _together(operation: str, grad: Any, argument: str, kept: Any) -> tuple[Any, Any]:
    # A gradient and what the forward pass kept, as arrays of one device.
    if is_device_array(grad) or is_device_array(kept):
        error = mixed_devices(operation, [("grad", grad), (argument, kept)])
        if error is not None:
            raise error
        return grad, kept
    return as_array(grad, operation, "grad"), as_array(kept, operation, argument)


def _maxout_sizes(shape: Any, pieces: Any, dim: Any, operation: str) -> Any:
    # (outer, pieces, inner), and the result's shape.
    pieces = _integer(pieces, operation, "pieces")
    dim = _axis(dim, len(shape), operation)
    extent = shape[dim]
    if pieces < 1 or extent % pieces:
        raise ValueError(
            f"{operation}: pieces is {pieces} and x is {shape}, of extent {extent} along dim {dim}; "
            "expected pieces that divide it"
        )
    result = (*shape[:dim], extent // pieces, *shape[dim + 1 :])
    return (prod(shape[:dim]) * (extent // pieces), pieces, prod(shape[dim + 1 :])), result


def _maxout_shapes(shape: Any, pieces: Any, dim: Any, operation: str) -> Any:
    # Images whose windows are the groups, the window, and the result's shape.
    (groups, pieces, inner), result = _maxout_sizes(shape, pieces, dim, operation)
    if 0 in shape:
        return (0, 1, pieces, 1), (pieces, 1), result
    extent = shape[_axis(dim, len(shape), operation)]
    outer = groups * pieces // extent
    if inner > 1:
        return (1, outer, extent, inner), (pieces, 1), result
    rows = min(outer & -outer, 64)  # a power of two that divides them
    return (1, outer // rows, rows, extent), (1, pieces), result


def _axis(dim: Any, ndim: int, operation: str) -> int:
    axis = _integer(dim, operation, "dim")
    if not -ndim <= axis < ndim:
        raise IndexError(f"{operation}: dim is {axis}; expected {-ndim} to {ndim - 1}")
    return axis % ndim


def _integer(value: Any, operation: str, argument: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{operation}: {argument} is {value!r}; expected an integer")
    return int(value.__index__())


def _output_size(dims: int, x: Any, output_size: Any, operation: str) -> tuple[int, int]:
    extents = x.shape[2:] if x.ndim == dims + 2 else (1,) * dims
    given = [output_size] * dims if output_size is None or hasattr(output_size, "__index__") else output_size
    if isinstance(given, (list, tuple)) and len(given) == dims:
        given = [extent if size is None else size for extent, size in zip(extents, given, strict=True)]
    return several(given, dims, operation, "output_size", 1)


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the ladders of pooling: for each operation name, idea and needs of its variants."""
    tables = {}
    for operation, rows in _cpu.pool_variants().items():
        if "pool" in operation and "pool1d" not in operation and "pool2d" not in operation:
            for dims in (2, 1):
                tables[operation.replace("_pool", f"_pool{dims}d")] = rows
        else:
            tables[operation] = rows
    return tables
