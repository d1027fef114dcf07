"""Convolution over time and the maximum over time of device arrays: the two operations, one after the other.

Arguments are those of `dlkit.kernels.conv1d_max` and `conv1d_max_backward`, where the texts are. The convolution's
output is in memory once, (N, F, L - K + 1); backward forms the gradient by it, zero but at the maxima.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.kernels import device_conv
from dlkit.kernels.device_operands import code, common_backend, same_dtype, text
from dlkit.kernels.pool import max_over_time, max_over_time_backward

_SETTINGS = (1, 0, 1, 1)  # stride, padding, dilation, groups
_VARIANTS = (None, "naive", "windows")


def conv1d_max(x: Any, weight: Any, bias: Any, *, variant: str | None) -> tuple[Any, Any]:
    """As `dlkit.kernels.conv1d_max`."""
    operation = "conv1d_max"
    common_backend(operation, ("x", x), ("weight", weight), ("bias", bias))
    _check(operation, x, weight)
    filters = weight.shape[0]
    if bias is not None:
        same_dtype(operation, ("bias", bias), ("x", x))
        if bias.shape != (filters,):
            raise ValueError(f"{operation}: bias is {text(bias.shape)}; expected {text((filters,))}")
    step = _step(operation, variant)
    answers = device_conv.conv(1, x.transpose(0, 2, 1), weight, bias, _SETTINGS, None, None, step)
    return max_over_time(answers, variant=step)


def conv1d_max_backward(
    grad: Any,
    place: Any,
    x: Any,
    weight: Any,
    *,
    by_x: bool,
    by_weight: bool,
    with_bias: bool,
    out: Any,
    out_bias: Any,
    accumulate: bool,
    variant: str | None,
) -> tuple[Any, Any, Any]:
    """As `dlkit.kernels.conv1d_max_backward`."""
    operation = "conv1d_max_backward"
    backend = common_backend(operation, ("grad", grad), ("place", place), ("x", x), ("weight", weight))
    _check(operation, x, weight)
    same_dtype(operation, ("grad", grad), ("x", x))
    shape = (x.shape[0], weight.shape[0])
    if grad.shape != shape:
        raise ValueError(
            f"{operation}: grad is {text(grad.shape)}; expected {text(shape)}, the shape of the output"
        )
    if place.shape != shape:
        raise ValueError(f"{operation}: place is {text(place.shape)}; expected {text(shape)}")
    if place.dtype != np.int64:
        raise TypeError(f"{operation}: place has dtype {place.dtype.name}; expected int64")
    with_bias = by_weight and with_bias
    if accumulate and (not by_weight or out is None or (with_bias and out_bias is None)):
        raise ValueError(f"{operation}: accumulate=True needs out and out_bias, the arrays to add to")
    step = _step(operation, variant)
    turned = x.transpose(0, 2, 1)
    size = weight.shape[2]
    answers = max_over_time_backward(grad, place, x.shape[1] - size + 1)
    dx = dweight = dbias = None
    if by_x:
        dx = device_conv.conv_backward_input(1, answers, weight, (x.shape[1],), _SETTINGS, None, step)
        dx = backend.xp.ascontiguousarray(dx.transpose(0, 2, 1))
    if by_weight:
        dweight, dbias = device_conv.conv_backward_weight(
            1, answers, turned, (size,), _SETTINGS, with_bias, (out, out_bias, accumulate), step
        )
    return dx, dweight, dbias


def _step(operation: str, variant: str | None) -> str | None:
    # `windows` is the CPU's; what it stands for here is the automatic choice.
    if variant not in _VARIANTS:
        raise ValueError(f"{operation}: variant is {variant!r}; expected None, naive or windows")
    return "naive" if variant == "naive" else None


def _check(operation: str, x: Any, weight: Any) -> None:
    code(operation, "x", x)
    same_dtype(operation, ("weight", weight), ("x", x))
    for argument, array, expected in (
        ("x", x, "(N, L, C), time before channels"),
        ("weight", weight, "(F, C, K)"),
    ):
        if array.ndim != 3:
            raise ValueError(f"{operation}: {argument} is {text(array.shape)}; expected {expected}")
    given = f"{operation}: x is {text(x.shape)} but weight is {text(weight.shape)}: "
    if weight.shape[1] != x.shape[2]:
        raise ValueError(
            f"{given}{x.shape[2]} channels need a weight of as many, not {weight.shape[1]} "
            "(x has time before channels)"
        )
    if not 1 <= weight.shape[2] <= x.shape[1]:
        raise ValueError(f"{given}a window of {weight.shape[2]} does not fit into a length of {x.shape[1]}")
