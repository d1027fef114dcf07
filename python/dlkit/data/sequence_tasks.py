"""Made-up tasks that need a long memory: the adding problem, and copying from memory."""

from __future__ import annotations

from math import log
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError


class AddingProblem:
    """Add the two marked numbers of a sequence (Hochreiter & Schmidhuber, Neural Computation 9, 1997).

    A step is a number from U(0, 1) and a mark, 1 at two steps and 0 at all others: one in the first half of the
    sequence, one in the second. The answer is the sum of the marked numbers.

    Parameters
    ----------
    length
        Steps, at least 2.

    Attributes
    ----------
    baseline : float
        Mean squared error of always answering 1: the variance of a sum of two uniform numbers, 1/6.
    """

    baseline = 1 / 6

    def __init__(self, length: int = 150) -> None:
        self.length = _integer("AddingProblem", "length", length, 2)

    def draw(self, samples: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw sequences.

        Parameters
        ----------
        samples
            How many, at least 1.
        rng
            Draws.

        Returns
        -------
        x : ndarray of shape (samples, length, 2), float32
        y : ndarray of shape (samples, 1), float32
        """
        count = _integer("AddingProblem.draw", "samples", samples, 1)
        x = np.zeros((count, self.length, 2), np.float32)
        x[:, :, 0] = rng.random((count, self.length), np.float32)
        half, rows = self.length // 2, np.arange(count)
        first, second = rng.integers(0, half, count), rng.integers(half, self.length, count)
        x[rows, first, 1] = x[rows, second, 1] = 1
        return x, (x[rows, first, 0] + x[rows, second, 0])[:, np.newaxis]

    def state_dict(self) -> dict[str, Any]:
        """What tells whether it is the same task."""
        return {"task": "adding", "length": self.length}


class CopyMemory:
    """Repeat some symbols after a long wait (Hochreiter & Schmidhuber 1997; Arjovsky et al., ICML 2016).

    A sequence is `recalled` symbols, a wait of `length` blanks whose last is a signal, and `recalled` blanks in whose
    place the symbols must be answered; before them the answer is a blank. Steps are one-hot: class 0 is the blank, 1 …
    `symbols` are the symbols, the last class is the signal.

    Parameters
    ----------
    length
        Steps of the wait, at least 1.
    symbols
        Different symbols, at least 2.
    recalled
        Symbols to remember, at least 1.

    Attributes
    ----------
    baseline : float
        Mean cross-entropy of who knows when to answer but remembers nothing: recalled ln(symbols) / steps.
    """

    def __init__(self, length: int = 100, symbols: int = 8, recalled: int = 10) -> None:
        self.length = _integer("CopyMemory", "length", length, 1)
        self.symbols = _integer("CopyMemory", "symbols", symbols, 2)
        self.recalled = _integer("CopyMemory", "recalled", recalled, 1)

    @property
    def steps(self) -> int:
        """Steps of a sequence."""
        return self.length + 2 * self.recalled

    @property
    def classes(self) -> int:
        """Inputs of a step: symbols, blank and signal. Answers have the same classes but the signal."""
        return self.symbols + 2

    @property
    def baseline(self) -> float:
        """Mean cross-entropy without a memory."""
        return self.recalled * log(self.symbols) / self.steps

    def draw(self, samples: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw sequences.

        Parameters
        ----------
        samples
            How many, at least 1.
        rng
            Draws.

        Returns
        -------
        x : ndarray of shape (samples, steps, classes), float32
        y : ndarray of shape (samples, steps), int64
        """
        count = _integer("CopyMemory.draw", "samples", samples, 1)
        shown = rng.integers(1, self.symbols + 1, (count, self.recalled))
        tokens = np.zeros((count, self.steps), np.int64)
        tokens[:, : self.recalled] = shown
        tokens[:, self.recalled + self.length - 1] = self.symbols + 1
        y = np.zeros_like(tokens)
        y[:, -self.recalled :] = shown
        return np.eye(self.classes, dtype=np.float32)[tokens], y

    def state_dict(self) -> dict[str, Any]:
        """What tells whether it is the same task."""
        return {"task": "copy", "length": self.length, "symbols": self.symbols, "recalled": self.recalled}


def _integer(operation: str, name: str, value: object, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise DataError(f"{operation}: {name} is {value!r}, expected an integer of at least {at_least}")
    return int(value)
