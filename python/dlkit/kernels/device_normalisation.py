"""Layer and batch normalisation of device arrays: checks, scratch memory, and one call of a kernel each.

Every function takes what the one of that name in `dlkit.kernels.normalisation` takes, where the texts are. Nothing
waits for the device.
"""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np

from dlkit.kernels.backend import Backend
from dlkit.kernels.device_operands import (
    Output,
    code,
    common_backend,
    contiguous,
    overlap,
    pointer,
    same_dtype,
    same_shape,
    text,
)

Named = tuple[str, Any]


def layer_norm(x: Any, weight: Any, bias: Any, eps: float, out: Any, rung: int) -> tuple[Any, Any, Any]:
    """As `dlkit.kernels.layer_norm`."""
    call = _Call("layer_norm", x, ("weight", weight), ("bias", bias), out=out)
    rows, cols = call.rows()
    call.expect((cols,), ("weight", weight), ("bias", bias))
    eps = call.eps(eps)
    output = call.output(out, ("weight", weight), ("bias", bias))
    mean, rstd = call.empty(x.shape[:-1]), call.empty(x.shape[:-1])
    if x.size:
        source, w, b = call.plain(x, weight, bias)
        call.library.layer_norm(
            *(*call.head, pointer(source), pointer(w), pointer(b), pointer(output.target), pointer(mean)),
            *(pointer(rstd), rows, cols, eps, rung),
        )
    else:
        _fill((mean, rstd), np.nan)
    return output.done(), mean, rstd


def layer_norm_backward(
    grad: Any, x: Any, mean: Any, rstd: Any, weight: Any, need_weight: bool, need_bias: bool, rung: int
) -> tuple[Any, Any, Any]:
    """As `dlkit.kernels.layer_norm_backward`."""
    call = _Call("layer_norm_backward", x, ("grad", grad), ("mean", mean), ("rstd", rstd), ("weight", weight))
    same_shape(call.operation, ("grad", grad), ("x", x))
    rows, cols = call.rows()
    call.expect(x.shape[:-1], ("mean", mean), ("rstd", rstd))
    call.expect((cols,), ("weight", weight))
    by_x, by_weight, by_bias = call.gradients((cols,), need_weight, need_bias)
    if x.size:
        g, source, w, m, r = call.plain(grad, x, weight, mean, rstd)
        scratch = call.backend.scratch(call.library.layer_norm_backward_scratch(call.dtype, rows, cols))
        call.library.layer_norm_backward(
            *(*call.head, pointer(g), pointer(source), pointer(w), pointer(m), pointer(r), pointer(by_x)),
            *(pointer(by_weight), pointer(by_bias), pointer(scratch), rows, cols, rung),
        )
    else:
        _fill((by_weight, by_bias), 0)
    return by_x, by_weight, by_bias


def batch_norm(x: Any, weight: Any, bias: Any, eps: float, out: Any, rung: int) -> tuple[Any, Any, Any]:
    """As `dlkit.kernels.batch_norm`."""
    call = _Call("batch_norm", x, ("weight", weight), ("bias", bias), out=out)
    shape = call.channels()
    call.expect(shape[1:2], ("weight", weight), ("bias", bias))
    eps = call.eps(eps)
    output = call.output(out, ("weight", weight), ("bias", bias))
    mean, rstd = call.empty(shape[1:2]), call.empty(shape[1:2])
    if x.size:
        source, w, b = call.plain(x, weight, bias)
        scratch = call.backend.scratch(call.library.batch_norm_scratch(call.dtype, *shape))
        call.library.batch_norm(
            *(*call.head, pointer(source), pointer(w), pointer(b), pointer(output.target), pointer(mean)),
            *(pointer(rstd), *shape, eps, pointer(scratch), rung),
        )
    else:
        _fill((mean, rstd), np.nan)
    return output.done(), mean, rstd


def batch_norm_apply(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float, out: Any) -> Any:
    """As `dlkit.kernels.batch_norm_apply`, which has one variant on devices."""
    vectors = ("mean", mean), ("var", var), ("weight", weight), ("bias", bias)
    call = _Call("batch_norm_apply", x, *vectors, out=out)
    shape = call.channels()
    call.expect(shape[1:2], *vectors)
    eps = call.eps(eps)
    output = call.output(out, *vectors)
    if x.size:
        source, w, b, m, v = call.plain(x, weight, bias, mean, var)
        call.library.batch_norm_apply(
            *(*call.head, pointer(source), pointer(w), pointer(b), pointer(m), pointer(v)),
            *(pointer(output.target), *shape, eps),
        )
    return output.done()


