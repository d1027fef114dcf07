"""Embeddings of device arrays: checks, scratch memory, and one call of a kernel each.

Every function takes what the one of that name in `dlkit.kernels.embedding` takes, where the texts are. Nothing waits
for the device, so that an index out of range raises nothing.
"""

from __future__ import annotations

import operator
from math import prod
from typing import Any

import numpy as np

from dlkit.kernels.backend import Backend
from dlkit.kernels.device_operands import Output, code, common_backend, contiguous, overlap, pointer, text


def embedding(weight: Any, indices: Any, out: Any, rung: int) -> Any:
    """As `dlkit.kernels.embedding`, but that an index out of range gives a row of NaN."""
    operation = "embedding"
    backend = common_backend(operation, ("weight", weight), ("indices", indices), ("out", out))
    dtype = code(operation, "weight", weight)
    if weight.ndim != 2:
        raise ValueError(f"{operation}: weight is {text(weight.shape)}; expected (V, D)")
    _check_integers(operation, indices)
    rows, cols = weight.shape
    shape = (*indices.shape, cols)
    output = Output(backend, operation, out, shape, weight.dtype, (("weight", weight),), in_place=False)
    _check_apart(operation, out, indices)
    if not rows:
        output.target.fill(np.nan)
    elif output.target.size:
        table, numbers = contiguous(backend, weight), _numbers(backend, indices)
        backend.library.embedding(
            *(backend.stream(weight), dtype, pointer(table), rows, cols, pointer(numbers), indices.size),
            *(pointer(output.target), rung),
        )
    return output.done()


def embedding_backward(
    grad: Any,
    indices: Any,
    num_embeddings: int,
    padding_idx: int | None,
    out: Any,
    accumulate: bool,
    rung: int,
) -> Any:
    """As `dlkit.kernels.embedding_backward`, but that the gradient at an index out of range goes nowhere."""
    operation = "embedding_backward"
    backend = common_backend(operation, ("grad", grad), ("indices", indices), ("out", out))
    dtype = code(operation, "grad", grad)
    rows = _integer(operation, "num_embeddings", num_embeddings)
    if rows < 0:
        raise ValueError(f"{operation}: num_embeddings is {rows}; expected 0 or more")
    _check_integers(operation, indices)
    if grad.ndim != indices.ndim + 1 or grad.shape[:-1] != indices.shape:
        raise ValueError(
            f"{operation}: grad is {text(grad.shape)} but indices is {text(indices.shape)}; "
            "expected the shape of indices and one dimension more"
        )
    padding = -1 if padding_idx is None else _integer(operation, "padding_idx", padding_idx)
    if padding_idx is not None and not 0 <= padding < rows:
        raise ValueError(f"{operation}: padding_idx is {padding}; expected 0 to {rows - 1} or None")
    if accumulate and out is None:
        raise ValueError(f"{operation}: accumulate=True needs out, the array to add to")
    cols = grad.shape[-1]
    output = Output(
        *(backend, operation, out, (rows, cols), grad.dtype, (("grad", grad),)),
        in_place=False,
        keep=accumulate,
    )
    _check_apart(operation, out, indices)
    count = prod(indices.shape)
    if not count and not accumulate:
        output.target.fill(0)
    elif count and rows and cols:
        gradient, numbers = contiguous(backend, grad), _numbers(backend, indices)
        # The kernel writes over what is there.
        target = backend.xp.empty((rows, cols), grad.dtype) if accumulate else output.target
        scratch = backend.scratch(backend.library.embedding_backward_scratch(dtype, count, rows, cols))
        backend.library.embedding_backward(
            *(backend.stream(grad), dtype, pointer(gradient), pointer(numbers), count, rows, cols, padding),
            *(pointer(target), pointer(scratch), rung),
        )
        if accumulate:
            np.add(output.target, target, out=output.target)
    return output.done()


def _check_integers(operation: str, indices: Any) -> None:
    if indices.dtype.kind not in "iu":
        raise TypeError(
            f"{operation}: indices has dtype {indices.dtype}; expected integers, the number of a row each"
        )


def _check_apart(operation: str, out: Any, indices: Any) -> None:
    if out is not None and overlap(out, indices):
        raise ValueError(f"{operation}: out overlaps indices; expected memory of its own")


def _numbers(backend: Backend, indices: Any) -> Any:
    return contiguous(backend, indices.astype(np.int64, copy=False))


def _integer(operation: str, argument: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{operation}: {argument} is a {type(value).__name__}; expected an integer") from None
