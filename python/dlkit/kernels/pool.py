"""Pooling and its gradients: the chapter csrc/conv."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = [
    "PoolGeometry",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "pool_geometry",
]

devices: Any = OnDemand("dlkit.kernels.device_pool")

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


def several(value: Any, dims: int, operation: str, argument: str, above: int) -> tuple[int, int]:
    """Return an integer, or as many as dimensions, as two: in one dimension `above` first.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if type(value) is int:
        return (value if dims == 2 else above), value
    items = [value] * dims if hasattr(value, "__index__") else value
    try:
        items = [] if isinstance(items, str) else list(items)
    except TypeError:
        items = []
    if len(items) != dims or not all(hasattr(i, "__index__") and not isinstance(i, bool) for i in items):
        expected = "an integer" if dims == 1 else f"an integer or {dims} of them"
        raise TypeError(f"{operation}: {argument} is {value!r}; expected {expected}")
    numbers = [int(i.__index__()) for i in items]
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
        numbers in their window, for windows of at most 255 elements; 255 is nowhere. They are what `max_pool2d_backward`
        takes, and an eighth of the memory.
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
            extra = {"activation": activation, "variant": variant}
            return _on_device(dims, "max_pool", (x,), settings, (return_indices,), out, extra)
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
            if settings[0] is not None:
                settings = pool_geometry(operation, dims, *settings)
                settings = (settings[:2], settings[2:4], settings[4:6], settings[6:8], settings[8])
            if dims == 1:
                grad, indices = _raised(grad), _raised(indices)
                out = None if out is None else _raised(out)
            y = devices.max_pool2d_backward(
                grad, indices, (height, width), *settings, out=out, variant=variant
            )
            return y if dims == 2 else _lowered(y)
        grad = as_array(grad, operation, "grad")
    geometry = None if settings[0] is None else pool_geometry(operation, dims, *settings)
    return _max_backward(dims, grad, indices, height, width, geometry, out, variant)


def _on_device(
    dims: int, name: str, arrays: Any, settings: Any, more: Any, out: Any, extra: dict[str, Any]
) -> Any:
    # By the functions of two dimensions, which sequences are images of height 1 for.
    g = pool_geometry(f"{name}{dims}d", dims, *settings)
    if dims == 1:
        arrays = [_raised(a) for a in arrays]
        out = None if out is None else _raised(out)
    windows = (g[:2], g[2:4], g[4:6]) + (() if name.startswith("avg") else (g[6:8],)) + (g[8],)
    y = getattr(devices, f"{name}2d")(*arrays, *windows, *more, out=out, **extra)
    if dims == 2:
        return y
    return tuple(_lowered(part) for part in y) if isinstance(y, tuple) else _lowered(y)


def _raised(array: Any) -> Any:
    return array.reshape(*array.shape[:-1], 1, array.shape[-1])


def _lowered(array: Any) -> Any:
    return array.reshape(*array.shape[:-2], array.shape[-1])


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the ladders of pooling: for each operation name, idea and needs of its variants."""
    return {
        f"max_pool{dims}d{operation.removeprefix('max_pool')}": rows
        for dims in (2, 1)
        for operation, rows in _cpu.pool_variants().items()
    }
