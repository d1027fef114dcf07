"""What taggers share: tables of vectors, the two output layers, the best tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels, nn
from dlkit.autograd import Tensor, no_grad
from dlkit.autograd.base import mark_changed
from dlkit.kernels.backend import device_of, move, to_host
from dlkit.nn import functional as F

#: The numbers of the entries that fill places, and that stand for what is not known.
PADDING, UNKNOWN = 0, 1


class Tagger(nn.Module):
    """Base of the taggers: a score for each tag of each token of a packed batch, a loss, the best tags.

    A subclass sets the attributes, and its `forward` takes `dlkit.data.tagger_batches.TaggerBatch.inputs`.

    Attributes
    ----------
    words, tags, dimensions : int
        Entries of the vocabulary, tags, and elements of a word's vector.
    embedding : Embedding
        The words' vectors.
    discrete_embedding : Embedding
        The vectors of the values of all discrete features, one feature after the other; only where there are any.
    has_crf : bool
        Whether sequences of tags are weighed as wholes, by `crf`.
    """

    words: int
    tags: int
    dimensions: int
    has_crf: bool
    embedding: nn.Embedding
    crf: nn.CRF

    def _here(self, numbers: Any) -> Any:
        # On the model's device.
        return move(numbers, device_of(self.embedding.weight._array))

    def loss(self, scores: Tensor, tags: Any, batch_sizes: Sequence[int]) -> Tensor:
        """Return minus the logarithm of the probability of the tags, the mean over tokens."""
        if not self.has_crf:
            return F.cross_entropy(scores, self._here(tags))
        crf = self.crf
        borders = (crf.start_transitions, crf.end_transitions)
        return F.crf_loss(scores, tags, batch_sizes, crf.transitions, *borders, "token_mean")

    def decode(self, scores: Any, batch_sizes: Sequence[int], allowed: Any = None) -> NDArray[np.int64]:
        """Return the best tags of scores (rows, tags), in their order, on the host.

        Parameters
        ----------
        scores
            As `forward` gives them.
        batch_sizes
            Rows of each step.
        allowed : tuple of bool arrays, optional
            Which tags may follow each other, [before, after], which may begin, and which may end a sentence. Then the
            best of the sequences that they allow, with or without a conditional random field.
        """
        array = scores._array if isinstance(scores, Tensor) else scores
        if not self.has_crf and allowed is None:
            return np.asarray(to_host(array).argmax(axis=1), np.int64)
        there = device_of(array)
        if self.has_crf:
            crf = self.crf
            tables = [crf.transitions._array, crf.start_transitions._array, crf.end_transitions._array]
        else:
            shapes: list[Any] = [(self.tags, self.tags), self.tags, self.tags]
            tables = [move(np.zeros(shape, array.dtype), there) for shape in shapes]
        if allowed is not None:
            tables = [
                np.where(move(mask, there), table, float("-inf")).astype(array.dtype, copy=False)
                for mask, table in zip(allowed, tables, strict=True)
            ]
        return to_host(kernels.crf_decode(array, batch_sizes, *tables)[0])

    def set_vectors(self, table: NDArray[Any]) -> None:
        """Begin with these word vectors, shape (words, dimensions); that of padding stays 0.

        Raises
        ------
        ValueError
            The table has another shape.
        """
        if table.shape != (self.words, self.dimensions):
            raise ValueError(
                f"{type(self).__name__}: table is {table.shape}, expected ({self.words}, {self.dimensions})"
            )
        with no_grad():
            self.embedding.weight.copy_(table.astype(self.embedding.weight.dtype))
            self.embedding.weight.data[PADDING] = 0
        mark_changed(self.embedding.weight)

    def _prepare_discrete(self, entries: Sequence[int], dimensions: int, spread: float, dtype: Any) -> int:
        """Make the table of discrete features; returns how many numbers a token has of it."""
        name = type(self).__name__
        if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 2 for n in entries):
            raise ValueError(
                f"{name}: discrete is {tuple(entries)!r}, expected for each feature an integer of at least 2: padding "
                f"and the unknown entry"
            )
        check_sizes(name, {"discrete_dimensions": (dimensions, 1)})
        self.discrete = np.array(entries, np.int64)
        if not len(self.discrete):
            return 0
        self.discrete_embedding = self._table(int(self.discrete.sum()), dimensions, spread, dtype, None)
        return len(self.discrete) * int(dimensions)

    def _discrete_rows(self, values: Any, rows: int) -> NDArray[np.int64]:
        """The rows of `discrete_embedding` for values (rows, features)."""
        name, features = type(self).__name__, len(self.discrete)
        found = None if values is None else np.asarray(values)
        if found is None or found.shape != (rows, features):
            raise ValueError(
                f"{name}: discrete is {None if found is None else found.shape}, expected ({rows}, {features})"
            )
        if found.dtype.kind not in "iu":
            raise TypeError(f"{name}: discrete is of dtype {found.dtype}, expected integers")
        wrong = ((found < 0) | (found >= self.discrete)).any(axis=0)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise IndexError(
                f"{name}: discrete holds {int(found[:, at].min())} to {int(found[:, at].max())} of feature {at}; "
                f"expected 0 to {int(self.discrete[at]) - 1}"
            )
        return np.asarray(found + (np.cumsum(self.discrete) - self.discrete), np.int64)

    @staticmethod
    def _table(
        entries: int, dimensions: int, spread: float, dtype: Any, padding: int | None = PADDING
    ) -> nn.Embedding:
        layer = nn.Embedding(int(entries), int(dimensions), padding, dtype=dtype)
        nn.init.uniform_(layer.weight, -spread, spread)
        if padding is not None:
            layer.weight.data[padding] = 0
            mark_changed(layer.weight)
        return layer


def check_sizes(owner: str, sizes: Mapping[str, tuple[Any, int]]) -> None:
    """Check that sizes, each with the least that it may be, are integers.

    Raises
    ------
    ValueError
        One is not; names it.
    """
    for name, (size, least) in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < least:
            raise ValueError(f"{owner}: {name} is {size!r}, expected an integer of at least {least}")


def check_share(owner: str, name: str, share: float) -> None:
    """Check that a probability is one of dropout's.

    Raises
    ------
    ValueError
        It is not from 0 to below 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"{owner}: {name} is {share!r}, expected a probability from 0 to below 1")


def check_spread(owner: str, spread: float) -> None:
    """Check the bound of random vectors.

    Raises
    ------
    ValueError
        It is negative or not finite.
    """
    if not 0 <= spread < float("inf"):
        raise ValueError(f"{owner}: spread is {spread!r}, expected a finite number of 0 or more")
