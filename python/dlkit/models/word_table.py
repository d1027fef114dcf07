"""Words and their vectors as a table: looked up by word or row, and changed, with gensim's names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.data.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_BLOCK = 1 << 22  # elements of intermediate results
_SPELLED = 50_000  # words, the most frequent, that a spelling is looked for in


class UnknownWordError(KeyError, ValueError):
    """A word has no vector."""

    def __str__(self) -> str:
        # KeyError shows its argument's repr; here there is one plain sentence.
        return str(self.args[0]) if self.args else ""


class WordTable:
    """What `dlkit.KeyedVectors` asks: see there for parameters and attributes."""

    def __init__(self, words: Sequence[str], vectors: ArrayLike, counts: ArrayLike | None = None) -> None:
        owner = "KeyedVectors"
        self.vectors: NDArray[np.float32] = _rows(owner, "vectors", vectors, len(words))
        self.index_to_key: list[str] = list(words)
        self.key_to_index: dict[str, int] = _numbered(owner, "words", self.index_to_key)
        self.counts: NDArray[np.int64] | None = None
        if counts is not None:
            self.counts = _counts(owner, "counts", counts, len(self)).astype(np.int64)
        self._norms: NDArray[np.float32] | None = None
        self._scale: NDArray[np.float32] | None = None
        self.fill_norms()

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.index_to_key)

    def __contains__(self, word: object) -> bool:
        return word in self.key_to_index

    def __repr__(self) -> str:
        return f"KeyedVectors<{len(self)} words, {self.vector_size} dimensions>"

    @property
    def vector_size(self) -> int:
        """Numbers of each vector."""
        return int(self.vectors.shape[1])

    @property
    def norms(self) -> NDArray[np.float32]:
        """Length of each vector, shape (words,)."""
        self.fill_norms()
        assert self._norms is not None
        return self._norms

    @property
    def scale(self) -> NDArray[np.float32]:
        """One over the length of each vector, 0 for one of zeros; shape (words,)."""
        self.fill_norms()
        assert self._scale is not None
        return self._scale

    def fill_norms(self, force: bool = False) -> None:
        """Compute the lengths of the vectors, again if `force`: for vectors that have changed."""
        if self._norms is not None and not force:
            return
        norms = _lengths("KeyedVectors", self.index_to_key, self.vectors)
        least = float(np.finfo(np.float32).tiny)
        with np.errstate(over="ignore"):
            self._norms = norms.astype(np.float32)
            self._scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > least).astype(
                np.float32
            )

    # --- Looked up -----------------------------------------------------------------------------------------------

    def get_index(self, key: str | int, default: int | None = None) -> int:
        """Return the row of a word; a row's number is itself.

        Raises
        ------
        UnknownWordError
            There is no such word, and no default.
        """
        if isinstance(key, str):
            row = self.key_to_index.get(key)
            if row is not None:
                return row
            if default is not None:
                return default
            raise UnknownWordError(f"{key!r} has no vector{self._spelled(key)}")
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            if 0 <= key < len(self):
                return int(key)
            if default is not None:
                return default
            raise UnknownWordError(f"there is no word {key}, expected 0 to {len(self) - 1}")
        raise TypeError(f"KeyedVectors: key is a {type(key).__name__}, expected a word or its number")

    def has_index_for(self, key: str | int) -> bool:
        """Whether there is such a word, or a row of that number."""
        return self.get_index(key, default=-1) >= 0

    def _spelled(self, word: str) -> str:
        for form in (word.lower(), word.capitalize(), word.upper(), word.replace(" ", "_")):
            if form in self.key_to_index:
                return f" (did you mean {form!r}?)"
        by_lower: dict[str, str] = {}
        for key in self.index_to_key[:_SPELLED]:
            if abs(len(key) - len(word)) <= 2:
                by_lower.setdefault(key.lower(), key)
        close = difflib.get_close_matches(word[:60].lower(), list(by_lower), n=1, cutoff=0.6)
        return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""

    def get_vector(self, key: str | int, norm: bool = False) -> NDArray[np.float32]:
        """Return the vector of a word, read-only; with `norm` at length 1."""
        row = self.get_index(key)
        vector: NDArray[np.float32] = self.vectors[row].view()
        if norm:
            vector = vector * self.scale[row]
        vector.setflags(write=False)
        return vector

    def __getitem__(self, key: str | int | Sequence[str | int]) -> NDArray[np.float32]:
        """The vector of a word, or those of several as rows."""
        if isinstance(key, (str, int, np.integer)):
            return self.get_vector(key)
        return self.vectors[[self.get_index(each) for each in key]]

    def get_normed_vectors(self) -> NDArray[np.float32]:
        """Return all vectors at length 1: a copy."""
        return self.vectors * self.scale[:, None]

    def get_mean_vector(
        self,
        keys: Sequence[Any],
        weights: ArrayLike | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> NDArray[np.float32]:
        """Return the weighted mean of vectors: their sum divided by that of the sizes of their weights.

        Parameters
        ----------
        keys
            Words, their numbers, or vectors.
        weights
            Shape (len(keys),); None: all 1.
        pre_normalize
            Whether words are taken at length 1. Vectors are taken as they are.
        post_normalize
            Whether the mean is.
        ignore_missing
            Whether words without a vector are left out. Of none but these the mean is zeros.

        Raises
        ------
        UnknownWordError
            A word has no vector, and `ignore_missing` is False.
        ValueError
            There are no keys, or weights do not fit.
        """
        if isinstance(keys, str) or len(keys) == 0:
            raise ValueError(f"get_mean_vector: keys is {keys!r}, expected a list of at least one word")
        factors = np.ones(len(keys)) if weights is None else np.asarray(weights)
        if factors.shape != (len(keys),) or factors.dtype.kind not in "fiu" or not np.isfinite(factors).all():
            raise ValueError(
                f"get_mean_vector: weights is {factors.dtype} {factors.shape}, expected ({len(keys)},), finite"
            )
        total, weight = np.zeros(self.vector_size), 0.0
        for key, factor in zip(keys, factors.tolist(), strict=True):
            if isinstance(key, np.ndarray):
                vector = self._checked_vector(key)
            elif ignore_missing and not self.has_index_for(key):
                continue
            else:
                vector = self.get_vector(key, norm=pre_normalize)
            total += factor * vector.astype(np.float64)
            weight += abs(factor)
        if weight > 0:
            total /= weight
        length = float(np.linalg.norm(total))
        return (total / length if post_normalize and length > 0 else total).astype(np.float32)

    def _checked_vector(self, vector: NDArray[Any]) -> NDArray[np.float32]:
        if (
            vector.shape != (self.vector_size,)
            or vector.dtype.kind not in "fiu"
            or not np.isfinite(vector).all()
        ):
            raise ValueError(
                f"KeyedVectors: a vector is {vector.dtype} {vector.shape}, expected ({self.vector_size},), finite"
            )
        return vector.astype(np.float32)

    def get_vecattr(self, key: str | int, attr: str) -> int:
        """Return what is known of a word besides its vector: "count"."""
        row = self.get_index(key)
        if attr != "count" or self.counts is None:
            raise KeyError(
                f"attribute {attr!r} is not known, expected {'count' if self.counts is not None else 'none'}"
            )
        return int(self.counts[row])

    # --- Changed -------------------------------------------------------------------------------------------------

    def set_vecattr(self, key: str | int, attr: str, val: int) -> None:
        """Set what is known of a word besides its vector, "count": an integer. Where there were none others get 0."""
        row = self.get_index(key)
        if attr != "count":
            raise KeyError(f"set_vecattr: attr is {attr!r}, expected 'count'")
        value = _counts("set_vecattr", "val", [val], 1)[0]
        if self.counts is None:
            self.counts = np.zeros(len(self), np.int64)
        self.counts[row] = value

    def add_vector(self, key: str, vector: ArrayLike) -> int:
        """Add a word, and return its row: `add_vectors` of one. All vectors are copied, so that many are slow."""
        if not isinstance(key, str):
            raise TypeError(f"add_vector: key is a {type(key).__name__}, expected a word")
        self.add_vectors(key, vector)
        return self.key_to_index[key]

    def add_vectors(
        self,
        keys: str | Sequence[str],
        weights: ArrayLike,
        extras: Mapping[str, ArrayLike] | None = None,
        replace: bool = False,
    ) -> None:
        """Add words and their vectors at the end. `vectors` is then another array: what was given is not written to.

        Parameters
        ----------
        keys
            Words, no two alike; or one.
        weights
            Shape (words, dimensions), finite; of one word (dimensions,), too.
        extras
            ``{"count": integers of shape (words,)}``. Words without have 0, where others have counts.
        replace
            Whether words that are there get the new vectors (and counts), or keep theirs.

        Raises
        ------
        ValueError
            Shapes do not fit, a word is there twice in `keys`, or a number is not finite: nothing is added.
        """
        owner = "add_vectors"
        words = [keys] if isinstance(keys, str) else list(keys)
        if not all(isinstance(word, str) for word in words):
            raise TypeError(f"{owner}: keys holds something that is no word")
        if not words:
            return
        given = np.atleast_2d(weights) if isinstance(keys, str) else weights
        table = _rows(owner, "weights", given, len(words))
        if table.shape[1] != self.vector_size:
            raise DataError(f"{owner}: weights is {table.shape}, expected ({len(words)}, {self.vector_size})")
        _numbered(owner, "keys", words)
        _lengths(owner, words, table)
        if unknown := [name for name in extras or {} if name != "count"]:
            raise DataError(f"{owner}: extras has {unknown[0]!r}, expected 'count' alone")
        new = None if not extras else _counts(owner, "extras['count']", extras["count"], len(words))
        rows = np.array([self.key_to_index.get(word, -1) for word in words], np.int64)
        fresh, known = rows < 0, rows >= 0
        vectors = np.concatenate([self.vectors, table[fresh]])
        if replace:
            vectors[rows[known]] = table[known]
        if new is not None or self.counts is not None:
            old = np.zeros(len(self), np.int64) if self.counts is None else self.counts
            counts = np.concatenate(
                [old, np.zeros(int(fresh.sum()), np.int64) if new is None else new[fresh]]
            )
            if replace and new is not None:
                counts[rows[known]] = new[known]
            self.counts = counts
        self.vectors = vectors
        for at in np.flatnonzero(fresh).tolist():
            self.key_to_index[words[at]] = len(self.index_to_key)
            self.index_to_key.append(words[at])
        self.fill_norms(force=True)

    def __setitem__(self, keys: str | Sequence[str], weights: ArrayLike) -> None:
        """Set the vector of a word, or those of several, whether they are there or not: `add_vectors`, replacing."""
        self.add_vectors(keys, weights, replace=True)

    def unit_normalize_all(self) -> None:
        """Scale all vectors to length 1, in their place, so that what they were is lost; those of zeros stay."""
        if not self.vectors.flags.writeable:
            self.vectors = self.vectors.copy()
        self.vectors *= self.scale[:, None]
        self.fill_norms(force=True)

    def sort_by_descending_frequency(self) -> None:
        """Put the most frequent words first; of equal ones, as gensim, those that came later.

        Raises
        ------
        ValueError
            There are no counts.
        """
        if self.counts is None:
            raise ValueError("sort_by_descending_frequency: there are no counts, expected some")
        order = np.lexsort((-np.arange(len(self)), -self.counts))
        self.index_to_key = [self.index_to_key[row] for row in order.tolist()]
        self.key_to_index = {word: row for row, word in enumerate(self.index_to_key)}
        self.counts, self.vectors = self.counts[order], self.vectors[order]
        self.fill_norms(force=True)


def _rows(owner: str, argument: str, vectors: ArrayLike, words: int) -> NDArray[np.float32]:
    table = np.asarray(vectors)
    if table.ndim != 2 or table.dtype.kind not in "fiu" or len(table) != words or 0 in table.shape:
        raise DataError(
            f"{owner}: {argument} is {table.dtype} {table.shape}, expected ({words}, dimensions) for {words} words, "
            "neither of them 0"
        )
    return table.astype(np.float32, copy=False)


def _numbered(owner: str, argument: str, words: Sequence[str]) -> dict[str, int]:
    number = {word: i for i, word in enumerate(words)}
    if len(number) < len(words):
        twice = next(word for i, word in enumerate(words) if number[word] != i)
        raise DataError(f"{owner}: {argument} has {twice!r} twice, expected each once")
    return number


def _counts(owner: str, argument: str, counts: ArrayLike, words: int) -> NDArray[Any]:
    given = np.asarray(counts)
    if given.shape != (words,) or given.dtype.kind not in "iu":
        raise DataError(
            f"{owner}: {argument} is {given.dtype} {given.shape}, expected integers of shape ({words},)"
        )
    return given


def _lengths(owner: str, words: Sequence[str], table: NDArray[np.float32]) -> NDArray[np.float64]:
    """The length of each row, once all are known to be finite."""
    norms = np.empty(len(table))
    rows = max(1, _BLOCK // table.shape[1])
    for begin in range(0, len(table), rows):
        block = table[begin : begin + rows]
        np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64), out=norms[begin : begin + len(block)])
    if not np.isfinite(norms).all():
        word = words[int((~np.isfinite(norms)).argmax())]
        raise DataError(f"{owner}: the vector of {word!r} holds NaN or infinity, expected finite numbers")
    return norms


__all__ = ["UnknownWordError", "WordTable"]
