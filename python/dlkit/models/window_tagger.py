"""The feed-forward tagger: a tag for each token, from the words of a window around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import nn
from dlkit.autograd import Tensor, cat
from dlkit.nn import functional as F

from .tagger import PADDING, Tagger, check_share, check_sizes, check_spread

#: What may follow the hidden layer's products.
ACTIVATIONS = ("tanh", "hardtanh", "relu")


class WindowReader(Tagger):
    """Base of the taggers that read windows of words: their tables, and what is seen of each token.

    Attributes
    ----------
    window : int
        Words that are seen at once.
    """

    window: int

    def _prepare(
        self,
        words: int,
        tags: int,
        dimensions: int,
        window: int,
        discrete: Sequence[int],
        discrete_dimensions: int,
        spread: float,
        dtype: Any,
    ) -> int:
        """Make the tables; returns how many numbers a window has."""
        name = type(self).__name__
        sizes = {"words": (words, 2), "tags": (tags, 1), "dimensions": (dimensions, 1), "window": (window, 1)}
        check_sizes(name, sizes)
        if window % 2 == 0:
            raise ValueError(
                f"{name}: window is {window}, expected an odd number: as many words after the token as before it"
            )
        check_spread(name, spread)
        self.words, self.tags, self.dimensions = int(words), int(tags), int(dimensions)
        self.window = int(window)
        self.embedding = self._table(self.words, self.dimensions, float(spread), dtype, None)
        more = self._prepare_discrete(discrete, discrete_dimensions, float(spread), dtype)
        return self.window * (self.dimensions + more)

    def windows(self, words: Any, batch_sizes: Sequence[int], discrete: Any = None) -> Tensor:
        """Return what is seen of each token: (rows, window * numbers of a token)."""
        name = type(self).__name__
        numbers = np.asarray(words)
        if numbers.ndim != 1:
            raise ValueError(f"{name}: words is {numbers.shape}, expected (rows,) of word numbers")
        if numbers.dtype.kind not in "iu":
            raise TypeError(f"{name}: words is of dtype {numbers.dtype}, expected integers")
        sizes = checked_batch_sizes(name, batch_sizes, len(numbers))
        around = window_rows(sizes, self.window // 2)
        # One row more: what is outside.
        vectors = self.embedding(self._here(np.append(numbers, PADDING)[around]))
        seen: Tensor = vectors.reshape(len(numbers), -1)
        if not len(self.discrete):
            return seen
        rows = self._discrete_rows(discrete, len(numbers))
        outside = self._discrete_rows(np.zeros((1, len(self.discrete)), np.int64), 1)
        values = self.discrete_embedding(self._here(np.concatenate([rows, outside])[around]))
        return cat([seen, values.reshape(len(numbers), -1)], 1)


class WindowTagger(WindowReader):
    """The vectors of the words around a token, side by side, one hidden layer, a score for each tag.

    Places outside the sentence have the vector of `PADDING`, which is learnt.

    Parameters
    ----------
    words
        Entries of the vocabulary, `PADDING` (0) and `UNKNOWN` (1) included.
    tags
        How many there are.
    dimensions
        Of the word vectors.
    window
        Words that are seen: odd, the token in the middle.
    hidden
        Units of the hidden layer.
    activation
        One of `ACTIVATIONS`.
    discrete
        Entries of the vocabulary of each discrete feature, both special ones included.
    discrete_dimensions
        Of their vectors.
    dropout
        Of what the hidden layer reads, and of what the output layer reads.
    crf
        Whether whole sequences of tags are weighed: the sentence-level log-likelihood of Collobert et al.
    spread
        Random vectors begin uniform from minus this to this.
    dtype
        float32 or float64.

    Attributes
    ----------
    embedding, discrete_embedding : Embedding
    hidden : Linear
        (hidden, window * numbers of a token): the window's first token first; of all tokens the words' vectors, then
        those of the features.
    output : Linear
        (tags, hidden).
    crf : CRF
        Only with `crf`.

    Raises
    ------
    ValueError
        A size is not positive, a probability not in [0, 1), or a name unknown.

    Notes
    -----
    The window approach of R. Collobert, J. Weston, L. Bottou, M. Karlen, K. Kavukcuoglu, P. Kuksa, "Natural Language
    Processing (Almost) from Scratch", JMLR 2011.
    """

    def __init__(
        self,
        words: int,
        tags: int,
        dimensions: int = 50,
        window: int = 5,
        hidden: int = 300,
        activation: str = "tanh",
        discrete: Sequence[int] = (),
        discrete_dimensions: int = 5,
        dropout: float = 0.0,
        crf: bool = False,
        spread: float = 0.1,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        width = self._prepare(words, tags, dimensions, window, discrete, discrete_dimensions, spread, dtype)
        check_sizes("WindowTagger", {"hidden": (hidden, 1)})
        check_share("WindowTagger", "dropout", dropout)
        check_activation("WindowTagger", activation)
        self.activation, self.dropout = activation, float(dropout)
        self.hidden = nn.Linear(width, int(hidden), dtype=dtype)
        self.output = nn.Linear(int(hidden), self.tags, dtype=dtype)
        self.has_crf = bool(crf)
        if crf:
            self.crf = nn.CRF(self.tags, reduction="token_mean", dtype=dtype)

    def forward(
        self,
        words: Any,
        batch_sizes: Sequence[int],
        spellings: Any = None,
        spelled: Any = None,
        bigrams: Any = None,
        discrete: Any = None,
    ) -> Tensor:
        """Return a score for each tag of each token of a packed batch.

        Parameters
        ----------
        words : integer array of shape (rows,)
            Step after step, longest sentence first.
        batch_sizes : sequence of int
            Rows of each step.
        spellings, spelled, bigrams
            Not read.
        discrete : integer array of shape (rows, features), optional
            Values of the discrete features. Needed where the tagger has some.

        Returns
        -------
        Tensor of shape (rows, tags)

        Raises
        ------
        ValueError, TypeError, IndexError
            An array has another shape, holds no integers or a number that no entry has, or is missing.
        """
        seen = F.dropout(self.windows(words, batch_sizes, discrete), self.dropout, self.training)
        hidden = activated(self.hidden, seen, self.activation)
        scores: Tensor = self.output(F.dropout(hidden, self.dropout, self.training))
        return scores


def activated(layer: nn.Linear, x: Tensor, activation: str) -> Tensor:
    """A linear layer and an activation, as one kernel where there is one."""
    if activation == "hardtanh":
        return F.hardtanh(F.linear(x, layer.weight, layer.bias))
    return F.linear(x, layer.weight, layer.bias, activation)


def check_activation(owner: str, activation: str) -> None:
    """Check the name of an activation.

    Raises
    ------
    ValueError
        It is none of `ACTIVATIONS`.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"{owner}: activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}")


