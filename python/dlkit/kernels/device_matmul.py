"""Matrix product of device arrays: checks, strides, stacks of matrices, and one call of the kernels.

The kernels take the strides of rows and columns (one of them 1), a stride from matrix to matrix and a count. So a
transpose costs nothing, a stack that is broadcast has the stride 0, and a stack on the left of one matrix is a taller
matrix. What does not fit is copied first.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from dlkit.kernels import precision as precisions
from dlkit.kernels.backend import Backend, backend_named, nearest, to_host
from dlkit.kernels.device_operands import (
    CODES,
    Output,
    code,
    common_backend,
    contiguous,
    pointer,
    same_dtype,
    text,
)

_ACTIVATIONS = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}
_DTYPES = tuple(CODES)

_work = {"flops": 0, "bytes": 0, "calls": 0}


def counters() -> dict[str, int]:
    """Return the work of products on devices, as `dlkit.kernels.counters` counts it."""
    return dict(_work)


def reset_counters() -> None:
    """Set the work counters to zero."""
    for name in _work:
        _work[name] = 0


def variants(backend: str) -> list[tuple[str, str, str]]:
    """Return (name, idea, needs) of each variant that a backend has."""
    return [(row[0], row[1], row[2]) for row in backend_named(backend).library.matmul_variants()]


def matmul_on(backend: str, a: Any, b: Any, *, out: Any, bias: Any, **settings: Any) -> Any:
    """Run NumPy arrays on a device, and return a NumPy array."""
    from dlkit.kernels.backend import resolve_device

    there, device = backend_named(backend), resolve_device(backend, "matmul")

    def moved(array: Any) -> Any:
        return None if array is None else there.from_host(array, device)

    accumulated = moved(out) if settings["accumulate"] else None
    result = to_host(matmul(moved(a), moved(b), out=accumulated, bias=moved(bias), **settings))
    if out is None:
        return result
    if out.shape != result.shape or out.dtype != result.dtype:
        raise ValueError(
            f"matmul: out is {text(out.shape)} of {out.dtype}; expected {text(result.shape)} of {result.dtype}"
        )
    np.copyto(out, result)
    return out


class _Stack:
    """An operand as a stack of matrices: sizes, and strides in elements."""

    def __init__(self, array: Any, transposed: bool, left: bool) -> None:
        self.array = array
        item = array.itemsize
        strides = tuple(s // item if s % item == 0 else None for s in array.strides)
        self.rows: int
        self.cols: int
        self.row: Any
        self.col: Any
        self.batch: tuple[int, ...] = array.shape[:-2]
        self.steps: tuple[Any, ...] = strides[:-2]
        if array.ndim == 1:
            length, step = array.shape[0], strides[0]
            self.rows, self.cols = (1, length) if left else (length, 1)
            self.row, self.col = (length, step) if left else (step, 1)
        else:
            self.rows, self.cols = array.shape[-2:]
            self.row, self.col = strides[-2:]
            if transposed:
                self.rows, self.cols, self.row, self.col = self.cols, self.rows, self.col, self.row
        self.step = 0

    def fits(self, batch: tuple[int, ...]) -> bool:
        """Set the strides as kernels take them; False if the operand has to be copied first."""
        # A dimension of one element may have any stride.
        if self.rows == 1:
            self.row = self.cols if self.col == 1 or self.cols == 1 else 1
        if self.cols == 1:
            self.col = 1
        plain = (
            self.row is not None
            and self.col is not None
            and ((self.col == 1 and self.row >= self.cols) or (self.row == 1 and self.col >= self.rows))
        )
        step = self._batch_step(batch)
        if not plain or step is None or self.array.data.ptr % self.array.itemsize:
            return False
        self.step = step
        return True

    def _batch_step(self, batch: tuple[int, ...]) -> int | None:
        # One stride from each matrix to the next in row-major order of the result's stack, or None.
        step, count = None, 1
        offset = len(batch) - len(self.batch)
        for i in reversed(range(len(batch))):
            if batch[i] == 1:
                continue
            own = i - offset
            stride = 0 if own < 0 or self.batch[own] == 1 else self.steps[own]
            if stride is None or stride < 0 or (step is not None and stride != step * count):
                return None
            if step is None:
                step = stride
            count *= batch[i]
        return 0 if step is None else step


def _stack(backend: Backend, array: Any, transposed: bool, left: bool, batch: tuple[int, ...]) -> _Stack:
    stack = _Stack(array, transposed, left)
    if stack.fits(batch):
        return stack
    matrices = contiguous(backend, array)
    stack = _Stack(matrices, transposed, left)
    if stack.fits(batch):
        return stack
    # A stack that is broadcast along some of its dimensions: repeated in memory.
    spread = np.broadcast_to(matrices, (*batch, *matrices.shape[-2:]))
    stack = _Stack(contiguous(backend, spread), transposed, left)
    stack.fits(batch)
    return stack


def matmul(
    a: Any,
    b: Any,
    *,
    out: Any = None,
    trans_a: bool = False,
    trans_b: bool = False,
    bias: Any = None,
    activation: str | None = None,
    accumulate: bool = False,
    variant: str | None = None,
    precision: str | None = None,
) -> Any:
    """As `dlkit.kernels.matmul`, of arrays on one device."""
    operation = "matmul"
    backend = common_backend(operation, ("a", a), ("b", b), ("bias", bias), ("out", out))
    dtype = code(operation, "a", a, _DTYPES)
    code(operation, "b", b, _DTYPES)
    same_dtype(operation, ("a", a), ("b", b))
    if activation not in _ACTIVATIONS:
        names = tuple(name for name in _ACTIVATIONS if name)
        raise ValueError(
            f"matmul: activation is {activation!r}; expected None, 'relu', 'sigmoid' or 'tanh'"
            + nearest(str(activation), names)
        )
    if variant is not None:
        names = tuple(row[0] for row in backend.library.matmul_variants())
        if (
            str(variant).partition("/")[0] not in names
        ):  # a tile of it, such as warp_tiled/128x64, the library looks up
            raise ValueError(
                f"matmul: variant is {variant!r}; expected None or one of {', '.join(names)}"
                + nearest(str(variant), names)
            )
    for argument, array, transposed in (("a", a, trans_a), ("b", b, trans_b)):
        if array.ndim == 0:
            raise ValueError(f"matmul: {argument} is a scalar; expected at least one dimension")
        if transposed and array.ndim < 2:
            raise ValueError(
                f"matmul: trans_{argument}=True but {argument} is {text(array.shape)}; expected at least two dimensions"
            )
    left, right = _Stack(a, trans_a, True), _Stack(b, trans_b, False)
    if left.cols != right.rows:
        raise ValueError(_inner(a, b, trans_a, trans_b, left, right))
    m, n, k = left.rows, right.cols, left.cols
    try:
        batch: tuple[int, ...] = np.broadcast_shapes(left.batch, right.batch)
    except ValueError:
        raise ValueError(
            f"matmul: a is {text(a.shape)} but b is {text(b.shape)}: batch dimensions {text(left.batch)} and "
            f"{text(right.batch)} differ, and neither is 1"
        ) from None
    kind = a.dtype
    if out is not None and out.dtype != kind:
        # Of half precision the sum may be kept as it was added up, in float32.
        if dtype < CODES["float16"] or out.dtype != np.float32:
            raise TypeError(f"matmul: a is {kind.name} but out is {out.dtype.name}; expected one dtype")
        kind = out.dtype
    if bias is not None:
        if bias.dtype != kind:
            raise TypeError(f"matmul: a is {kind.name} but bias is {bias.dtype.name}; expected one dtype")
        if bias.shape != (n,):
            raise ValueError(
                f"matmul: bias is {text(bias.shape)}; expected {text((n,))}, one for each column"
            )
    if accumulate and out is None:
        raise ValueError("matmul: accumulate=True needs out, the array to add to")
    if accumulate and activation is not None:
        raise ValueError("matmul: accumulate=True adds to out; expected activation=None with it")
    shape = (*batch, *(() if a.ndim == 1 else (m,)), *(() if b.ndim == 1 else (n,)))
    mode = precisions.code(precision, operation) if dtype == CODES["float32"] else 0
    output = Output(
        backend,
        operation,
        out,
        shape,
        kind,
        (("a", a), ("b", b), ("bias", bias)),
        in_place=False,
        keep=accumulate,
    )
    target, count = output.target, prod(batch)
    _work["flops"] += 2 * m * n * k * count
    _work["bytes"] += (m * k + k * n + m * n) * a.itemsize * count
    _work["calls"] += 1
    if not target.size:
        return output.done()
    if not k:
        _of_nothing(target, bias, activation, accumulate)
        return output.done()
    left = _stack(backend, a, trans_a, True, batch)
    right = _stack(backend, b, trans_b, False, batch)
    shift = None if bias is None else contiguous(backend, bias)
    if right.step == 0 and count > 1 and left.col == 1 and left.step == m * left.row:
        m, count = m * count, 1  # the stack's rows one after another are the rows of one matrix
    library, out_dtype = backend.library, CODES[kind.name]
    sizes = m, n, k, count
    strides = left.row, left.col, right.row, right.col
    nbytes = library.matmul_workspace(dtype, out_dtype, variant, mode, *sizes, *strides)
    workspace = backend.scratch(nbytes)
    library.matmul(
        *(backend.stream(a), dtype, out_dtype, variant, mode, *sizes),
        *(pointer(left.array), left.row, left.col, left.step),
        *(pointer(right.array), right.row, right.col, right.step),
        *(pointer(target), n, m * n, pointer(shift), _ACTIVATIONS[activation], bool(accumulate)),
        *(pointer(workspace), nbytes),
    )
    return output.done()


def _of_nothing(target: Any, bias: Any, activation: str | None, accumulate: bool) -> None:
    # The sum over no elements is 0.
    if not accumulate:
        target.fill(0)
    if bias is not None:
        np.add(target, bias, out=target)
    if activation == "relu":
        np.maximum(target, 0, out=target)
    elif activation == "tanh":
        np.tanh(target, out=target)
    elif activation == "sigmoid":
        np.copyto(target, 1 / (1 + np.exp(-target)))


def _inner(a: Any, b: Any, trans_a: bool, trans_b: bool, left: _Stack, right: _Stack) -> str:
    message = (
        f"matmul: a is {text(a.shape)}{' transposed' if trans_a else ''} but b is {text(b.shape)}"
        f"{' transposed' if trans_b else ''}: inner dimensions {left.cols} and {right.rows} differ"
    )
    if b.ndim > 1 and right.cols == left.cols:
        return message + f" (did you mean trans_b={not trans_b}?)"
    if a.ndim > 1 and left.rows == right.rows:
        return message + f" (did you mean trans_a={not trans_a}?)"
    return message
