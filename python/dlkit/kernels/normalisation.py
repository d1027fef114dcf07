"""Layer and batch normalisation, and their gradients (csrc/layers/normalisation.cpp, layer_norm.cu, batch_norm.cu).

Both make ``(x - mean) rstd weight + bias`` with ``rstd = 1 / sqrt(variance + eps)``: a layer norm with the mean and
variance of each row, a batch norm with those of each channel over all samples. The variance is that of the population
(the mean of squared distances). It is found in two passes over what is cached, with the correction of Chan, Golub and
LeVeque (1983), so that a mean far from 0 costs no digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array
from dlkit.kernels.layers import device_rung_of, rung_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["batch_norm", "batch_norm_apply", "batch_norm_backward", "layer_norm", "layer_norm_backward"]

devices: Any = OnDemand("dlkit.kernels.device_normalisation")

_ndarray = np.ndarray
_layer_norm = _cpu.layer_norm
_layer_norm_backward = _cpu.layer_norm_backward
_batch_norm = _cpu.batch_norm
_batch_norm_apply = _cpu.batch_norm_apply
_batch_norm_backward = _cpu.batch_norm_backward


def layer_norm(
    x: Any,
    weight: Any | None = None,
    bias: Any | None = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> tuple[Array, Array, Array]:
    """Normalise each row, along the last axis: ``(x - mean) / sqrt(variance + eps) * weight + bias``.

    Ba, Kiros & Hinton, 2016.

    Parameters
    ----------
    x : array of shape (..., C), float32 or float64
    weight, bias : array of shape (C,), optional
        1 and 0 by default.
    eps : float
        0 or more.
    out : array of the shape and dtype of `x`, optional
        May be `x` itself.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    out : array of the shape and dtype of `x`
    mean, rstd : array of shape (...)
        Of each row: its mean, and ``1 / sqrt(variance + eps)``. `layer_norm_backward` takes them.

    Raises
    ------
    TypeError
        If an array is not of float32 or float64, or dtypes differ.
    ValueError
        If shapes do not fit, `eps` is negative, or `out` overlaps an input in part.
    """
    if type(x) is not _ndarray:
        if is_device_array(x):
            rung = device_rung_of(variant, "layer_norm", x)
            return devices.layer_norm(x, weight, bias, eps, out, rung)  # type: ignore[no-any-return]
        x = as_array(x, "layer_norm", "x")
    result: tuple[Array, Array, Array] = _layer_norm(
        x,
        _optional(weight, "layer_norm", "weight"),
        _optional(bias, "layer_norm", "bias"),
        eps,
        out,
        rung_of(variant, "layer_norm"),
    )
    return result


def layer_norm_backward(
    grad: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    weight: Any | None = None,
    *,
    need_weight: bool = True,
    need_bias: bool = True,
    variant: str | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Return the gradients of `layer_norm` by x, weight and bias from `grad`, the gradient by its output.

    With ``n = (x - mean) rstd`` and ``g = grad weight``: by x ``rstd (g - mean(g) - n mean(g n))``, by weight the sum
    of ``grad n`` over rows, by bias that of ``grad``.

    Parameters
    ----------
    grad, x : array of shape (..., C), float32 or float64
    mean, rstd : array of shape (...)
        As `layer_norm` returned them.
    weight : array of shape (C,), optional
    need_weight, need_bias : bool
        Whether to compute those gradients; None is returned for one that is not.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    by_x : array of the shape of `x`
    by_weight, by_bias : array of shape (C,) or None
        The same bits on any number of threads.

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or shapes do not fit.
    """
    return _gradients(
        _layer_norm_backward, "layer_norm", (grad, x, mean, rstd), weight, need_weight, need_bias, variant
    )


