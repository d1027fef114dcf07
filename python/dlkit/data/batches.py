"""Mini-batches of arrays, shuffled the same way on every run, resumable at any batch."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from sys import getrefcount
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .augment import describe
from .errors import DataError
from .resumable import ResumableBatches, integer


class Batches(ResumableBatches):
    """Mini-batches of ``(x, y)``; each pass of a ``for`` loop is one epoch.

    The order of epoch e is a permutation drawn from the counter-based generator Philox with key (seed, e): it
    depends on nothing else, so that any epoch can be entered in the middle. `state_dict` taken between two
    batches and given to `load_state_dict`, in this process or another, makes the next ``for`` loop go on with
    the batch that would have come next.

    Parameters
    ----------
    x
        Inputs, shape (N, …), any numeric dtype; NaN and infinity are refused.
    y
        Labels or targets, shape (N, …).
    batch_size
        Samples per batch; the last batch of an epoch may be smaller.
    shuffle
        A new order in every epoch; else the order of the arrays.
    seed
        Of the shuffling, 0 … 2**64 - 1.
    drop_last
        Leave out the last batch of an epoch if it would be smaller than `batch_size`.
    transform
        What happens to the inputs of a batch before it is handed out, such as `dlkit.data.Augment`: called as
        ``transform(x, rows, epoch=epoch, samples=N)`` with the batch, the numbers of its samples, the number of the
        epoch and the size of the data set, it returns the batch to train on. Its ``state_dict()``, or else its `repr`,
        is part of what tells whether a state belongs to this data.

    Notes
    -----
    A batch is gathered with one ``np.take`` per array into memory that is used again as soon as nobody else
    refers to it: keeping batches (``list(batches)``) is safe, and a plain loop allocates nothing.

    A loop that is left early (``break``) starts the same epoch over the next time.

    Raises
    ------
    DataError
        No samples, x and y of different length, NaN or infinity in x or y, object arrays, a batch size that
        leaves no batch.
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        transform: Callable[..., NDArray[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.x = _checked("x", x)
        self.y = _checked("y", y)
        if len(self.x) != len(self.y):
            raise DataError(f"Batches: x has {len(self.x)} samples but y has {len(self.y)}")
        self.batch_size = integer("Batches", "batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.seed = integer("Batches", "seed", seed, 0, below=2**64)
        self.drop_last = bool(drop_last)
        if self.drop_last and self.batch_size > len(self.x):
            raise DataError(
                f"Batches: batch_size is {self.batch_size} but there are {len(self.x)} samples: "
                f"with drop_last=True no batch is left"
            )
        self.transform = transform
        self._fingerprint: int | None = None
        self._pools: tuple[_Pool, _Pool] = (_Pool(self.x), _Pool(self.y))

    @property
    def samples(self) -> int:
        """Samples handed out per epoch."""
        n = len(self.x)
        return n - n % self.batch_size if self.drop_last else n

    @property
    def epoch(self) -> int:
        """The number of completed epochs."""
        return self._epoch

    @property
    def position(self) -> int:
        """Samples of the current epoch handed out so far."""
        return self._position

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self.samples // self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The sample numbers in the order in which `epoch` hands them out, shape (N,)."""
        if not self.shuffle:
            return np.arange(len(self.x), dtype=np.int64)
        key = np.array([self.seed, epoch], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).permutation(len(self.x))

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""
        order = self.order(self._epoch)
        start, self._resume_at = self._resume_at, 0
        self._position = start
        size, end = self.batch_size, self.samples
        take_x, take_y = self._pools[0].take, self._pools[1].take
        transform, samples = self.transform, len(self.x)
        while start < end:
            stop = min(start + size, end)
            rows = order[start:stop]
            # Handed out counts as consumed: a checkpoint after this batch goes on with the next.
            self._position = start = stop
            x = take_x(rows)
            if transform is not None:
                x = transform(x, rows, epoch=self._epoch, samples=samples)
            yield x, take_y(rows)
        self._epoch += 1
        self._position = 0

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises
        ------
        DataError
            The state was taken from other data or with another batch size, seed or order; the message names
            what differs.
        """
        if self.transform is None and state.get("transform") is not None:
            raise DataError(
                "Batches: the state belongs to other data: it has a transform, and there is none here"
            )
        super().load_state_dict(state)

    def _end(self) -> int:
        return self.samples

    def _identity(self) -> dict[str, Any]:
        if self._fingerprint is None:
            self._fingerprint = _fingerprint(self.x, self.y)
        return {
            "samples": len(self.x),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
            "fingerprint": self._fingerprint,
            # Absent without one, as in the states of before there were any.
            **({} if self.transform is None else {"transform": describe(self.transform)}),
        }


class _Pool:
    """Two batch buffers used in turn: while a loop holds one batch, the next goes into the other."""

    def __init__(self, source: NDArray[Any]) -> None:
        self._source = source
        self._buffers: list[NDArray[Any]] = []
        self._turn = 0
        self._own = 0

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The given rows of the source, gathered."""
        buffers, turn = self._buffers, self._turn
        self._turn = 1 - turn
        shape = (len(rows), *self._source.shape[1:])
        if len(buffers) <= turn:
            buffers.append(np.empty(shape, self._source.dtype))
            # The references that a buffer has when only the list holds it (differs between Python versions).
            self._own = getrefcount(buffers[turn])
        elif buffers[turn].shape != shape or getrefcount(buffers[turn]) > self._own:
            # The short last batch, or somebody keeps the old one: leave it to them.
            if len(rows) < len(buffers[turn]):
                return self._source.take(rows, axis=0)
            buffers[turn] = np.empty(shape, self._source.dtype)
        out = buffers[turn]
        # With the default mode="raise", NumPy gathers into a temporary and copies. The rows are in range.
        np.take(self._source, rows, axis=0, out=out, mode="clip")
        return out


def holdout(
    x: NDArray[Any], y: NDArray[Any], *, fraction: float = 0.1, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Set a random part of the samples aside for validation.

    Parameters
    ----------
    x, y
        Samples, shapes (N, …).
    fraction
        Share of the samples to hold out, between 0 and 1; at least one is held out and one kept.
    seed
        Of the choice.

    Returns
    -------
    x_train, y_train, x_validation, y_validation
        Copies; both parts keep the order of the arrays.
    """
    if len(x) != len(y):
        raise DataError(f"holdout: x has {len(x)} samples but y has {len(y)}")
    if not 0 < fraction < 1:
        raise DataError(f"holdout: fraction is {fraction!r}, expected a number between 0 and 1")
    if len(x) < 2:
        raise DataError(f"holdout: x has {len(x)} samples, expected at least 2")
    count = min(max(round(fraction * len(x)), 1), len(x) - 1)
    chosen = np.zeros(len(x), dtype=bool)
    chosen[np.random.Generator(np.random.Philox(seed)).permutation(len(x))[:count]] = True
    return x[~chosen], y[~chosen], x[chosen], y[chosen]


def _checked(name: str, value: ArrayLike) -> NDArray[Any]:
    array = np.asarray(value)
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"Batches: {name} is {array.shape}, expected at least one sample")
    if array.dtype.kind not in "biuf":
        raise DataError(f"Batches: {name} has dtype {array.dtype}, expected numbers")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and array.size:
        # min and max carry NaN along and cost one pass each, no memory.
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            row = next(i for i, sample in enumerate(array) if not np.isfinite(sample).all())
            raise DataError(
                f"Batches: {name} holds NaN or infinity (first in sample {row}), expected finite numbers"
            )
    return array


def _fingerprint(x: NDArray[Any], y: NDArray[Any]) -> int:
    """A checksum over shapes, dtypes, all labels and some evenly spaced inputs: cheap, yet telling."""
    value = zlib.crc32(repr((x.shape, x.dtype.str, y.shape, y.dtype.str)).encode())
    value = zlib.crc32(np.ascontiguousarray(y).view(np.uint8).data, value)
    rows = np.unique(np.linspace(0, len(x) - 1, 64).astype(np.int64))
    return zlib.crc32(np.ascontiguousarray(x[rows]).view(np.uint8).data, value)
