"""A labelled set of sentences in memory, and how it is split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Which sentences are for what.

    Attributes
    ----------
    train, test
        Row numbers.
    validation
        Row numbers, or None where the set has no part for it.
    """

    train: Rows
    test: Rows
    validation: Rows | None = None


@dataclass(frozen=True)
class TextDataset:
    """Labelled sentences.

    Attributes
    ----------
    name
        The name that `load_text` knows it by.
    sentences
        The words of each.
    labels
        Class numbers, int64, shape (N,).
    classes
        The name of each class.
    source
        Where they came from.
    official
        The split that its makers gave it, or None: then it is evaluated by cross-validation.
    lower
        Whether its words were turned into lower case.
    """

    name: str
    sentences: Sequence[Sequence[str]]
    labels: Rows
    classes: list[str]
    source: str
    official: Split | None = None
    lower: bool = True
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.sentences)
        if not count:
            raise DataError(f"{self.name}: no sentences")
        if self.labels.shape != (count,):
            raise DataError(f"{self.name}: {count} sentences but labels of shape {self.labels.shape}")
        if not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(
                f"{self.name}: labels lie in {int(self.labels.min())} … {int(self.labels.max())}, expected "
                f"0 … {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        """Sentences in all parts together."""
        return len(self.sentences)

    def split(self, fold: int = 0, folds: int = 10, seed: int = 0) -> Split:
        """The official split, or one of cross-validation.

        Parameters
        ----------
        fold
            Which of the folds to test on, from 0; the others are for training.
        folds
            How many there are.
        seed
            Of the assignment.

        Raises
        ------
        DataError
            The number of a fold is out of range, or there are more folds than sentences.
        """
        if self.official is not None:
            return self.official
        if not 0 <= fold < folds:
            raise DataError(f"split: fold is {fold}, expected 0 … {folds - 1}")
        of = fold_numbers(self.labels, folds, seed)
        return Split(np.flatnonzero(of != fold), np.flatnonzero(of == fold))


def fold_numbers(labels: Rows, folds: int, seed: int = 0) -> Rows:
    """Deal sentences out to folds at random, each class evenly: fold numbers of shape (N,).

    Raises
    ------
    DataError
        Fewer than 2 folds, or more than sentences.
    """
    if folds < 2 or folds > len(labels):
        raise DataError(
            f"fold_numbers: folds is {folds}, expected 2 … {len(labels)}, the sentences there are"
        )
    rng = np.random.Generator(np.random.Philox(seed))
    order = rng.permutation(len(labels))
    # Class by class, and going on where the class before ended: the folds differ by one sentence at most.
    order = order[np.argsort(labels[order], kind="stable")]
    numbers = np.empty(len(labels), dtype=np.int64)
    numbers[order] = np.arange(len(labels)) % folds
    return numbers


def take_out(rows: Rows, fraction: float, seed: int = 0) -> tuple[Rows, Rows]:
    """Set a random share of rows aside: the rows that stay, and those taken out, both in order.

    At least one is taken out, and one stays.
    """
    if not 0 < fraction < 1 or len(rows) < 2:
        raise DataError(
            f"take_out: {len(rows)} rows and a fraction of {fraction!r}; expected 2 rows or more and a "
            f"fraction between 0 and 1"
        )
    count = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
    out = np.zeros(len(rows), dtype=bool)
    out[np.random.Generator(np.random.Philox(seed)).permutation(len(rows))[:count]] = True
    return rows[~out], rows[out]
