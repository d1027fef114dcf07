"""Convolution over time and the maximum over time in one operation (csrc/conv/over_time.cpp)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array, mixed_devices

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["conv1d_max", "conv1d_max_backward"]

devices: Any = OnDemand("dlkit.kernels.device_over_time")


def conv1d_max(
    x: Any, weight: Any, bias: Any = None, *, variant: str | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Convolve sequences with filters and take each filter's maximum over time.

    ``y[n, f] = bias[f] + max over t of sum over j, c of weight[f, c, j] x[n, t + j, c]``: what ``conv1d`` and a maximum
    over all its places would give, without the places ever being in memory.

    Parameters
    ----------
    x : array of shape (N, L, C), float32 or float64
        Time before channels, as `embedding` gives it.
    weight : array of shape (F, C, K)
        As for `conv1d`; K at most L.
    bias : array of shape (F,), optional
    variant : {"naive", "windows"}, optional

    Returns
    -------
    array of shape (N, F)
        A NaN is larger than any number.
    array of int64, shape (N, F)
        The first place t of the maximum.

    Raises
    ------
    TypeError
        If dtypes differ or are not float32 or float64; if arrays are on several devices.
    ValueError
        If shapes do not fit, or K exceeds L.

    Notes
    -----
    On devices it is `conv1d` and `max_over_time`, one after the other; of several NaN the last has the place.
    Collobert et al., "Natural Language Processing (Almost) from Scratch", JMLR 12, 2011.
    """
    operation = "conv1d_max"
    if _on_device(operation, ("x", x), ("weight", weight), ("bias", bias)):
        found: tuple[Any, Any] = devices.conv1d_max(x, weight, bias, variant=variant)
        return found
    x, weight = as_array(x, operation, "x"), as_array(weight, operation, "weight")
    bias = None if bias is None else as_array(bias, operation, "bias")
    return _cpu.conv1d_max(x, weight, bias, variant)


def _on_device(operation: str, *arrays: tuple[str, Any]) -> bool:
    # Whether they are on a device; an error if they are on several.
    given = [pair for pair in arrays if pair[1] is not None]
    if not any(is_device_array(array) for _, array in given):
        return False
    error = mixed_devices(operation, given)
    if error is not None:
        raise error
    return True


def conv1d_max_backward(
    grad: Any,
    place: Any,
    x: Any,
    weight: Any,
    *,
    by_x: bool = True,
    by_weight: bool = True,
    with_bias: bool = True,
    out: NDArray[Any] | None = None,
    out_bias: NDArray[Any] | None = None,
    accumulate: bool = False,
    variant: str | None = None,
) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]:
    """Return the gradients of `conv1d_max` by x, weight and bias from `grad`, the gradient by its result.

    Parameters
    ----------
    grad : array of shape (N, F)
    place : array of int64, shape (N, F)
        As `conv1d_max` returned it.
    x, weight : arrays
        As `conv1d_max` got them.
    by_x, by_weight, with_bias : bool
        Which are wanted; None in place of the others. The bias's comes with the weight's alone.
    out, out_bias : arrays, optional
        For the gradients by weight and bias.
    accumulate : bool
        Add to what they hold.
    variant : {"naive", "windows"}, optional

    Returns
    -------
    tuple of (N, L, C), (F, C, K) and (F,)
        The same bits on any number of threads.

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not fit, or a place is out of range.
    """
    operation = "conv1d_max_backward"
    if _on_device(operation, ("grad", grad), ("place", place), ("x", x), ("weight", weight)):
        result: tuple[Any, Any, Any] = devices.conv1d_max_backward(
            *(grad, place, x, weight),
            by_x=bool(by_x),
            by_weight=bool(by_weight),
            with_bias=bool(with_bias),
            out=out,
            out_bias=out_bias,
            accumulate=bool(accumulate),
            variant=variant,
        )
        return result
    return _cpu.conv1d_max_backward(
        as_array(grad, operation, "grad"),
        place,
        as_array(x, operation, "x"),
        as_array(weight, operation, "weight"),
        bool(by_x),
        bool(with_bias),
        out if by_weight else False,
        out_bias,
        bool(accumulate),
        variant,
    )
