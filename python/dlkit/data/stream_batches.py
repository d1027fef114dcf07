"""A long text as batches for truncated backpropagation through time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .resumable import ResumableBatches, integer


class StreamBatches(ResumableBatches):
    """Pieces of a text; each pass of a ``for`` loop is one epoch and yields ``(x, y)``.

    The text is cut into `batch_size` equal stretches that are read side by side, `steps` tokens at a time, so that the
    state of a recurrent network at the end of one batch is the right one for the beginning of the next (Zaremba et al.
    2014). x are token numbers (T, batch_size); y, the tokens that follow them, (T batch_size,). T is `steps`, fewer in
    the last batch. `state_dict` and `load_state_dict` are those of `Batches`.

    Parameters
    ----------
    tokens
        Token numbers, shape (N,).
    batch_size
        Stretches. What does not fill one more token of each is left out.
    steps
        Tokens of each stretch in a batch.

    Raises
    ------
    DataError
        `tokens` is no vector of integers or too short, or a setting is out of range.
    """

    def __init__(self, tokens: NDArray[Any], batch_size: int = 20, steps: int = 35) -> None:
        super().__init__()
        tokens = np.asarray(tokens)
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise DataError(
                f"StreamBatches: tokens is {tokens.shape} of {tokens.dtype}, expected one dimension of integers"
            )
        self.batch_size = integer("StreamBatches", "batch_size", batch_size, 1)
        self.steps = integer("StreamBatches", "steps", steps, 1)
        self._length = (len(tokens) - 1) // self.batch_size  # of a stretch
        if self._length < 1:
            raise DataError(
                f"StreamBatches: batch_size is {self.batch_size} and tokens are {len(tokens)}, expected at least "
                f"{self.batch_size + 1} of them for so many stretches"
            )
        used = self._length * self.batch_size
        shape = (self.batch_size, self._length)
        self._inputs = np.ascontiguousarray(tokens[:used].reshape(shape).T, np.int64)
        self._targets = np.ascontiguousarray(tokens[1 : used + 1].reshape(shape).T, np.int64)

    @property
    def samples(self) -> int:
        """Tokens to be predicted per epoch."""
        return int(self._inputs.size)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self._length // self.steps)

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""
        start, self._resume_at = self._resume_at, 0
        for number in range(start, len(self)):
            self._position = number + 1
            rows = slice(number * self.steps, (number + 1) * self.steps)
            yield self._inputs[rows], self._targets[rows].reshape(-1)
        self._epoch += 1
        self._position = 0

    def _identity(self) -> dict[str, Any]:
        return {
            "tokens": self.samples,
            "batch_size": self.batch_size,
            "steps": self.steps,
            "fingerprint": zlib.crc32(self._inputs.view(np.uint8).data),
        }
