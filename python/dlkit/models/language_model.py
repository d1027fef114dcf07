"""The recurrent language model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import nn
from dlkit.autograd import Tensor, no_grad
from dlkit.kernels.backend import device_of, move, to_host
from dlkit.kernels.recurrent import CELLS
from dlkit.nn import functional as F
from dlkit.nn import init
from dlkit.nn.linear import positive_integer

from .sampling import check_sample, checked_tokens, draw_token
from .tagger import check_share

#: One state, or a pair of them for LSTMs.
State = Any

#: How the words to come are scored.
SOFTMAXES = ("full", "adaptive", "sampled")
_ADAPTIVE = (nn.AdaptiveLogSoftmaxWithLoss, nn.TiedAdaptiveLogSoftmaxWithLoss)


class RecurrentLanguageModel(nn.Module):
    """Word vectors, recurrent layers, a score for every word to come next (Mikolov et al. 2010; Zaremba et al. 2014).

    Parameters
    ----------
    words
        Entries of the vocabulary.
    dimensions
        Of the word vectors.
    hidden
        Units of each layer.
    layers
        Recurrent layers.
    cell
        One of `dlkit.kernels.CELLS`.
    dropout
        Of word vectors, between layers, and of what the output layer reads: what is not recurrent (Zaremba et al.
        2014).
    recurrent_dropout
        Of what the recurrent weights see, the same units at every step (Gal & Ghahramani 2016).
    tied
        The output layer's weight is the table of word vectors (Press & Wolf 2017); needs `dimensions` = `hidden`.
    spread
        All weights begin uniform from minus this to this; 0: as the layers' own defaults have it.
    softmax
        "full": a score for every word; for large vocabularies "adaptive" (`dlkit.nn.AdaptiveLogSoftmaxWithLoss`) or
        "sampled" (`dlkit.nn.SampledSoftmaxLoss`). Both want words numbered by falling frequency.
    cutoffs
        Where the clusters of rare words begin, of "adaptive".
    div_value
        Of "adaptive": cluster i sees hidden / div_value ** (i + 1) features. Where `tied` is set each sees all
        (`dlkit.nn.TiedAdaptiveLogSoftmaxWithLoss`).
    samples
        Words that are drawn in each step, of "sampled".

    Raises
    ------
    ValueError
        `tied` is set and `dimensions` and `hidden` differ, or a setting is out of range.
    """

    output: (
        nn.Linear | nn.AdaptiveLogSoftmaxWithLoss | nn.TiedAdaptiveLogSoftmaxWithLoss | nn.SampledSoftmaxLoss
    )

    def __init__(
        self,
        words: int,
        dimensions: int = 200,
        hidden: int = 200,
        layers: int = 2,
        cell: str = "lstm",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        tied: bool = False,
        spread: float = 0.0,
        softmax: str = "full",
        cutoffs: Sequence[int] = (2000, 10000),
        samples: int = 1000,
        div_value: float = 4.0,
    ) -> None:
        super().__init__()
        if softmax not in SOFTMAXES:
            raise ValueError(f"RecurrentLanguageModel: softmax is {softmax!r}; expected one of {SOFTMAXES}")
        if tied and dimensions != hidden:
            raise ValueError(
                f"RecurrentLanguageModel: tied is set but dimensions is {dimensions} and hidden {hidden}; expected "
                f"them equal"
            )
        check_share("RecurrentLanguageModel", "dropout", dropout)
        self.embedding = nn.Embedding(words, dimensions)
        self.recurrent = nn.Recurrent(
            *(cell, dimensions, hidden, layers),
            dropout=0.0 if layers == 1 else dropout,  # one layer has nothing between layers
            recurrent_dropout=recurrent_dropout,
        )
        if softmax == "adaptive" and tied:
            self.output = nn.TiedAdaptiveLogSoftmaxWithLoss(self.embedding.weight, cutoffs)
        elif softmax == "adaptive":
            self.output = nn.AdaptiveLogSoftmaxWithLoss(hidden, words, cutoffs, div_value, head_bias=True)
        elif softmax == "sampled":
            self.output = nn.SampledSoftmaxLoss(hidden, words, samples)
        else:
            self.output = nn.Linear(hidden, words)
        self.softmax = softmax
        self.dropout = nn.Dropout(dropout)
        self.tied = tied
        if spread:
            for parameter in self.parameters():
                init.uniform_(parameter, -spread, spread)
        if tied and not isinstance(self.output, nn.AdaptiveLogSoftmaxWithLoss):
            self.output.weight = self.embedding.weight
        if CELLS[cell].has_c or spread:
            for bias in self._score_biases():
                init.zeros_(bias)

    def _score_biases(self) -> list[nn.Parameter]:
        if isinstance(self.output, nn.AdaptiveLogSoftmaxWithLoss):
            found = [self.output.head.bias]
        elif isinstance(self.output, nn.TiedAdaptiveLogSoftmaxWithLoss):
            found = [self.output.bias, self.output.clusters.bias]
        else:
            found = [self.output.bias]
        return [bias for bias in found if bias is not None]

    def forward(self, x: Any, state: State = None) -> tuple[Tensor, State]:
        """Score what follows each token.

        Parameters
        ----------
        x
            Token numbers, shape (T, B).
        state
            That after the tokens before; None: none.

        Returns
        -------
        Tensor of shape (T B, words)
            Logits, row by row in the order of x; log-probabilities where the softmax is not full.
        state

        Raises
        ------
        ValueError
            `x` has other dimensions, or no tokens.
        """
        rows, state = self.features(x, state)
        if isinstance(self.output, nn.Linear):
            return F.linear(rows, self.output.weight, self.output.bias), state
        return self.output.log_prob(rows), state

    def features(self, x: Any, state: State = None) -> tuple[Tensor, State]:
        """What the output layer reads, shape (T B, hidden), and the state; arguments as those of `forward`."""
        shape = np.shape(x)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                f"RecurrentLanguageModel: x is {tuple(shape)}; expected (T, B), neither of them 0"
            )
        vectors = self.dropout(self.embedding(x))
        outputs, state = self.recurrent(vectors, state)
        return self.dropout(outputs.reshape(-1, outputs.shape[2])), state

    def loss(self, x: Any, y: Any, state: State = None) -> tuple[Tensor, State]:
        """The mean surprise at the tokens to come.

        Parameters
        ----------
        x
            Token numbers, shape (T, B).
        y
            Those after them, shape (T B,).
        state
            That after the tokens before; None: none.

        Returns
        -------
        Tensor
            In training, of a sampled softmax, an estimate.
        state
        """
        rows, state = self.features(x, state)
        if isinstance(self.output, nn.Linear):
            return F.cross_entropy(F.linear(rows, self.output.weight, self.output.bias), y), state
        if isinstance(self.output, _ADAPTIVE):
            return self.output(rows, y).loss, state
        return self.output(rows, y), state

    def _surprises(self, rows: Tensor, chosen: Any) -> NDArray[np.float64]:
        if isinstance(self.output, _ADAPTIVE):
            costs: Tensor = -self.output(rows, chosen).output
        else:
            scores = F.linear(rows, self.output.weight, self.output.bias)
            costs = F.cross_entropy(scores, self._here(chosen), reduction="none")
        return np.asarray(to_host(costs.data), np.float64)

    def _here(self, tokens: NDArray[np.int64]) -> Any:
        # On the model's device.
        return move(tokens, device_of(self.embedding.weight.data))

    def surprises(self, tokens: ArrayLike, steps: int = 100) -> NDArray[np.float64]:
        """What each token of a text after the first costs, given all those before it.

        Parameters
        ----------
        tokens
            Token numbers, shape (N,), N at least 2.
        steps
            Tokens at a time.

        Returns
        -------
        ndarray of shape (N - 1,)
            Minus the natural logarithms of their probabilities.

        Raises
        ------
        TypeError, ValueError
            `tokens` are no integers, or fewer than two, or `steps` is no positive integer.
        """
        tokens = checked_tokens(tokens, "surprises", "tokens", 2)
        steps = positive_integer(steps, "surprises", "steps")
        found = []
        state: State = None
        with nn.evaluation_mode(self), no_grad():
            for start in range(0, len(tokens) - 1, steps):
                inputs = tokens[start : start + steps][: len(tokens) - 1 - start]
                rows, state = self.features(self._here(inputs[:, None]), state)
                chosen = tokens[start + 1 : start + 1 + len(inputs)]
                found.append(self._surprises(rows, chosen))
        return np.concatenate(found)

    def sample(
        self,
        start: ArrayLike,
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
        TypeError, ValueError
            `start` are no integers, or none; another argument is out of range, or all words are forbidden.
        """
        inputs = check_sample(start, count, temperature)
        rng = rng or np.random.default_rng()
        drawn: list[int] = []
        state: State = None
        with nn.evaluation_mode(self), no_grad():
            for _ in range(count):
                logits, state = self(self._here(inputs[:, None]), state)
                scores = to_host(logits.data[-1]).astype(np.float64)
                token = draw_token(scores, temperature, rng, forbidden)
                drawn.append(token)
                inputs = np.array([token])
        return np.array(drawn, dtype=np.int64)


def count_weights(
    words: int,
    dimensions: int,
    hidden: int,
    layers: int,
    cell: str,
    tied: bool = False,
    softmax: str = "full",
    cutoffs: Sequence[int] = (),
    div_value: float = 4.0,
    **others: Any,
) -> int:
    """Return how many weights, biases apart, a `RecurrentLanguageModel` of these arguments has; makes none."""
    gates = CELLS[cell].gates
    total = words * dimensions + gates * hidden * (dimensions + hidden + (layers - 1) * 2 * hidden)
    if softmax == "adaptive" and tied:
        total += hidden * len(cutoffs)
    elif softmax == "adaptive":
        if not div_value >= 1:
            raise ValueError(f"div_value is {div_value}; expected at least 1")
        ends = [*cutoffs, words]
        total += hidden * (ends[0] + len(cutoffs))
        for i, (first, after) in enumerate(pairwise(ends)):
            total += max(int(hidden / div_value ** (i + 1)), 1) * (hidden + after - first)
    elif not tied:
        total += words * hidden
    return int(total)
