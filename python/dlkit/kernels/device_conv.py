"""Convolution of device arrays: checks, scratch memory, and one call of the kernels.

Every function takes what those of `dlkit.kernels.conv` hand over, where the texts are. Shapes and settings are checked
by the module of kernels, in the CPU's words. Nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit.kernels import precision as precisions
from dlkit.kernels.backend import Backend, backend_named, nearest
from dlkit.kernels.conv import conv_geometry
from dlkit.kernels.device_operands import (
    Output,
    code,
    common_backend,
    contiguous,
    overlap,
    pointer,
    same_dtype,
    text,
)
from dlkit.kernels.integers import integers

_FORWARD, _BACKWARD_INPUT, _BACKWARD_WEIGHT = range(3)
_SUFFIXES = "", "_backward_input", "_backward_weight"


def ladders(backend: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return (name, idea, needs) of each variant of each operation that a backend has."""
    tables = backend_named(backend).library.conv_variants()
    return {f"conv{dims}d{suffix}": tables[suffix] for dims in (2, 1) for suffix in _SUFFIXES}


class _Call:
    """What the three operations have in common: which kernel, for which shapes, and what the result's shape is."""

    def __init__(
        self,
        kind: int,
        dims: int,
        first: tuple[str, Any],
        second: tuple[str, Any],
        size: Sequence[int],
        kernel: Sequence[int],
        settings: Any,
        variant: str | None,
        others: tuple[tuple[str, Any], ...],
    ) -> None:
        self.operation = operation = f"conv{dims}d{_SUFFIXES[kind]}"
        self.inputs = first, second
        self.backend: Backend = common_backend(operation, first, second, *others)
        dtype = code(operation, *first)
        code(operation, *second)
        same_dtype(operation, first, second)
        geometry = tuple(conv_geometry(operation, dims, kernel, settings))
        library = self.backend.library
        if variant is not None:
            names = tuple(row[0] for row in library.conv_variants()[_SUFFIXES[kind]])
            # A tile of one, such as implicit_gemm/64x64, the library looks up.
            if str(variant).partition("/")[0] not in names:
                raise ValueError(
                    f"{operation}: variant is {variant!r}; expected None or one of {', '.join(names)}"
                    + nearest(str(variant), names)
                )
        precision = precisions.code(None, operation) if dtype == 0 else 0
        shapes = tuple(first[1].shape), tuple(second[1].shape)
        self.arguments = kind, dims, dtype, precision, variant, *shapes, tuple(size), geometry
        self.shape, _, self.scratch = library.conv_plan(*self.arguments)

    def run(self, bias: Any, target: Any, relu: bool = False, accumulate: bool = False) -> None:
        """Launch the kernels."""
        first, second = (contiguous(self.backend, array) for _, array in self.inputs)
        shift = None if bias is None else contiguous(self.backend, bias)
        workspace = self.backend.scratch(self.scratch)
        self.backend.library.conv(
            *(self.backend.stream(first), *self.arguments, pointer(first), pointer(second), pointer(shift)),
            *(pointer(target), relu, accumulate, pointer(workspace)),
        )


def conv(
    dims: int,
    x: Any,
    weight: Any,
    bias: Any,
    settings: Any,
    activation: str | None,
    out: Any,
    variant: str | None,
) -> Any:
    """As `dlkit.kernels.conv2d` and `conv1d`, of arrays on one device."""
    call = _Call(
        *(_FORWARD, dims, ("x", x), ("weight", weight), (0, 0), _kernel(weight, dims), settings, variant),
        (("bias", bias), ("out", out)),
    )
    operation, filters = call.operation, weight.shape[0]
    if bias is not None:
        same_dtype(operation, ("x", x), ("bias", bias))
        if bias.shape != (filters,):
            raise ValueError(
                f"{operation}: bias is {text(bias.shape)}; expected {text((filters,))}, one element per filter"
            )
    inputs = *call.inputs, ("bias", bias)
    output = Output(call.backend, operation, out, call.shape, x.dtype, inputs, in_place=False)
    call.run(bias, output.target, relu=activation == "relu")
    return output.done()


def conv_backward_input(
    dims: int, grad: Any, weight: Any, input_size: Any, settings: Any, out: Any, variant: str | None
) -> Any:
    """As `dlkit.kernels.conv2d_backward_input` and that of `conv1d`, of arrays on one device."""
    size = ([1] * dims + integers(input_size, dims, f"conv{dims}d_backward_input", "input_size"))[-2:]
    call = _Call(
        *(_BACKWARD_INPUT, dims, ("grad", grad), ("weight", weight), size, _kernel(weight, dims)),
        *(settings, variant, (("out", out),)),
    )
    output = Output(call.backend, call.operation, out, call.shape, grad.dtype, call.inputs, in_place=False)
    call.run(None, output.target)
    return output.done()


def conv_backward_weight(
    dims: int,
    grad: Any,
    x: Any,
    kernel: Any,
    settings: Any,
    with_bias: bool,
    outs: tuple[Any, Any, bool],
    variant: str | None,
) -> tuple[Any, Any]:
    """As `dlkit.kernels.conv2d_backward_weight` and that of `conv1d`, of arrays on one device."""
    out, out_bias, accumulate = outs
    sizes = integers(kernel, dims, f"conv{dims}d_backward_weight", "kernel_size")
    if not with_bias:
        out_bias = None
    call = _Call(
        *(_BACKWARD_WEIGHT, dims, ("grad", grad), ("x", x), ([1] * dims + sizes)[-2:], sizes),
        *(settings, variant, (("out", out), ("out_bias", out_bias))),
    )
    operation, backend, inputs = call.operation, call.backend, call.inputs
    if accumulate and (out is None or (with_bias and out_bias is None)):
        raise ValueError(
            f"{operation}: accumulate=True needs "
            + ("out and out_bias, the arrays to add to" if with_bias else "out, the array to add to")
        )
    keep = bool(accumulate)
    output = Output(backend, operation, out, call.shape, grad.dtype, inputs, in_place=False, keep=keep)
    sums = None
    if with_bias:
        sums = Output(
            *(backend, operation, out_bias, call.shape[:1], grad.dtype, inputs), in_place=False, keep=keep
        )
        if out is not None and out_bias is not None and overlap(out, out_bias):
            raise ValueError(f"{operation}: out_bias overlaps out; expected memory of its own")
    call.run(None if sums is None else sums.target, output.target, accumulate=keep)
    return output.done(), None if sums is None else sums.done()


def _kernel(weight: Any, dims: int) -> Sequence[int]:
    # Of a weight of another number of dimensions, which the module of kernels refuses, something of the right length.
    return tuple(weight.shape[2:]) if len(weight.shape) == dims + 2 else (1,) * dims
