"""The sentence approach of SENNA: a tag for each token, from the whole sentence as seen from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import nn
from dlkit.autograd import Function, Tensor
from dlkit.kernels.backend import device_of
from dlkit.nn import functional as F

from .tagger import check_share, check_sizes
from .window_tagger import WindowReader, activated, check_activation, checked_batch_sizes


class SentenceTagger(WindowReader):
    """A convolution over the sentence, the maximum of each filter over time, a hidden layer, a score for each tag.

    For each token that is tagged all places of the sentence are looked at again, since they have one feature more: how
    far they are from that token. Filters are linear, so that their answer at place i, for the token at t, is
    A[i] + B[i - t]: the product with the words around i is there once for all tokens of the sentence, the product with
    the distances once for all sentences. What remains for each pair of places are additions and comparisons.

    Parameters
    ----------
    words, tags, dimensions, hidden, activation, discrete, discrete_dimensions, dropout, crf, spread, dtype
        As for `WindowTagger`.
    window
        Words that a filter sees: odd.
    filters
        How many there are.
    reach
        Distances from -reach to reach have vectors of their own; farther ones have that of the farthest.
    distance_dimensions
        Of the distances' vectors.

    Attributes
    ----------
    embedding, discrete_embedding, distance_embedding : Embedding
    convolution : Linear
        (filters, window * numbers of a token).
    distances : Linear
        (filters, window * distance_dimensions): the part of the same filters that sees distances.
    hidden, output : Linear
    crf : CRF
        Only with `crf`.

    Raises
    ------
    ValueError
        A size is not positive, a probability not in [0, 1), or a name unknown.

    Notes
    -----
    The sentence approach of Collobert et al., JMLR 2011; R. Collobert, J. Weston, "A Unified Architecture for Natural
    Language Processing", ICML 2008. On the CPU alone.
    """

    def __init__(
        self,
        words: int,
        tags: int,
        dimensions: int = 50,
        window: int = 5,
        filters: int = 300,
        hidden: int = 300,
        activation: str = "hardtanh",
        discrete: Sequence[int] = (),
        discrete_dimensions: int = 5,
        reach: int = 10,
        distance_dimensions: int = 5,
        dropout: float = 0.0,
        crf: bool = False,
        spread: float = 0.1,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        check_sizes(
            "SentenceTagger",
            {
                "filters": (filters, 1),
                "hidden": (hidden, 1),
                "reach": (reach, 1),
                "distance_dimensions": (distance_dimensions, 1),
            },
        )
        check_share("SentenceTagger", "dropout", dropout)
        check_activation("SentenceTagger", activation)
        width = self._prepare(words, tags, dimensions, window, discrete, discrete_dimensions, spread, dtype)
        self.activation, self.dropout, self.reach = activation, float(dropout), int(reach)
        self.distance_embedding = self._table(
            2 * self.reach + 1, distance_dimensions, float(spread), dtype, None
        )
        self.convolution = nn.Linear(width, int(filters), dtype=dtype)
        self.distances = nn.Linear(
            self.window * int(distance_dimensions), int(filters), bias=False, dtype=dtype
        )
        self.hidden = nn.Linear(int(filters), int(hidden), dtype=dtype)
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
        """Return a score for each tag of each token of a packed batch; arguments as for `WindowTagger`.

        Raises
        ------
        ValueError, TypeError, IndexError
            As there; and if the model is not on the CPU.
        """
        if device_of(self.embedding.weight._array) != "cpu":
            raise ValueError(
                "SentenceTagger: the model is on a device, expected cpu: it has no kernels for others"
            )
        seen = F.dropout(self.windows(words, batch_sizes, discrete), self.dropout, self.training)
        sizes = checked_batch_sizes("SentenceTagger", batch_sizes, seen.shape[0])
        by_words = self.convolution(seen)
        by_distance = self.distances(self._distance_windows(len(sizes)))
        largest: Tensor = MaxOverSentence.apply(by_words, by_distance, sizes)
        hidden = activated(self.hidden, F.dropout(largest, self.dropout, self.training), self.activation)
        scores: Tensor = self.output(F.dropout(hidden, self.dropout, self.training))
        return scores

    def _distance_windows(self, longest: int) -> Tensor:
        """The distances that a filter sees at each distance from 1 - longest to longest - 1."""
        half = self.window // 2
        around = np.arange(1 - longest, longest)[:, np.newaxis] + np.arange(-half, half + 1)
        numbers = np.clip(around, -self.reach, self.reach) + self.reach
        vectors: Tensor = self.distance_embedding(numbers).reshape(len(numbers), -1)
        return vectors


class MaxOverSentence(Function):
    """max over i of A[i] + B[i - t], for each token t of a packed batch.

    Nothing of the size of all pairs is in memory: places are gone through one after the other, with the best so far.
    Per pair of tokens of a sentence and filter an addition and a comparison, some 12 bytes of cache traffic.
    """

    @staticmethod
    def forward(ctx: Any, by_words: Tensor, by_distance: Tensor, batch_sizes: NDArray[np.int64]) -> Any:
        """Return (rows, filters), given A (rows, filters) and B (2 T - 1, filters) of T steps."""
        a, b = by_words.data, by_distance.data
        longest = len(batch_sizes)
        out = np.empty_like(a)
        place = np.empty(a.shape, np.int32)  # the row of the best place
        apart = np.empty(a.shape, np.int32)  # the row of B
        for rows in _same_length(batch_sizes):
            length = rows.shape[1]
            mine = a[rows]
            best = np.full(mine.shape, -np.inf, a.dtype)
            at = np.zeros(mine.shape, np.int32)
            for i in range(length):
                # Of the tokens t = 0, 1, ... the distances i - t, i - t - 1, ...
                first = longest - 1 + i
                answer = mine[:, i : i + 1] + b[first - length + 1 : first + 1][::-1]
                better = answer > best
                np.copyto(best, answer, where=better)
                at[better] = i
            out[rows] = best
            tokens = np.arange(length, dtype=np.int32)[np.newaxis, :, np.newaxis]
            apart[rows] = at - tokens + (longest - 1)
            place[rows] = np.take_along_axis(np.broadcast_to(rows[:, :, np.newaxis], at.shape), at, axis=1)
        ctx.place, ctx.apart, ctx.rows = place, apart, len(b)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Give each gradient to the two terms of the largest sum."""
        g = np.asarray(grad_outputs[0].data)
        filters = g.shape[1]
        column = np.arange(filters)

        def added(rows: NDArray[np.int32], count: int) -> NDArray[Any]:
            flat = (rows.astype(np.int64) * filters + column).ravel()
            sums = np.bincount(flat, weights=g.ravel(), minlength=count * filters)
            return sums.reshape(count, filters).astype(g.dtype)

        return Tensor(added(ctx.place, len(g))), Tensor(added(ctx.apart, ctx.rows)), None


def _same_length(batch_sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of the sentences of each length: (sentences, length)."""
    starts = np.cumsum(batch_sizes) - batch_sizes
    # Sentence j has as many tokens as steps have more than j rows.
    following = np.append(batch_sizes[1:], 0)
    for last in np.flatnonzero(batch_sizes > following):
        sentences = np.arange(following[last], batch_sizes[last])
        yield sentences[:, np.newaxis] + starts[: last + 1]


def count_weights(
    words: int,
    tags: int,
    dimensions: int,
    window: int,
    filters: int,
    hidden: int,
    discrete: Sequence[int] = (),
    discrete_dimensions: int = 0,
    reach: int = 0,
    distance_dimensions: int = 0,
    **others: Any,
) -> int:
    """Return how many weights a `SentenceTagger` of these arguments has at least; makes none of them."""
    width = window * (dimensions + len(discrete) * discrete_dimensions + distance_dimensions)
    tables = words * dimensions + sum(discrete) * discrete_dimensions + (2 * reach + 1) * distance_dimensions
    return int(tables + filters * width + hidden * filters + tags * hidden)