def checked_batch_sizes(owner: str, batch_sizes: Sequence[int], rows: int) -> NDArray[np.int64]:
    """The rows of each step as an array.

    Raises
    ------
    TypeError
        They are no integers.
    ValueError
        They are no falling positive numbers that add up to the rows.
    """
    sizes = np.asarray(batch_sizes)
    if sizes.ndim != 1 or not sizes.size:
        raise ValueError(f"{owner}: batch_sizes is {sizes.shape}, expected (T,), one for each step")
    if sizes.dtype.kind not in "iu":
        raise TypeError(f"{owner}: batch_sizes has dtype {sizes.dtype}, expected integers")
    if int(sizes.sum()) != rows:
        raise ValueError(
            f"{owner}: batch_sizes add up to {int(sizes.sum())}, expected the {rows} rows of words"
        )
    if sizes[-1] < 1 or (np.diff(sizes.astype(np.int64)) > 0).any():
        raise ValueError(f"{owner}: batch_sizes are {sizes.tolist()}, expected no increase, and at least 1")
    return sizes.astype(np.int64)


def window_rows(batch_sizes: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """For each row of a packed batch, the rows of the tokens around it: (rows, 2 * reach + 1).

    What is outside the sentence has the number that follows the last row's.

    Examples
    --------
    >>> window_rows(np.array([2, 1]), 1)  # sentences of rows 0, 2 and of row 1
    array([[3, 0, 2],
           [3, 1, 3],
           [0, 2, 3]])
    """
    rows, steps = int(batch_sizes.sum()), len(batch_sizes)
    starts = np.cumsum(batch_sizes) - batch_sizes
    step = np.repeat(np.arange(steps), batch_sizes)
    place = np.arange(rows) - starts[step]
    there = step[:, np.newaxis] + np.arange(-reach, reach + 1)
    inside = (there >= 0) & (there < steps)
    there = np.clip(there, 0, steps - 1)
    inside &= place[:, np.newaxis] < batch_sizes[there]
    return np.where(inside, starts[there] + place[:, np.newaxis], rows)


def count_weights(
    words: int,
    tags: int,
    dimensions: int,
    window: int,
    hidden: int,
    discrete: Sequence[int] = (),
    discrete_dimensions: int = 0,
    **others: Any,
) -> int:
    """Return how many weights a `WindowTagger` of these arguments has at least; makes none of them."""
    width = window * (dimensions + len(discrete) * discrete_dimensions)
    tables = words * dimensions + sum(discrete) * discrete_dimensions
    return int(tables + hidden * width + tags * hidden)
