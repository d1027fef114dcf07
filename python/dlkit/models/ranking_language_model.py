"""The ranking language model of SENNA: a score for a window of words, higher than with another word in its middle."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import nn
from dlkit.autograd import Tensor
from dlkit.kernels.backend import device_of, move
from dlkit.nn import functional as F

from .tagger import check_sizes, check_spread
from .window_tagger import activated, check_activation


class RankingLanguageModel(nn.Module):
    """The vectors of a window's words, side by side, one hidden layer, one score.

    It learns to give a window that was in the text a score that exceeds by 1 that of the same window with another word
    in its middle. That other word changes one of the window's vectors: its hidden layer's products are those of the
    text's window, and the middle's part of the weights times the difference. So each further word costs 1 / window of a
    window.

    Parameters
    ----------
    words
        Entries of the vocabulary, that of what is outside a sentence (0) included.
    dimensions
        Of the word vectors.
    window
        Words that are seen: odd.
    hidden
        Units of the hidden layer.
    activation
        "tanh", "hardtanh" or "relu". The paper's hard tanh is linear where training begins: until units saturate by
        chance, the score is a sum of one term for each word, and which words go together is not learnt.
    spread
        Random vectors begin uniform from minus this to this.
    dtype
        float32 or float64.

    Attributes
    ----------
    embedding : Embedding
    hidden : Linear
        (hidden, window * dimensions): the window's first word first.
    output : Linear
        (1, hidden), without a bias: a difference of scores does not depend on it.

    Raises
    ------
    ValueError
        A size is not positive, or a name unknown.

    Notes
    -----
    R. Collobert, J. Weston, "A Unified Architecture for Natural Language Processing", ICML 2008; R. Collobert et al.,
    "Natural Language Processing (Almost) from Scratch", JMLR 2011, section 4.
    """

    def __init__(
        self,
        words: int,
        dimensions: int = 50,
        window: int = 11,
        hidden: int = 100,
        activation: str = "tanh",
        spread: float = 0.1,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes = {
            "words": (words, 2),
            "dimensions": (dimensions, 1),
            "window": (window, 1),
            "hidden": (hidden, 1),
        }
        check_sizes(name, sizes)
        if window % 2 == 0:
            raise ValueError(f"{name}: window is {window}, expected an odd number: the word is in the middle")
        check_activation(name, activation)
        check_spread(name, spread)
        self.words, self.dimensions, self.window = int(words), int(dimensions), int(window)
        self.activation = activation
        self.embedding = nn.Embedding(self.words, self.dimensions, dtype=dtype)
        nn.init.uniform_(self.embedding.weight, -float(spread), float(spread))
        self.hidden = nn.Linear(self.window * self.dimensions, int(hidden), dtype=dtype)
        self.output = nn.Linear(int(hidden), 1, bias=False, dtype=dtype)

    def forward(self, windows: Any) -> Tensor:
        """Return the score of each window.

        Parameters
        ----------
        windows : integer array of shape (N, window)

        Returns
        -------
        Tensor of shape (N,)

        Raises
        ------
        ValueError, TypeError, IndexError
            It has another shape, holds no integers or a number that no entry has.
        """
        numbers = self._checked(windows)
        vectors = self.embedding(self._here(numbers)).reshape(len(numbers), -1)
        scores: Tensor = self.output(activated(self.hidden, vectors, self.activation)).reshape(-1)
        return scores

    def rank(self, windows: Any, words: Any) -> tuple[Tensor, Tensor]:
        """Return the scores of windows, and those with other words in their middles.

        Parameters
        ----------
        windows : integer array of shape (N, window)
        words : integer array of shape (N, K)

        Returns
        -------
        Tensor of shape (N,), Tensor of shape (N, K)

        Raises
        ------
        ValueError, TypeError, IndexError
            As for `forward`.
        """
        numbers, others = self._checked(windows), np.asarray(words)
        if others.ndim != 2 or len(others) != len(numbers):
            raise ValueError(
                f"RankingLanguageModel: words is {others.shape}, expected ({len(numbers)}, K): some for each window"
            )
        count, drawn = others.shape
        vectors = self.embedding(self._here(numbers))
        products = F.linear(vectors.reshape(count, -1), self.hidden.weight, self.hidden.bias)
        middle = self.window // 2
        columns = slice(middle * self.dimensions, (middle + 1) * self.dimensions)
        # (N, K, dimensions): by how much the middle's vector changes.
        change = self.embedding(self._here(others)) - vectors[:, middle : middle + 1]
        changed = F.linear(change.reshape(count * drawn, -1), self.hidden.weight[:, columns])
        both = products.unsqueeze(1) + changed.reshape(count, drawn, -1)
        scores = self.output(self._activate(products)).reshape(-1)
        return scores, self.output(self._activate(both.reshape(count * drawn, -1))).reshape(count, drawn)

    @staticmethod
    def loss(scores: Tensor, others: Tensor) -> Tensor:
        """Return the mean of max(0, 1 - score + other score), given what `rank` returns."""
        return F.relu(others - scores.unsqueeze(1) + 1.0).mean()

    def _activate(self, products: Tensor) -> Tensor:
        found: Tensor = getattr(F, self.activation)(products)
        return found

    def _here(self, numbers: Any) -> Any:
        # On the model's device.
        return move(numbers, device_of(self.embedding.weight._array))

    def _checked(self, windows: Any) -> Any:
        numbers = np.asarray(windows)
        if numbers.ndim != 2 or numbers.shape[1] != self.window:
            raise ValueError(
                f"RankingLanguageModel: windows is {numbers.shape}, expected (N, {self.window}) of word numbers"
            )
        return numbers