def batch_norm_backward(
    grad: Any, x: Any, mean: Any, rstd: Any, weight: Any, need_weight: bool, need_bias: bool, rung: int
) -> tuple[Any, Any, Any]:
    """As `dlkit.kernels.batch_norm_backward`."""
    call = _Call("batch_norm_backward", x, ("grad", grad), ("mean", mean), ("rstd", rstd), ("weight", weight))
    same_shape(call.operation, ("grad", grad), ("x", x))
    shape = call.channels()
    call.expect(shape[1:2], ("mean", mean), ("rstd", rstd), ("weight", weight))
    by_x, by_weight, by_bias = call.gradients(shape[1:2], need_weight, need_bias)
    if x.size:
        g, source, w, m, r = call.plain(grad, x, weight, mean, rstd)
        scratch = call.backend.scratch(call.library.batch_norm_scratch(call.dtype, *shape))
        call.library.batch_norm_backward(
            *(*call.head, pointer(g), pointer(source), pointer(w), pointer(m), pointer(r), pointer(by_x)),
            *(pointer(by_weight), pointer(by_bias), *shape, pointer(scratch), rung),
        )
    else:
        _fill((by_weight, by_bias), 0)
    return by_x, by_weight, by_bias


class _Call:
    # One operation on x: its backend, its dtype, and the checks of what comes beside x.

    def __init__(self, operation: str, x: Any, *others: Named, out: Any = None) -> None:
        self.operation, self.x = operation, x
        self.backend: Backend = common_backend(operation, ("x", x), *others, ("out", out))
        self.library = self.backend.library
        self.dtype = code(operation, "x", x)
        for other in others:
            if other[1] is not None:
                same_dtype(operation, ("x", x), other)

    @property
    def head(self) -> tuple[int, int]:
        """The first arguments of every kernel."""
        return self.backend.stream(self.x), self.dtype

    def rows(self) -> tuple[int, int]:
        """The rows that x has, and the elements of each."""
        if self.x.ndim == 0:
            raise ValueError(f"{self.operation}: x is a scalar; expected at least one dimension")
        return prod(self.x.shape[:-1]), self.x.shape[-1]

    def channels(self) -> tuple[int, int, int]:
        """The samples of x, its channels, and the places of each."""
        shape = self.x.shape
        if len(shape) < 2:
            raise ValueError(
                f"{self.operation}: x is {text(shape)}; expected (N, C) or (N, C, ...), C channels"
            )
        return shape[0], shape[1], prod(shape[2:])

    def expect(self, shape: tuple[int, ...], *vectors: Named) -> None:
        """Raise ValueError unless vectors, those that are there, have a shape."""
        for argument, vector in vectors:
            if vector is not None and vector.shape != shape:
                raise ValueError(
                    f"{self.operation}: {argument} is {text(vector.shape)} but x is {text(self.x.shape)}; "
                    f"expected {text(shape)}"
                )

    def eps(self, eps: Any) -> float:
        """Return it as a number, if it is one of 0 or more."""
        if not isinstance(eps, (int, float, np.floating, np.integer)):
            raise TypeError(f"{self.operation}: eps is {eps!r}; expected a number")
        value = float(eps)
        if not 0 <= value < math.inf:
            raise ValueError(f"{self.operation}: eps is {value}; expected 0 or more")
        return value

    def output(self, out: Any, *vectors: Named) -> Output:
        """Where the result of the shape of x goes: it may be x itself, but none of the vectors."""
        output = Output(self.backend, self.operation, out, self.x.shape, self.x.dtype, (("x", self.x),))
        for argument, vector in vectors:
            if out is not None and vector is not None and overlap(out, vector):
                raise ValueError(f"{self.operation}: out overlaps {argument}; expected memory of its own")
        return output

    def empty(self, shape: tuple[int, ...]) -> Any:
        return self.backend.xp.empty(shape, self.x.dtype)

    def gradients(self, shape: tuple[int, ...], need_weight: bool, need_bias: bool) -> tuple[Any, Any, Any]:
        """Memory for the gradients by x, weight and bias; None for one that is not needed."""
        vectors = (self.empty(shape) if needed else None for needed in (need_weight, need_bias))
        return self.empty(self.x.shape), *vectors

    def plain(self, *arrays: Any) -> list[Any]:
        """The arrays as kernels take them; None stays."""
        return [None if array is None else contiguous(self.backend, array) for array in arrays]


def _fill(arrays: tuple[Any, ...], value: float) -> None:
    for array in arrays:
        if array is not None:
            array.fill(value)
