"""The convolutional network for sentences."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import nn
from dlkit.autograd import Tensor, cat, no_grad
from dlkit.autograd.base import mark_changed
from dlkit.kernels.backend import is_device_array
from dlkit.nn import functional as F

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "softplus": F.softplus,
    "identity": lambda x: x,
}
#: The activations that `TextCNN` knows by name: none of them falls, so that they may follow the pooling.
ACTIVATIONS = tuple(_ACTIVATIONS)
#: How word vectors are made and whether they learn (Kim 2014).
MODES = ("random", "static", "non-static", "multichannel")
#: The number of the entry that fills places without a word.
PADDING = 0


class TextCNN(nn.Module):
    """Kim's network: word vectors, filters over some words each, the largest answer of each, a linear classifier.

    Parameters
    ----------
    words
        Entries of the vocabulary, `PADDING` (number 0, whose vector stays 0) and the unknown word (1) included.
    classes
        Outputs.
    dimensions
        Of the word vectors.
    regions
        Words that the filters of each group see at once.
    filters
        Filters of each group ("feature maps").
    activation
        One of `ACTIVATIONS`. It follows the pooling, which for them is the same as standing before it, and less work.
    k
        How many of a filter's largest answers are kept, in their order (Kalchbrenner et al. 2014); 1: the largest.
    dropout
        Of the pooled answers.
    max_norm
        The longest that a class's weights may be after an update (`constrain`); 0: no limit.
    mode
        "random" or "non-static": the vectors learn; "static": they stay; "multichannel": each word has one vector of
        either kind, and the filters see their sum of answers.
    spread
        Random word vectors begin uniform from minus this to this.
    dtype
        float32 or float64.

    Attributes
    ----------
    embedding : Embedding
        ``weight`` (words, dimensions).
    fixed : Embedding
        With "multichannel", the vectors that stay.
    convs : ModuleList of Conv1d
        One for each region size, with PyTorch's names and layout: ``weight`` (filters, dimensions, region).
    output : Linear
        (classes, len(regions) * filters * k).

    Raises
    ------
    ValueError
        A size is not positive, a probability not in [0, 1), or a name unknown (the nearest is suggested).

    Notes
    -----
    A sentence is to be given with `before` places of padding before it and `after` behind it, so that the first and
    last words are seen by as many windows as the others; then its scores do not depend on how much more padding its
    batch needs. A sentence without a known word, or without any word, has scores like any other.

    Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014. Y. Zhang, B. Wallace, "A
    Sensitivity Analysis of (and Practitioners' Guide to) Convolutional Neural Networks for Sentence Classification",
    2015.
    """

    def __init__(
        self,
        words: int,
        classes: int,
        dimensions: int = 300,
        regions: Sequence[int] = (3, 4, 5),
        filters: int = 100,
        activation: str = "relu",
        k: int = 1,
        dropout: float = 0.5,
        max_norm: float = 3.0,
        mode: str = "random",
        spread: float = 0.25,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        sizes = {"words": words, "classes": classes, "dimensions": dimensions, "filters": filters, "k": k}
        for name, size in [*sizes.items(), *(("regions", region) for region in regions)]:
            if isinstance(size, bool) or int(size) != size or size < 1:
                raise ValueError(f"TextCNN: {name} is {size!r}, expected an integer of at least 1")
        if words < 2:
            raise ValueError(f"TextCNN: words is {words}, expected at least 2: padding and the unknown word")
        if not regions:
            raise ValueError("TextCNN: regions is empty, expected at least one region size")
        if not 0 <= dropout < 1:
            raise ValueError(f"TextCNN: dropout is {dropout!r}, expected a probability from 0 to below 1")
        if not max_norm >= 0:
            raise ValueError(f"TextCNN: max_norm is {max_norm!r}, expected a number of 0 or more")
        for name, value, known in (("activation", activation, ACTIVATIONS), ("mode", mode, MODES)):
            if value not in known:
                near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.4)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise ValueError(f"TextCNN: {name} is {value!r}, expected one of {', '.join(known)}{hint}")
        if not 0 <= spread < float("inf"):
            raise ValueError(f"TextCNN: spread is {spread!r}, expected a finite number of 0 or more")
        self.words, self.classes, self.dimensions = int(words), int(classes), int(dimensions)
        self.regions = tuple(int(region) for region in regions)
        self.filters, self.k = int(filters), int(k)
        self.activation, self.mode = activation, mode
        self.dropout, self.max_norm = float(dropout), float(max_norm)
        self.embedding = nn.Embedding(self.words, self.dimensions, PADDING, dtype=dtype)
        self._begin(self.embedding, float(spread))
        if mode == "multichannel":
            self.fixed = nn.Embedding(self.words, self.dimensions, PADDING, dtype=dtype)
            self.fixed.weight.requires_grad = False
            self._begin(self.fixed, float(spread))
        self.embedding.weight.requires_grad = mode != "static"
        self.convs = nn.ModuleList(
            [nn.Conv1d(self.dimensions, self.filters, region, dtype=dtype) for region in self.regions]
        )
        self.output = nn.Linear(len(self.regions) * self.filters * self.k, self.classes, dtype=dtype)

    @property
    def before(self) -> int:
        """Places of padding that a sentence needs before it."""
        return max(self.regions) - 1

    @property
    def after(self) -> int:
        """Places of padding that a sentence needs behind it: at least `k` windows see padding alone."""
        return max(self.regions) - 1 + self.k

    def forward(self, x: Any) -> Tensor:
        """Return scores (N, classes) of word numbers (N, places); too few places are filled up with padding.

        Raises
        ------
        ValueError, TypeError, IndexError
            x has other than two dimensions, holds no integers or a number that no word has.
        """
        return self.classify(self.embed(x))

    def embed(self, x: Any) -> Tensor:
        """Return the word vectors (N, places, dimensions) of word numbers (N, places).

        Of the padding at the end that all sentences share, no more than `after` places are kept.
        """
        numbers = x.data if isinstance(x, Tensor) else x if is_device_array(x) else np.asarray(x)
        if numbers.ndim != 2:
            raise ValueError(f"TextCNN: x is {tuple(numbers.shape)}, expected (N, places) of word numbers")
        if isinstance(numbers, np.ndarray) and numbers.size:
            numbers = self._trimmed(numbers)
        short = max(self.regions) + self.k - 1 - numbers.shape[1]
        if short > 0:
            host = not is_device_array(numbers)
            filled = np.zeros((numbers.shape[0], short), numbers.dtype)
            if host:
                numbers = np.concatenate([numbers, filled], axis=1)
            else:
                from dlkit.kernels.backend import device_of, move, namespace

                space = namespace(numbers)
                numbers = space.concatenate([numbers, move(filled, device_of(numbers))], axis=1)
        vectors: Tensor = self.embedding(numbers)
        return vectors + self.fixed(numbers) if self.mode == "multichannel" else vectors

    def classify(self, vectors: Tensor) -> Tensor:
        """Return scores (N, classes) of word vectors (N, places, dimensions)."""
        scores: Tensor = self.output(F.dropout(self.pooled(vectors), self.dropout, self.training))
        return scores

    def pooled(self, vectors: Tensor) -> Tensor:
        """Return what the classifier sees of word vectors: (N, len(regions) * filters * k).

        Group by group, filter by filter, and of each filter its `k` answers.
        """
        if self.k == 1:
            # Module's attributes are not typed; each is a Conv1d.
            convs: list[Any] = list(self.convs)
            parts = [F.conv1d_max(vectors, conv.weight, conv.bias) for conv in convs]
        else:
            turned = vectors.transpose(1, 2)
            parts = [F.k_max_pool1d(conv(turned), self.k).flatten(1) for conv in self.convs]
        joined = parts[0] if len(parts) == 1 else cat(parts, 1)
        return _ACTIVATIONS[self.activation](joined)

    def constrain(self) -> None:
        """Scale each class's weights down to the norm `max_norm` where they are longer; called after each update."""
        if not self.max_norm:
            return
        weight = self.output.weight.data
        norms = (weight * weight).sum(axis=1, keepdims=True) ** 0.5
        longer = norms > self.max_norm
        if is_device_array(weight) or longer.any():
            weight *= 1 - longer * (1 - self.max_norm / (norms + (norms == 0)))
            mark_changed(self.output.weight)

    def set_vectors(self, table: NDArray[Any]) -> None:
        """Begin with these word vectors, shape (words, dimensions); that of padding stays 0.

        Raises
        ------
        ValueError
            The table has another shape.
        """
        if table.shape != (self.words, self.dimensions):
            raise ValueError(f"TextCNN: table is {table.shape}, expected ({self.words}, {self.dimensions})")
        for layer in [self.embedding, *([self.fixed] if self.mode == "multichannel" else [])]:
            with no_grad():
                layer.weight.copy_(table.astype(layer.weight.dtype))
                layer.weight.data[PADDING] = 0
            mark_changed(layer.weight)

    def _trimmed(self, numbers: NDArray[Any]) -> NDArray[Any]:
        used = np.flatnonzero((numbers != PADDING).any(axis=0))
        last = int(used[-1]) + 1 if used.size else 0
        most = max(last + self.after, max(self.regions) + self.k - 1)
        return numbers[:, :most] if numbers.shape[1] > most else numbers

    def _begin(self, layer: nn.Embedding, spread: float) -> None:
        nn.init.uniform_(layer.weight, -spread, spread)
        layer.weight.data[PADDING] = 0
        mark_changed(layer.weight)
