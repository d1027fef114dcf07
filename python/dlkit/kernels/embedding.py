"""Embeddings: rows of a table by their numbers, and the way back (csrc/layers/embedding.cpp)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import as_array
from dlkit.kernels.layers import _rung

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["embedding", "embedding_backward"]

_ndarray = np.ndarray
_embedding = _cpu.embedding
_embedding_backward = _cpu.embedding_backward


def embedding(
    weight: Any, indices: Any, *, out: NDArray[Any] | None = None, variant: str | None = None
) -> NDArray[Any]:
    """Take the rows of a table that `indices` number: ``weight[indices]``.

    Parameters
    ----------
    weight : array of shape (V, D), float32 or float64
    indices : integer array of any shape
        From 0 to V - 1. Any integer dtype and strides.
    out : array of shape (*indices.shape, D), optional
    variant : {"naive", "fused"}, optional

    Returns
    -------
    array of shape (*indices.shape, D)

    Raises
    ------
    TypeError
        If `weight` is not of float32 or float64, or `indices` not of integers.
    ValueError
        If `weight` is no matrix, or `out` has another shape, is read-only or shares memory with `weight`.
    IndexError
        Before anything is written, if an index is out of range: the message names its place, value and range.
    """
    if type(weight) is not _ndarray:
        weight = as_array(weight, "embedding", "weight")
    result: NDArray[Any] = _embedding(weight, _integers(indices), out, _rung(variant, "embedding"))
    return result


def embedding_backward(
    grad: Any,
    indices: Any,
    num_embeddings: int,
    padding_idx: int | None = None,
    *,
    out: NDArray[Any] | None = None,
    accumulate: bool = False,
    variant: str | None = None,
) -> NDArray[Any]:
    """Return the gradient by the table from `grad`, the gradient by the rows that were taken.

    Row v of it is the sum of the gradients at the places where `indices` is v.

    Parameters
    ----------
    grad : array of shape (*indices.shape, D), float32 or float64
    indices : integer array of any shape
        As `embedding` took them.
    num_embeddings : int
        The number V of rows of the table.
    padding_idx : int, optional
        A row whose gradient is 0 (nothing is added to it).
    out : array of shape (V, D), optional
    accumulate : bool
        Add to what `out` holds. Needs `out`.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    array of shape (V, D)
        Sums in order of position: the same bits on any number of threads.

    Raises
    ------
    TypeError
        If `grad` is not of float32 or float64, or `indices` not of integers.
    ValueError
        If shapes do not fit, or `padding_idx` is no row.
    IndexError
        If an index is out of range.
    """
    if type(grad) is not _ndarray:
        grad = as_array(grad, "embedding_backward", "grad")
    result: NDArray[Any] = _embedding_backward(
        grad,
        _integers(indices),
        num_embeddings,
        padding_idx,
        out,
        bool(accumulate),
        _rung(variant, "embedding"),
    )
    return result


def _integers(indices: Any) -> NDArray[Any]:
    if type(indices) is _ndarray:
        return indices
    array = np.asarray(indices)
    return array.astype(np.int64) if array.size == 0 and isinstance(indices, (list, tuple)) else array
