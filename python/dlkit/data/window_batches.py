"""Windows of a text, with words drawn at random to put into their middles."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .resumable import ResumableBatches, integer

#: The number of what stands before the first and after the last word of a sentence.
BORDER = 0


class WindowBatches(ResumableBatches):
    """Windows around every word of a text; each pass of a ``for`` loop is one epoch and yields ``(x, y)``.

    x are word numbers (batch, window), y the numbers of words drawn from the vocabulary (batch, drawn). The words of a
    text are numbered from 1: `BORDER`, 0, fills places outside the sentence. An epoch goes through the text
    with a stride that has no divisor in common with its length, so that every window comes once, and neighbours come
    far apart; nothing of the text's size is drawn. Stride, begin and drawn words follow from seed and epoch alone.
    `state_dict` and `load_state_dict` are those of `Batches`.

    Parameters
    ----------
    tokens
        Words as numbers from 0, with -1 after each sentence, as `WordCorpus` has them.
    words
        How many words there are.
    window
        Words of a window: odd.
    batch_size
        Windows per batch; the last may be smaller.
    drawn
        Words that are drawn for each window.
    power
        A word is drawn in proportion to how often the text has it, to this power: 0 draws all alike, 1 as they occur.
    seed
        Of the order and of the words that are drawn.

    Raises
    ------
    DataError
        There is no word, a number is out of range, or a setting is.
    """

    def __init__(
        self,
        tokens: NDArray[Any],
        words: int,
        window: int = 11,
        batch_size: int = 256,
        *,
        drawn: int = 1,
        power: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        tokens = np.asarray(tokens)
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise DataError(
                f"{owner}: tokens is {tokens.shape} of {tokens.dtype}, expected one dimension of integers"
            )
        self.words = integer(owner, "words", words, 1)
        self.window = integer(owner, "window", window, 1)
        self.batch_size = integer(owner, "batch_size", batch_size, 1)
        self.drawn = integer(owner, "drawn", drawn, 0)
        self.seed = integer(owner, "seed", seed, 0, below=2**64)
        if not isinstance(power, (int, float)) or not 0 <= power <= 1:
            raise DataError(f"{owner}: power is {power!r}, expected a number from 0 to 1")
        self.power = float(power)
        if window % 2 == 0:
            raise DataError(f"{owner}: window is {window}, expected an odd number: the word is in the middle")
        if not (tokens >= 0).any():
            raise DataError(f"{owner}: tokens has no word, expected at least one")
        if tokens.min() < -1 or tokens.max() >= words:
            raise DataError(
                f"{owner}: tokens holds {int(tokens.min())} to {int(tokens.max())}, expected -1 to {words - 1}"
            )
        # Up to which number in [0, 1) the words up to each are drawn; None: all alike.
        self._shares: NDArray[np.float64] | None = None
        if power:
            weights = np.bincount(tokens[tokens >= 0], minlength=self.words) ** self.power
            self._shares = np.cumsum(weights) / weights.sum()
        self._half = half = self.window // 2
        # The text with room for the borders, so that each window is a slice of it.
        shifted = tokens.astype(np.int32) + 1
        room = np.where(shifted == BORDER, max(half, 1), 1)
        at = half + np.cumsum(room) - room
        self._text = np.full(int(room.sum()) + 2 * half, BORDER, np.int32)
        there = shifted != BORDER
        self._text[at[there]] = shifted[there]
        self._middles = np.flatnonzero(self._text).astype(np.int32 if self._text.size < 2**31 else np.int64)

    @property
    def samples(self) -> int:
        """Windows handed out per epoch."""
        return len(self._middles)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self._middles) // self.batch_size)

    def windows(self, middles: NDArray[Any]) -> NDArray[np.int64]:
        """The windows around the words of the text that are numbered so: (middles, window)."""
        around = np.arange(-self._half, self._half + 1)
        return np.asarray(self._text[self._middles[middles][:, np.newaxis] + around], np.int64)

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""
        count, size = len(self._middles), self.batch_size
        key = np.array([self.seed, self._epoch], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        begin = int(rng.integers(count))
        stride = _coprime(int(rng.integers(count // 4, 3 * count // 4 + 1)), count)
        start, self._resume_at = self._resume_at, 0
        for number in range(start, len(self)):
            rows = np.arange(number * size, min((number + 1) * size, count))
            # A counter of their own, so that a batch's words do not depend on those before it.
            words = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number + 1]))
            y = self._draw(words, (len(rows), self.drawn))
            self._position = number + 1
            yield self.windows((begin + rows * stride) % count), y
        self._epoch += 1
        self._position = 0

    def _draw(self, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.int64]:
        if self._shares is None:
            return rng.integers(1, self.words + 1, shape)
        # The last share may be rounded to less than 1.
        return 1 + np.searchsorted(self._shares[:-1], rng.random(shape), side="right")

    def _identity(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "words": self.words,
            "window": self.window,
            "batch_size": self.batch_size,
            "drawn": self.drawn,
            "power": self.power,
            "seed": self.seed,
            "fingerprint": zlib.crc32(self._text.view(np.uint8).data),
        }


def _coprime(number: int, count: int) -> int:
    """The next number from this one on that has no divisor in common with `count`."""
    number = max(number, 1)
    while math.gcd(number, count) > 1:
        number += 1
    return number
