"""Mini-batches of sparse rows, which get their zeros only when they are handed out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .resumable import ResumableBatches, integer
from .sparse_rows import SparseRows


class SparseBatches(ResumableBatches):
    """Mini-batches of ``(x, y)``, x float32 (batch, columns): only one batch of the table is in memory with its zeros.

    The order of an epoch is drawn from seed and epoch alone. `state_dict` and `load_state_dict` are those of `Batches`.

    Parameters
    ----------
    rows
        The samples.
    labels
        Class numbers, shape (rows,).
    batch_size
        Samples per batch; the last may be smaller.
    seed
        Of the order.

    Raises
    ------
    DataError
        No samples, or not as many labels, or a setting is out of range.
    """

    def __init__(
        self, rows: SparseRows, labels: NDArray[np.int64], batch_size: int = 64, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.rows, self.labels = rows, np.asarray(labels)
        if not len(rows) or self.labels.shape != (len(rows),):
            raise DataError(
                f"SparseBatches: {len(rows)} rows and labels of shape {self.labels.shape}, expected as many, 1 at least"
            )
        self.batch_size = integer("SparseBatches", "batch_size", batch_size, 1)
        self.seed = integer("SparseBatches", "seed", seed, 0, below=2**64)

    @property
    def samples(self) -> int:
        """Samples handed out per epoch."""
        return len(self.rows)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""
        key = np.array([self.seed, self._epoch], dtype=np.uint64)
        order = np.random.Generator(np.random.Philox(key=key)).permutation(len(self.rows))
        start, self._resume_at = self._resume_at, 0
        for number in range(start, len(self)):
            some = order[number * self.batch_size : (number + 1) * self.batch_size]
            self._position = number + 1
            yield self.rows.take(some).dense(), self.labels[some]
        self._epoch += 1
        self._position = 0

    def _identity(self) -> dict[str, Any]:
        value = 0
        for array in (self.labels, self.rows.starts, self.rows.indices, self.rows.values):
            value = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, value)
        return {
            "samples": len(self.rows),
            "columns": self.rows.columns,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "fingerprint": value,
        }
