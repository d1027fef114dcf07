"""The nearest of many vectors, exactly: a matrix product and the choice of its largest elements in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["nearest"]


def nearest(
    queries: Any, vectors: Any, k: int, *, scale: Any | None = None, variant: str | None = None
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the `k` vectors with the largest scores for each query: ``scale * (vectors @ query)``.

    With ``scale = 1 / |vectors|`` and queries of length 1 the scores are cosines, and no second, normalised copy of the
    vectors is needed.

    Parameters
    ----------
    queries : array of shape (Q, D) or (D,), float32 or float64
    vectors : array of shape (V, D), dtype of the queries
        Any strides: a slice of rows or columns is taken as it is.
    k : int
        1 to V.
    scale : array of shape (V,), dtype of the vectors, optional
    variant : str, optional
        One of ``variants("nearest")``.

    Returns
    -------
    indices : int64 array of shape (Q, k) or (k,)
        The best first; of equal scores the earlier vector first. A score that is NaN or minus infinity is none: where
        fewer than k others are there, the rest is -1.
    scores : array of the same shape, dtype of the vectors

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or their dtypes differ.
    ValueError
        If shapes do not fit, k is out of its bounds, or the variant is unknown.

    Notes
    -----
    Memory is bounded: besides the result each thread has about 1 MB, and 16 (2 k + 512) bytes for each of up to 1,024
    queries.

    Johnson, Douze & Jégou, "Billion-scale similarity search with GPUs", 2017. Sources: csrc/word2vec/nearest.cpp.
    """
    asked, rows = as_array(queries, "nearest", "queries"), as_array(vectors, "nearest", "vectors")
    factors = None if scale is None else np.ascontiguousarray(as_array(scale, "nearest", "scale"))
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise TypeError(f"nearest: k is {k!r}; expected an integer")
    if not -(1 << 62) < k < 1 << 62:
        raise ValueError(f"nearest: k is {k}; expected 1 to the number of vectors")
    single = asked.ndim == 1
    indices, scores = _cpu.nearest(asked[None] if single else asked, rows, factors, int(k), variant)
    return (indices[0], scores[0]) if single else (indices, scores)


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the rows of `dlkit.kernels.variants`."""
    return _cpu.nearest_variants()
