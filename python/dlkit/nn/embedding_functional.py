"""Embeddings as a function; `functional` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array, make, record, shape_text
from dlkit.autograd.gradients import claim, settle
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import mixed_devices

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_ndarray = np.ndarray


def row_number(padding_idx: Any, num_embeddings: int, operation: str) -> int | None:
    """Return `padding_idx` counted from the front, or None.

    Raises
    ------
    TypeError, ValueError
        If it is no integer, or no row of so many.
    """
    if padding_idx is None:
        return None
    if isinstance(padding_idx, bool) or not hasattr(padding_idx, "__index__"):
        raise TypeError(
            f"{operation}: padding_idx is a {type(padding_idx).__name__}; expected an integer or None"
        )
    number = int(padding_idx.__index__())
    if not -num_embeddings <= number < num_embeddings:
        raise ValueError(
            f"{operation}: padding_idx is {number}; expected {-num_embeddings} to {num_embeddings - 1}"
        )
    return number % num_embeddings


def embedding(x: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Take the rows of `weight` that `x` numbers.

    Parameters
    ----------
    x : integer Tensor or array of any shape
        From 0 to num_embeddings - 1.
    weight : Tensor of shape (num_embeddings, embedding_dim)
    padding_idx : int, optional
        A row that gets no gradient. Negative ones count from the end.

    Returns
    -------
    Tensor of shape (*x.shape, embedding_dim)

    Raises
    ------
    TypeError
        If x holds no integers, weight is no Tensor of float32 or float64, or they are on different devices.
    ValueError
        If weight is no matrix, or padding_idx no row of it.
    IndexError
        On the CPU, if a number is out of range; the message names its place, value and range. On other devices, where
        to raise would mean to wait, its row is NaN, and gets no gradient.

    Notes
    -----
    The gradient by weight is dense: sums in order of position, the same bits on any number of threads.
    """
    if not isinstance(weight, TensorBase):
        raise TypeError(f"embedding: weight is a {type(weight).__name__}; expected a Tensor")
    table = weight._array
    if table.ndim != 2:
        raise ValueError(
            f"embedding: weight is {shape_text(table.shape)}; expected (num_embeddings, embedding_dim)"
        )
    rows = table.shape[0]
    padding = row_number(padding_idx, rows, "embedding")
    indices = as_array(x, "embedding", "x", like=table)
    if indices.size == 0 and isinstance(x, (list, tuple)):
        indices = indices.astype(np.int64)
    if indices.dtype.kind not in "iu":
        raise TypeError(
            f"embedding: x is of dtype {indices.dtype}; expected integers, the number of a row each"
        )
    if not indices.__class__ is table.__class__ is _ndarray:
        mixed = mixed_devices("embedding", [("x", indices), ("weight", table)])
        if mixed is not None:
            raise mixed
    out = kernels.embedding(table, indices)
    if not weight._tracked or not mode.enabled:
        return make(out)
    tensor = x if isinstance(x, TensorBase) else None
    # An array may be changed before the backward pass; changes of a tensor are noticed.
    kept = indices if tensor is not None else indices.copy()

    def backward(g: Array, direct: bool) -> tuple[Array | None, ...]:
        if not direct or weight._node is not None or weight._hooks:
            return (kernels.embedding_backward(g, kept, rows, padding),)
        present = weight._grad
        if present is not None:
            kernels.embedding_backward(g, kept, rows, padding, out=present._array, accumulate=True)
        else:
            target = claim(weight)
            kernels.embedding_backward(g, kept, rows, padding, out=target._array)
            settle(weight, target)
        return (None,)

    return record("embedding", out, (weight,), backward, None if tensor is None else (tensor,), direct=True)
