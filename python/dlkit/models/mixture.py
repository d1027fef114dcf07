"""Two language models as one: P = w P₁ + (1 − w) P₂."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .sampling import sample_from

if TYPE_CHECKING:
    from .feed_forward_language_model import FeedForwardLanguageModel
    from .ngram import NGramModel

_HALVINGS = 60


def mixed_log_probs(first: ArrayLike, second: ArrayLike, weight: float) -> NDArray[np.float64]:
    """The logarithms of ``weight * exp(first) + (1 - weight) * exp(second)``.

    Parameters
    ----------
    first, second
        Natural logarithms of probabilities, of one shape; minus infinity is none.
    weight
        Of the first, 0 … 1.

    Returns
    -------
    ndarray of float64, of their shape

    Raises
    ------
    ValueError
        Shapes differ, or `weight` is out of range.
    """
    one, two = _pair("mixed_log_probs", first, second)
    if not 0 <= weight <= 1:
        raise ValueError(f"mixed_log_probs: weight is {weight}; expected 0 to 1")
    with np.errstate(divide="ignore"):
        found: NDArray[np.float64] = np.logaddexp(one + np.log(weight), two + np.log1p(-weight))
    return found


def mixture_weight(first: ArrayLike, second: ArrayLike) -> float:
    """The weight of the first model with which a mixture of two makes a text most probable.

    The logarithm of the text's probability is a concave function of the weight: where its slope is 0 is found by
    halving.

    Parameters
    ----------
    first, second
        Natural logarithms of the probabilities of each word of the text, shape (words,).

    Returns
    -------
    float
        0 … 1. Where both say the same of every word, ½.

    Raises
    ------
    ValueError
        Shapes differ, there is no word, or a word is impossible to both.

    Notes
    -----
    Jelinek & Mercer, "Interpolated estimation of Markov source parameters from sparse data", 1980, find it by
    expectation maximisation, which comes to the same.
    """
    one, two = _pair("mixture_weight", first, second)
    top = np.maximum(one, two)
    if not top.size or not np.isfinite(top).all():
        raise ValueError(
            f"mixture_weight: {top.size} words, {np.count_nonzero(~np.isfinite(top))} of them impossible to both; "
            f"expected at least one word, and none of those"
        )
    p, q = np.exp(one - top), np.exp(two - top)

    def slope(weight: float) -> float:
        # At an end, a word that only the other model knows makes it infinite.
        with np.errstate(divide="ignore"):
            return float(((p - q) / (weight * p + (1 - weight) * q)).sum())

    low, high = 0.0, 1.0
    if (p == q).all():
        return 0.5
    if slope(low) <= 0:
        return low
    if slope(high) >= 0:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


class MixtureLanguageModel:
    """A feed-forward network and an n-gram model of the same words, as one model (Bengio et al. 2003).

    Parameters
    ----------
    network
        Of the words' numbers.
    ngrams
        Of the words themselves; a number that is its network's `end` is ``</s>`` to it.
    words
        What the network's numbers stand for.
    weight
        Of the network, 0 … 1.

    Raises
    ------
    ValueError
        There are not as many words as the network has, `weight` is out of range, or `ngrams` is not fitted.
    """

    def __init__(
        self, network: FeedForwardLanguageModel, ngrams: NGramModel, words: Sequence[str], weight: float
    ) -> None:
        if len(words) != network.words:
            raise ValueError(
                f"MixtureLanguageModel: {len(words)} words; expected {network.words}, the network's"
            )
        if not 0 <= weight <= 1:
            raise ValueError(f"MixtureLanguageModel: weight is {weight}; expected 0 to 1")
        self.network, self.ngrams, self.words, self.weight = network, ngrams, list(words), float(weight)
        if not ngrams.keep_empty:
            raise ValueError(
                "MixtureLanguageModel: ngrams leaves lines without words out; expected NGramModel(..., keep_empty=True)"
            )
        number = {word: i for i, word in enumerate(ngrams.words)}
        unknown = number["<unk>"]
        # The n-gram model's number of each word of the network.
        self._theirs = np.array([number.get(word, unknown) for word in self.words], dtype=np.int64)
        self._theirs[network.end] = number["</s>"]

    def eval(self) -> MixtureLanguageModel:
        """The network in evaluation mode."""
        self.network.eval()
        return self

    def to(self, device: str) -> MixtureLanguageModel:
        """The network on a device."""
        self.network.to(device)
        return self

    def sentences(self, tokens: NDArray[np.int64]) -> list[list[str]]:
        """A text of numbers as the n-gram model reads it: sentences of words, without their ends."""
        ends = np.flatnonzero(np.asarray(tokens) == self.network.end)
        starts = [0, *(int(end) + 1 for end in ends)]
        stops = [*(int(end) for end in ends), len(tokens)]
        found = [[self.words[int(i)] for i in tokens[a:b]] for a, b in zip(starts, stops, strict=True)]
        return found

    def ngram_surprises(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each token of a text after the first costs by the n-gram model alone; the first ends a line.

        Parameters
        ----------
        tokens
            Token numbers, shape (N,), N at least 2, the first the network's `end`.

        Returns
        -------
        ndarray of shape (N - 1,)
            Minus the natural logarithms of their probabilities; infinite where a token is impossible.

        Raises
        ------
        ValueError
            The text does not begin with an end of a line.
        """
        tokens = np.asarray(tokens)
        if tokens.ndim != 1 or len(tokens) < 2 or tokens[0] != self.network.end:
            raise ValueError(
                f"ngram_surprises: tokens is {tokens.shape}; expected one dimension of at least two, the first of them "
                f"{self.network.end}, an end of a line"
            )
        found = self.ngrams.score(self.sentences(tokens[1:]))
        # Where the text stops within a line, the end that was scored behind it is none of its tokens.
        return -found.log_probs[: len(tokens) - 1]

    def surprises(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each token of a text after the first costs; the first ends a line. As `ngram_surprises`."""
        of_ngrams = self.ngram_surprises(tokens)
        return -mixed_log_probs(-self.network.surprises(tokens), -of_ngrams, self.weight)

    def log_probs_after(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The natural logarithms of the probabilities of all words after a text, shape (words,)."""
        tokens = np.asarray(tokens)
        ends = np.flatnonzero(tokens == self.network.end)
        line = tokens[int(ends[-1]) + 1 :] if len(ends) else tokens
        chances = self.ngrams.probabilities([self.words[int(i)] for i in line], begin=bool(len(ends)))
        with np.errstate(divide="ignore"):
            logs = np.log(chances[self._theirs])
        return mixed_log_probs(self.network.log_probs_after(tokens), logs, self.weight)

    def sample(
        self,
        start: NDArray[np.int64],
        count: int,
        *,
        temperature: float = 1.0,
        rng: np.random.Generator | None = None,
        forbidden: tuple[int, ...] = (),
    ) -> NDArray[np.int64]:
        """Go on with a text, as the network's `sample`."""
        seen = max(self.network.order, self.ngrams.order)
        return sample_from(
            self.log_probs_after,
            start,
            count,
            seen,
            temperature=temperature,
            rng=rng,
            forbidden=forbidden,
        )


def _pair(
    operation: str, first: ArrayLike, second: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != two.shape:
        raise ValueError(f"{operation}: first is {one.shape} and second {two.shape}; expected one shape")
    return one, two