def batch_norm(
    x: Any,
    weight: Any | None = None,
    bias: Any | None = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> tuple[Array, Array, Array]:
    """Normalise each channel by its mean and variance over all samples and places.

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, as in training. Ioffe & Szegedy, 2015.

    Parameters
    ----------
    x : array of shape (N, C) or (N, C, ...), float32 or float64
    weight, bias : array of shape (C,), optional
        1 and 0 by default.
    eps : float
        0 or more.
    out : array of the shape and dtype of `x`, optional
        May be `x` itself.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    out : array of the shape and dtype of `x`
    mean, rstd : array of shape (C,)
        Of each channel: its mean, and ``1 / sqrt(variance + eps)``. Of no values they are NaN.
        The same bits on any number of threads.

    Raises
    ------
    TypeError
        If an array is not of float32 or float64, or dtypes differ.
    ValueError
        If shapes do not fit, `eps` is negative, or `out` overlaps an input in part.
    """
    if type(x) is not _ndarray:
        if is_device_array(x):
            rung = device_rung_of(variant, "batch_norm", x)
            return devices.batch_norm(x, weight, bias, eps, out, rung)  # type: ignore[no-any-return]
        x = as_array(x, "batch_norm", "x")
    result: tuple[Array, Array, Array] = _batch_norm(
        x,
        _optional(weight, "batch_norm", "weight"),
        _optional(bias, "batch_norm", "bias"),
        eps,
        out,
        rung_of(variant, "batch_norm"),
    )
    return result


def batch_norm_apply(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any | None = None,
    bias: Any | None = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
    variant: str | None = None,
) -> Array:
    """Normalise each channel by a mean and a variance that are given, as after training.

    Parameters
    ----------
    x : array of shape (N, C) or (N, C, ...), float32 or float64
    mean, var : array of shape (C,)
    weight, bias, eps, out, variant
        As in `batch_norm`.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    TypeError, ValueError
        As `batch_norm`.
    """
    operation = "batch_norm_apply"
    if type(x) is not _ndarray:
        if is_device_array(x):
            device_rung_of(variant, "batch_norm", x)
            return devices.batch_norm_apply(x, mean, var, weight, bias, eps, out)  # type: ignore[no-any-return]
        x = as_array(x, operation, "x")
    result: Array = _batch_norm_apply(
        x,
        mean if type(mean) is _ndarray else as_array(mean, operation, "mean"),
        var if type(var) is _ndarray else as_array(var, operation, "var"),
        _optional(weight, operation, "weight"),
        _optional(bias, operation, "bias"),
        eps,
        out,
        rung_of(variant, "batch_norm"),
    )
    return result


def batch_norm_backward(
    grad: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    weight: Any | None = None,
    *,
    need_weight: bool = True,
    need_bias: bool = True,
    variant: str | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """Return the gradients of `batch_norm` by x, weight and bias from `grad`, the gradient by its output.

    The formulas of `layer_norm_backward`, with means and sums over the samples and places of a channel.

    Parameters
    ----------
    grad, x : array of shape (N, C) or (N, C, ...), float32 or float64
    mean, rstd : array of shape (C,)
        As `batch_norm` returned them.
    weight : array of shape (C,), optional
    need_weight, need_bias : bool
        Whether to compute those gradients; None is returned for one that is not.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    by_x : array of the shape of `x`
    by_weight, by_bias : array of shape (C,) or None
        The same bits on any number of threads.

    Raises
    ------
    TypeError, ValueError
        If dtypes differ or shapes do not fit.
    """
    return _gradients(
        _batch_norm_backward, "batch_norm", (grad, x, mean, rstd), weight, need_weight, need_bias, variant
    )


def _optional(value: Any, operation: str, argument: str) -> Any:
    return value if value is None or type(value) is _ndarray else as_array(value, operation, argument)


def _gradients(
    kernel: Any,
    ladder: str,
    arrays: tuple[Any, Any, Any, Any],
    weight: Any,
    need_weight: bool,
    need_bias: bool,
    variant: str | None,
) -> tuple[Array, Array | None, Array | None]:
    operation = f"{ladder}_backward"
    if type(arrays[1]) is not _ndarray and is_device_array(arrays[1]):
        return getattr(devices, operation)(  # type: ignore[no-any-return]
            *(*arrays, weight, bool(need_weight), bool(need_bias)),
            device_rung_of(variant, ladder, arrays[1]),
        )
    result: tuple[Array, Array | None, Array | None] = kernel(
        *(
            a if type(a) is _ndarray else as_array(a, operation, name)
            for a, name in zip(arrays, ("grad", "x", "mean", "rstd"), strict=True)
        ),
        _optional(weight, operation, "weight"),
        bool(need_weight),
        bool(need_bias),
        rung_of(variant, ladder),
    )
    return result
