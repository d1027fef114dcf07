"""Mini-batches of tagged sentences, packed: step after step, longest sentence first, no padding."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .tagger_features import EncodedSentence, SpellingTable
from .text_batches import TextBatches


class TaggerBatch(NamedTuple):
    """What a tagger reads of some sentences: rows are their tokens, step after step, longest sentence first.

    Attributes
    ----------
    words
        Word numbers, shape (rows,).
    batch_sizes
        Rows of each step.
    spellings
        The different spellings among them, character numbers of shape (spellings, longest); or None.
    spelled
        Which of these each row has, shape (rows,); or None.
    bigrams
        Shape (rows, 2), or None.
    discrete
        The values of discrete features, shape (rows, features), or None.
    sentence
        Which of the sentences that were given each row is of, shape (rows,).
    """

    words: NDArray[np.int64]
    batch_sizes: list[int]
    spellings: NDArray[np.int64] | None
    spelled: NDArray[np.int64] | None
    bigrams: NDArray[np.int64] | None
    discrete: NDArray[np.int64] | None
    sentence: NDArray[np.int64]

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The arguments of a tagger."""
        return tuple(self[:6])

    def unpack(self, values: NDArray[Any], count: int) -> list[NDArray[Any]]:
        """The rows of values of each of `count` sentences, in the order in which they were given."""
        order = np.argsort(self.sentence, kind="stable")
        lengths = np.bincount(self.sentence, minlength=count)
        return np.split(values[order], np.cumsum(lengths)[:-1])


def pack_tagged(
    sentences: Sequence[EncodedSentence], table: SpellingTable
) -> tuple[TaggerBatch, NDArray[np.int64]]:
    """Pack sentences; returns the batch and the tags of its rows (empty where the sentences have none).

    Raises
    ------
    DataError
        There are none, or one is empty.
    """
    lengths = np.array([len(sentence.words) for sentence in sentences], np.int64)
    if not len(lengths) or not lengths.min():
        raise DataError(
            "pack_tagged: a sentence without tokens, or none at all; expected at least one of each"
        )
    order = np.argsort(-lengths, kind="stable")
    sizes, starts = lengths[order], (np.cumsum(lengths) - lengths)[order]
    steps = np.arange(sizes[0])[:, np.newaxis]
    there = steps < sizes
    index = (starts + steps)[there]
    words = np.concatenate([sentence.words for sentence in sentences])[index]
    spellings = spelled = bigrams = discrete = None
    if table.features.characters is not None:
        rows = np.concatenate([sentence.spellings for sentence in sentences])[index]
        different, spelled = np.unique(rows, return_inverse=True)
        spellings = table.table[different]
        used = np.flatnonzero((spellings != 0).any(axis=0))
        spellings = spellings[:, : (int(used[-1]) + 1 if used.size else 1)]
    if table.features.bigrams is not None:
        bigrams = np.concatenate([sentence.bigrams for sentence in sentences])[index]
    if table.features.discrete:
        discrete = np.concatenate([sentence.discrete for sentence in sentences])[index]
    tags = np.concatenate([sentence.tags for sentence in sentences])
    batch = TaggerBatch(
        words,
        there.sum(axis=1).tolist(),
        spellings,
        spelled,
        bigrams,
        discrete,
        np.broadcast_to(order, there.shape)[there],
    )
    return batch, tags[index] if len(tags) else tags


class TaggerBatches(TextBatches):
    """Mini-batches of tagged sentences; each pass of a ``for`` loop is one epoch and yields ``(batch, tags)``.

    Sentences of like length come together; order, `state_dict` and `load_state_dict` are those of `TextBatches`.

    Parameters
    ----------
    sentences
        Encoded, with their tags.
    table
        Of their spellings.
    batch_size
        Sentences per batch.
    shuffle, seed
        As for `TextBatches`.
    """

    def __init__(
        self,
        sentences: Sequence[EncodedSentence],
        table: SpellingTable,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(
            [sentence.words for sentence in sentences],
            np.arange(len(sentences)),
            batch_size,
            shuffle=shuffle,
            seed=seed,
        )
        self.encoded, self.table = list(sentences), table
        for number, sentence in enumerate(self.encoded):
            if len(sentence.tags) != len(sentence.words) or (sentence.tags < 0).any():
                raise DataError(f"TaggerBatches: sentence {number} has a token without a known tag")

    @property
    def tokens(self) -> int:
        """Tokens handed out per epoch."""
        return int(self._lengths.sum())

    def __iter__(self) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""
        batches = self.order(self._epoch)
        start, self._resume_at = self._resume_at, 0
        for number in range(start, len(batches)):
            self._position = number + 1
            yield pack_tagged([self.encoded[row] for row in batches[number]], self.table)
        self._epoch += 1
        self._position = 0

    def _identity(self) -> dict[str, Any]:
        value = 0
        for sentence in self.encoded[:: max(len(self.encoded) // 64, 1)]:
            for array in sentence:
                value = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, value)
        return {**super()._identity(), "tagged": value}
