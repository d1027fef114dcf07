"""A table that is zero nearly everywhere, as its other elements row by row (compressed sparse rows)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError


class SparseRows:
    """The elements of a table that are not zero.

    Parameters
    ----------
    starts
        int64, shape (rows + 1,): where each row begins in `indices` and `values`; the last is their length.
    indices
        int32: the column of each element, rising within a row.
    values
        float32: the elements.
    columns
        Of the table.

    Raises
    ------
    DataError
        The three do not fit together.
    """

    def __init__(
        self, starts: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32], columns: int
    ) -> None:
        ends = (
            len(starts) > 0 and starts[0] == 0 and starts[-1] == len(indices) and len(values) == len(indices)
        )
        if not ends or (np.diff(starts) < 0).any():
            raise DataError("SparseRows: starts, indices and values do not fit together")
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < columns:
            raise DataError(
                f"SparseRows: indices lie in {indices.min()} … {indices.max()}, expected 0 … {columns - 1}"
            )
        self.starts, self.indices, self.values, self.columns = starts, indices, values, columns

    @classmethod
    def counted(cls, rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> SparseRows:
        """How often each pair of a row and a column occurs; both integers of one length, in any order."""
        keys, counts = np.unique(np.asarray(rows, np.int64) * shape[1] + columns, return_counts=True)
        starts = np.searchsorted(keys, np.arange(shape[0] + 1, dtype=np.int64) * shape[1])
        return cls(starts, (keys % shape[1]).astype(np.int32), counts.astype(np.float32), shape[1])

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self.columns

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.starts.nbytes + self.indices.nbytes + self.values.nbytes

    @property
    def row_of(self) -> NDArray[np.int64]:
        """The row of each element."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, rows: NDArray[Any]) -> SparseRows:
        """Some rows, in the order given."""
        rows = np.asarray(rows, np.int64)
        lengths = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return SparseRows(starts, self.indices[at], self.values[at], self.columns)

    def dense(self) -> NDArray[np.float32]:
        """The table with its zeros, shape (rows, columns)."""
        table = np.zeros(self.shape, np.float32)
        table[self.row_of, self.indices] = self.values
        return table

    def __matmul__(self, table: NDArray[Any]) -> NDArray[np.float64]:
        """The product with a dense table of shape (columns, D): each row the weighted sum of that table's rows."""
        product = np.zeros((len(self), table.shape[1]))
        if len(self.indices):
            weighted = table[self.indices] * self.values[:, None].astype(np.float64)
            filled = np.diff(self.starts) > 0
            product[filled] = np.add.reduceat(weighted, self.starts[:-1][filled])
        return product

    def cosine(self, one: int, other: int) -> float:
        """The cosine of two rows; 0 where one of them is all zeros."""
        (i, x), (j, y) = (self._row(number) for number in (one, other))
        _, at, to = np.intersect1d(i, j, assume_unique=True, return_indices=True)
        length = float(np.linalg.norm(x) * np.linalg.norm(y))
        return float(x[at] @ y[to]) / length if length > 0 else 0.0

    def _row(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        part = slice(self.starts[number], self.starts[number + 1])
        return self.indices[part], self.values[part].astype(np.float64)
