"""Embeddings: rows of a table by their numbers, and the way back (csrc/layers/embedding.cpp, embedding.cu)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array
from dlkit.kernels.layers import device_rung_of, rung_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["embedding", "embedding_backward"]

devices: Any = OnDemand("dlkit.kernels.device_embedding")

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
        On a device an index out of range gives a row of NaN: to raise would mean to wait for the device.

    Raises
    ------
    TypeError
        If `weight` is not of float32 or float64, or `indices` not of integers.
    ValueError
        If `weight` is no matrix, or `out` has another shape, is read-only or shares memory with `weight`.
    IndexError
        On the CPU, before anything is written, if an index is out of range: the message names its place, value and
        range.
    """
    if type(weight) is not _ndarray:
        if is_device_array(weight):
            rung = device_rung_of(variant, "embedding", weight)
            return devices.embedding(weight, indices, out, rung)  # type: ignore[no-any-return]
        weight = as_array(weight, "embedding", "weight")
    result: NDArray[Any] = _embedding(
        weight, _integers(indices, "embedding"), out, rung_of(variant, "embedding")
    )
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
        On devices also "atomic", whose order of additions is left to chance.

    Returns
    -------
    array of shape (V, D)
        Sums in order of position: the same bits on any number of threads. On a device a gradient at an index out of
        range is added to no row.

    Raises
    ------
    TypeError
        If `grad` is not of float32 or float64, or `indices` not of integers.
    ValueError
        If shapes do not fit, or `padding_idx` is no row.
    IndexError
        On the CPU, if an index is out of range.
    """
    if type(grad) is not _ndarray:
        if is_device_array(grad):
            return devices.embedding_backward(  # type: ignore[no-any-return]
                *(grad, indices, num_embeddings, padding_idx, out, bool(accumulate)),
                device_rung_of(variant, "embedding_backward", grad),
            )
        grad = as_array(grad, "embedding_backward", "grad")
    result: NDArray[Any] = _embedding_backward(
        grad,
        _integers(indices, "embedding_backward"),
        num_embeddings,
        padding_idx,
        out,
        bool(accumulate),
        rung_of(variant, "embedding"),
    )
    return result


def _integers(indices: Any, operation: str) -> NDArray[Any]:
    if type(indices) is _ndarray:
        return indices
    if is_device_array(indices):
        as_array(indices, operation, "indices")  # raises
    array = np.asarray(indices)
    return array.astype(np.int64) if array.size == 0 and isinstance(indices, (list, tuple)) else array
