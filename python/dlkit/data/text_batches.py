"""Mini-batches of sentences of like length, filled up to the longest of each batch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .resumable import ResumableBatches, integer

#: Sentences that are sorted by length together are those of so many batches: enough that a batch has sentences of like
#: length, few enough that batches differ from epoch to epoch.
_POOL = 20


def pad_sentences(
    sentences: Sequence[NDArray[np.int64]], before: int = 0, after: int = 0, padding: int = 0
) -> NDArray[np.int64]:
    """Put sentences of word numbers into one array.

    Parameters
    ----------
    sentences
        Word numbers, shape (words,) each; a sentence may be empty.
    before, after
        Places left empty before each sentence, and behind the longest.
    padding
        What empty places hold.

    Returns
    -------
    ndarray of int64, shape (N, before + longest + after), at least one column

    Examples
    --------
    >>> pad_sentences([np.array([5, 6]), np.array([7])], before=1).tolist()
    [[0, 5, 6], [0, 7, 0]]
    """
    if before < 0 or after < 0:
        raise DataError(f"pad_sentences: before is {before} and after {after}, expected 0 or more")
    longest = max((len(sentence) for sentence in sentences), default=0)
    out = np.full((len(sentences), max(before + longest + after, 1)), padding, dtype=np.int64)
    for row, sentence in zip(out, sentences, strict=True):
        row[before : before + len(sentence)] = sentence
    return out


class TextBatches(ResumableBatches):
    """Mini-batches of sentences; each pass of a ``for`` loop is one epoch and yields ``(x, y)``.

    x are word numbers (batch, places), y class numbers (batch,). The order of an epoch is drawn from seed and epoch
    alone; sentences of like length come together, so that little is padding. `state_dict` and `load_state_dict` are
    those of `Batches`.

    Parameters
    ----------
    sentences
        Word numbers of each, shape (words,).
    labels
        Class numbers, shape (N,).
    batch_size
        Sentences per batch; the last that is made up may be smaller.
    shuffle
        A new order in every epoch; else that of the list, whatever the lengths.
    seed
        Of the order.
    before, after
        As for `pad_sentences`.

    Raises
    ------
    DataError
        No sentences, or not as many labels, or a setting is out of range.
    """

    def __init__(
        self,
        sentences: Sequence[NDArray[np.int64]],
        labels: NDArray[np.int64],
        batch_size: int = 50,
        *,
        shuffle: bool = True,
        seed: int = 0,
        before: int = 0,
        after: int = 0,
    ) -> None:
        super().__init__()
        self.sentences = list(sentences)
        self.labels = np.asarray(labels)
        if not self.sentences or self.labels.shape != (len(self.sentences),):
            raise DataError(
                f"TextBatches: {len(self.sentences)} sentences and labels of shape {self.labels.shape}, expected as "
                f"many, at least one"
            )
        self.batch_size = integer("TextBatches", "batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.seed = integer("TextBatches", "seed", seed, 0, below=2**64)
        self.before = integer("TextBatches", "before", before, 0)
        self.after = integer("TextBatches", "after", after, 0)
        self._lengths = np.array([len(sentence) for sentence in self.sentences])

    @property
    def samples(self) -> int:
        """Sentences handed out per epoch."""
        return len(self.sentences)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self.sentences) // self.batch_size)

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """The row numbers of each batch of an epoch."""
        count, size = len(self.sentences), self.batch_size
        if not self.shuffle:
            return [np.arange(i, min(i + size, count)) for i in range(0, count, size)]
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, epoch], dtype=np.uint64)))
        rows = rng.permutation(count)
        pool = _POOL * size
        for start in range(0, count, pool):
            some = rows[start : start + pool]
            rows[start : start + pool] = some[np.argsort(self._lengths[some], kind="stable")]
        batches = [rows[i : i + size] for i in range(0, count, size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""
        batches = self.order(self._epoch)
        start, self._resume_at = self._resume_at, 0
        for number in range(start, len(batches)):
            rows = batches[number]
            self._position = number + 1
            x = pad_sentences([self.sentences[row] for row in rows], self.before, self.after)
            yield x, self.labels[rows]
        self._epoch += 1
        self._position = 0

    def _identity(self) -> dict[str, Any]:
        value = zlib.crc32(np.ascontiguousarray(self.labels).view(np.uint8).data)
        value = zlib.crc32(self._lengths.view(np.uint8).data, value)
        for sentence in self.sentences[:: max(len(self.sentences) // 64, 1)]:
            value = zlib.crc32(np.ascontiguousarray(sentence).view(np.uint8).data, value)
        return {
            "samples": len(self.sentences),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "padding": [self.before, self.after],
            "fingerprint": value,
        }
