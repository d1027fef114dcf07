"""The feed-forward neural language model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import nn
from dlkit.autograd import Tensor, cat, no_grad
from dlkit.autograd.base import mark_changed
from dlkit.kernels.backend import device_of, is_device_array, move, to_host
from dlkit.nn import functional as F
from dlkit.nn import init

from .sampling import sample_from

#: Words of the longest n-grams that a model may see.
MOST_ORDER = 64
#: Words of a text that are scored at a time.
_ROWS = 512


class FeedForwardLanguageModel(nn.Module):
    """The vectors of the n − 1 words before it, a hidden layer, a score for every word (Bengio et al. 2003).

    With x the concatenated vectors, the scores are y = b + W x + U tanh(d + H x), and the probabilities softmax(y).
    W, the direct connections, may be left out.

    Parameters
    ----------
    words
        Entries of the vocabulary.
    order
        n: each word is predicted from the `order` − 1 before it; 2 … `MOST_ORDER`.
    dimensions
        Of the word vectors.
    hidden
        Units of the hidden layer.
    direct
        Whether there is W.
    dropout
        Of x and of the hidden layer.
    spread
        All weights begin uniform from minus this to this, biases at 0; 0: as the layers' own defaults have it.
    end
        The number of the token that ends a line; it also stands where a text has no words before it.
    across
        Whether words before the end of a line are seen behind it. Otherwise `end` stands in their place, as a sentence
        of an n-gram model begins.
    dtype
        float32 or float64.

    Attributes
    ----------
    embedding : Embedding
        ``weight`` (words, dimensions): the paper's C.
    hidden : Linear
        (hidden, (order − 1) dimensions): H and d.
    output : Linear
        (words, hidden): U and b. With direct connections (words, hidden + (order − 1) dimensions): U and W side by
        side, one product.

    Raises
    ------
    ValueError
        A setting is out of range.
    TypeError
        `dtype` is neither.

    Notes
    -----
    Y. Bengio, R. Ducharme, P. Vincent, C. Jauvin, "A neural probabilistic language model", Journal of Machine Learning
    Research 3, 2003.

    Examples
    --------
    >>> model = FeedForwardLanguageModel(words=50, order=4, dimensions=6, hidden=8)
    >>> model([[3, 1, 4], [1, 5, 9]]).shape
    (2, 50)
    """

    def __init__(
        self,
        words: int,
        order: int = 5,
        dimensions: int = 60,
        hidden: int = 100,
        direct: bool = False,
        dropout: float = 0.0,
        spread: float = 0.0,
        end: int = 0,
        across: bool = False,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        bounds = {"words": (words, 1, 1 << 31), "order": (order, 2, MOST_ORDER)}
        bounds |= {"dimensions": (dimensions, 1, 1 << 31), "hidden": (hidden, 1, 1 << 31)}
        for name, (size, least, most) in bounds.items():
            _check_integer(name, size, least, most)
        _check_integer("end", end, 0, int(words) - 1)
        if not 0 <= spread < float("inf"):
            raise ValueError(
                f"FeedForwardLanguageModel: spread is {spread!r}; expected a finite number of 0 or more"
            )
        self.words, self.order, self.dimensions = int(words), int(order), int(dimensions)
        self.direct, self.end, self.across = bool(direct), int(end), bool(across)
        seen = (self.order - 1) * self.dimensions
        self.embedding = nn.Embedding(self.words, self.dimensions, dtype=dtype)
        self.hidden = nn.Linear(seen, int(hidden), dtype=dtype)
        self.activation = nn.Tanh()
        self.output = nn.Linear(int(hidden) + (seen if direct else 0), self.words, dtype=dtype)
        self.dropout = nn.Dropout(dropout)
        if spread:
            for parameter in self.parameters():
                if parameter.data.ndim == 1:
                    init.zeros_(parameter)
                else:
                    init.uniform_(parameter, -spread, spread)

    def forward(self, x: Any) -> Tensor:
        """Score what follows each context.

        Parameters
        ----------
        x
            Token numbers, shape (N, order − 1), the word just before last; any integer dtype.

        Returns
        -------
        Tensor of shape (N, words)
            Logits.

        Raises
        ------
        ValueError, TypeError, IndexError
            x has another shape, holds no integers or a number that no word has.
        """
        numbers = x.data if isinstance(x, Tensor) else x if is_device_array(x) else np.asarray(x)
        if numbers.ndim != 2 or numbers.shape[1] != self.order - 1:
            raise ValueError(
                f"FeedForwardLanguageModel: x is {tuple(numbers.shape)}; expected (N, {self.order - 1}) of word numbers"
            )
        vectors: Tensor = self.embedding(x)
        seen = self.dropout(vectors.reshape(len(numbers), -1))
        hidden = self.dropout(self.activation(self.hidden(seen)))
        scores: Tensor = self.output(cat([hidden, seen], 1) if self.direct else hidden)
        return scores

    def loss(self, x: Any, y: Any) -> Tensor:
        """The mean surprise at words after their contexts.

        Parameters
        ----------
        x
            Token numbers, shape (N, order − 1).
        y
            Those that follow, shape (N,).

        Returns
        -------
        Tensor
            A number: minus the mean of the natural logarithms of their probabilities.
        """
        return F.cross_entropy(self(x), y)

    def contexts(self, tokens: NDArray[Any]) -> NDArray[np.int32]:
        """What the model sees before each token of a text after the first.

        Parameters
        ----------
        tokens
            Token numbers, shape (N,), N at least 2.

        Returns
        -------
        ndarray of shape (N − 1, order − 1)
            Row i is what stands before ``tokens[i + 1]``.

        Raises
        ------
        ValueError
            `tokens` is no vector of at least two integers.
        """
        tokens = np.asarray(tokens)
        if tokens.ndim != 1 or len(tokens) < 2 or tokens.dtype.kind not in "iu":
            raise ValueError(
                f"contexts: tokens is {tokens.shape} of {tokens.dtype}; expected one dimension of at least two integers"
            )
        count = len(tokens) - 1
        before = np.concatenate([np.full(self.order - 2, self.end), tokens[:-1]]).astype(np.int32)
        windows = np.lib.stride_tricks.sliding_window_view(before, self.order - 1)
        found: NDArray[np.int32] = windows[:count].copy()
        if not self.across:
            # From the last word back: what lies before an end is not seen.
            for place in range(self.order - 3, -1, -1):
                found[found[:, place + 1] == self.end, place] = self.end
        return found

    def surprises(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each token of a text after the first costs, given those before it.

        Parameters
        ----------
        tokens
            Token numbers, shape (N,), N at least 2.

        Returns
        -------
        ndarray of shape (N - 1,)
            Minus the natural logarithms of their probabilities.

        Raises
        ------
        ValueError
            `tokens` is no vector of at least two integers.
        """
        contexts = self.contexts(tokens)
        chosen = np.asarray(tokens)[1:]
        found = []
        with nn.evaluation_mode(self), no_grad():
            for start in range(0, len(contexts), _ROWS):
                scores = self(self._here(contexts[start : start + _ROWS]))
                follow = self._here(chosen[start : start + _ROWS])
                costs = F.cross_entropy(scores, follow, reduction="none")
                found.append(np.asarray(to_host(costs.data), np.float64))
        return np.concatenate(found)

    def log_probs_after(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The natural logarithms of the probabilities of all words after a text, shape (words,)."""
        tokens = np.asarray(tokens)
        context = self.contexts(np.append(tokens, self.end))[-1:]
        with nn.evaluation_mode(self), no_grad():
            scores = to_host(self(self._here(context)).data[0]).astype(np.float64)
        scores -= scores.max()
        found: NDArray[np.float64] = scores - np.log(np.exp(scores).sum())
        return found

    def sample(
        self,
        start: NDArray[np.int64],
        count: int,
        *,
        temperature: float = 1.0,
        rng: np.random.Generator | None = None,
        forbidden: tuple[int, ...] = (),
    ) -> NDArray[np.int64]:
        """Go on with a text.

        Parameters
        ----------
        start
            Token numbers to begin with, shape (N,), N at least 1.
        count
            Tokens to draw.
        temperature
            Logits are divided by it: below 1 the likely becomes likelier; 0 takes the likeliest each time.
        rng
            Draws; default: a new generator.
        forbidden
            Tokens that are never drawn.

        Returns
        -------
        ndarray of shape (count,)

        Raises
        ------
        ValueError
            `start` is empty, or `count` or `temperature` below 0.
        """
        return sample_from(
            self.log_probs_after,
            start,
            count,
            self.order - 1,
            temperature=temperature,
            rng=rng,
            forbidden=forbidden,
        )

    def set_vectors(self, table: NDArray[Any]) -> None:
        """Begin with these word vectors, shape (words, dimensions).

        Raises
        ------
        ValueError
            The table has another shape.
        """
        if table.shape != (self.words, self.dimensions):
            raise ValueError(
                f"FeedForwardLanguageModel: table is {table.shape}; expected ({self.words}, {self.dimensions})"
            )
        with no_grad():
            self.embedding.weight.copy_(table.astype(self.embedding.weight.dtype))
        mark_changed(self.embedding.weight)

    def set_frequencies(self, counts: NDArray[Any]) -> None:
        """Begin with how frequent each word is: b becomes the logarithm of its share, one more of each counted.

        Parameters
        ----------
        counts
            Of each word in the training text, shape (words,).

        Raises
        ------
        ValueError
            There are not as many counts as words, or one is below 0.
        """
        counts = np.asarray(counts, np.float64)
        if counts.shape != (self.words,) or not counts.min() >= 0:
            raise ValueError(
                f"FeedForwardLanguageModel: counts is {counts.shape}, from {counts.min(initial=0):g}; expected "
                f"({self.words},), from 0"
            )
        bias = self.output.bias
        assert bias is not None
        with no_grad():
            bias.copy_(np.log((counts + 1) / (counts.sum() + self.words)).astype(bias.dtype))
        mark_changed(bias)

    def _here(self, tokens: NDArray[Any]) -> Any:
        # On the model's device.
        return move(tokens, device_of(self.embedding.weight.data))


def _check_integer(name: str, value: Any, least: int, most: int) -> None:
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise ValueError(
            f"FeedForwardLanguageModel: {name} is {value!r}; expected an integer of {least} to {most}"
        )


def count_weights(
    words: int, order: int, dimensions: int, hidden: int, direct: bool = False, **others: Any
) -> int:
    """Return how many weights, biases apart, a `FeedForwardLanguageModel` of these arguments has; makes none."""
    seen = (order - 1) * dimensions
    return int(words * dimensions + hidden * seen + words * hidden + (words * seen if direct else 0))
