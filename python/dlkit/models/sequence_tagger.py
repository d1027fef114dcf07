"""The recurrent tagger: a tag for each token of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlkit import nn
from dlkit.autograd import Tensor, cat
from dlkit.nn import functional as F
from dlkit.nn.sequences import PackedSequence, pack_padded_sequence

from .tagger import PADDING, UNKNOWN, Tagger, check_share, check_sizes, check_spread
from .window_tagger import checked_batch_sizes

__all__ = ["CHARACTER_MODES", "PADDING", "TAGGER_CELLS", "UNKNOWN", "SequenceTagger", "count_weights"]

#: The recurrent layers that `SequenceTagger` knows by name.
TAGGER_CELLS = ("lstm", "gru", "rnn")
#: What it can make of a word's characters.
CHARACTER_MODES = ("cnn", "lstm")
_LAYERS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class SequenceTagger(Tagger):
    """Vectors of words and of their characters, recurrent layers over the sentence, a tag for each token.

    Parameters
    ----------
    words
        Entries of the vocabulary, `PADDING` (0) and `UNKNOWN` (1) included.
    tags
        How many there are.
    dimensions
        Of the word vectors.
    hidden
        Units of each recurrent layer and direction.
    layers
        Recurrent layers.
    cell
        One of `TAGGER_CELLS`.
    bidirectional
        Whether each layer also reads from the end to the beginning.
    characters
        Entries of the characters' vocabulary, both special ones included; 0: no character features.
    character_dimensions, character_features
        Of the characters' vectors, and what a word has of them.
    character_mode
        "cnn": filters over `character_region` characters, the largest answer of each (dos Santos & Zadrozny, ICML
        2014); "lstm": the last states of both directions (Lample et al., NAACL 2016).
    character_region
        Characters that a filter sees.
    bigrams
        Entries of the vocabulary of pairs of neighbours, both special ones included; 0: no such features.
    bigram_dimensions
        Of their vectors, of which a token has two.
    discrete
        Entries of the vocabulary of each discrete feature, both special ones included.
    discrete_dimensions
        Of their vectors.
    dropout
        Of what the first layer reads, of what layers pass on, and of what the classifier reads.
    recurrent_dropout
        Of what the recurrent weights see of the state, the same units at every step.
    crf
        Whether the output layer is a conditional random field, which weighs whole sequences of tags.
    spread
        Random vectors begin uniform from minus this to this.
    dtype
        float32 or float64.

    Attributes
    ----------
    embedding, character_embedding, bigram_embedding, discrete_embedding : Embedding
    character_filters : Conv1d, or character_layer : LSTM
    recurrent : LSTM, GRU or RNN
    output : Linear
        (tags, directions * hidden).
    crf : CRF
        Only with `crf`.

    Raises
    ------
    ValueError
        A size is not positive, a probability not in [0, 1), or a name unknown.

    Notes
    -----
    Z. Huang, W. Xu, K. Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging", 2015. X. Ma, E. Hovy, "End-to-end
    Sequence Labeling via Bi-directional LSTM-CNNs-CRF", ACL 2016.
    """

    def __init__(
        self,
        words: int,
        tags: int,
        dimensions: int = 100,
        hidden: int = 128,
        layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
        characters: int = 0,
        character_dimensions: int = 25,
        character_features: int = 50,
        character_mode: str = "cnn",
        character_region: int = 3,
        bigrams: int = 0,
        bigram_dimensions: int = 50,
        discrete: Sequence[int] = (),
        discrete_dimensions: int = 10,
        dropout: float = 0.5,
        recurrent_dropout: float = 0.0,
        crf: bool = False,
        spread: float = 0.1,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        sizes = {
            "words": (words, 2),
            "tags": (tags, 1),
            "dimensions": (dimensions, 1),
            "hidden": (hidden, 1),
            "layers": (layers, 1),
            "characters": (characters, 0),
            "character_dimensions": (character_dimensions, 1),
            "character_features": (character_features, 1),
            "character_region": (character_region, 1),
            "bigrams": (bigrams, 0),
            "bigram_dimensions": (bigram_dimensions, 1),
        }
        check_sizes("SequenceTagger", sizes)
        for name, size in (("characters", characters), ("bigrams", bigrams)):
            if size == 1:
                raise ValueError(
                    f"SequenceTagger: {name} is 1, expected 0, or at least 2: padding and the unknown entry"
                )
        for name, value, known in (
            ("cell", cell, TAGGER_CELLS),
            ("character_mode", character_mode, CHARACTER_MODES),
        ):
            if value not in known:
                raise ValueError(f"SequenceTagger: {name} is {value!r}, expected one of {', '.join(known)}")
        if characters and character_mode == "lstm" and character_features % 2:
            raise ValueError(
                f"SequenceTagger: character_features is {character_features}, expected an even number: half of them "
                f"are of either direction"
            )
        for name, share in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
            check_share("SequenceTagger", name, share)
        check_spread("SequenceTagger", spread)
        self.words, self.tags, self.dimensions = int(words), int(tags), int(dimensions)
        self.characters, self.bigrams = int(characters), int(bigrams)
        self.character_mode, self.dropout = character_mode, float(dropout)
        self.embedding = self._table(self.words, self.dimensions, float(spread), dtype)
        width = self.dimensions
        if characters:
            self.character_embedding = self._table(
                self.characters, character_dimensions, float(spread), dtype
            )
            if character_mode == "cnn":
                self.character_filters = nn.Conv1d(
                    character_dimensions, character_features, character_region, dtype=dtype
                )
            else:
                self.character_layer = nn.LSTM(
                    character_dimensions, character_features // 2, bidirectional=True, dtype=dtype
                )
            width += int(character_features)
        if bigrams:
            self.bigram_embedding = self._table(self.bigrams, bigram_dimensions, float(spread), dtype)
            width += 2 * int(bigram_dimensions)
        width += self._prepare_discrete(discrete, discrete_dimensions, float(spread), dtype)
        self.recurrent = _LAYERS[cell](
            width,
            int(hidden),
            int(layers),
            bidirectional=bool(bidirectional),
            dropout=self.dropout if layers > 1 else 0.0,
            recurrent_dropout=float(recurrent_dropout),
            dtype=dtype,
        )
        self.output = nn.Linear((2 if bidirectional else 1) * int(hidden), self.tags, dtype=dtype)
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
        spellings : integer array of shape (spellings, longest), optional
            The different spellings among them, filled up with `PADDING`. Needed for character features.
        spelled : integer array of shape (rows,), optional
            Which of these each row has.
        bigrams : integer array of shape (rows, 2), optional
            Needed where the tagger has bigram features.
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
        numbers = np.asarray(words)
        if numbers.ndim != 1:
            raise ValueError(f"SequenceTagger: words is {numbers.shape}, expected (rows,) of word numbers")
        parts = [self.embedding(self._here(numbers))]
        if self.characters:
            if spellings is None or spelled is None:
                raise ValueError("SequenceTagger: spellings or spelled is missing, but it reads characters")
            if np.shape(spelled) != numbers.shape:
                raise ValueError(
                    f"SequenceTagger: spelled is {np.shape(spelled)}, expected {numbers.shape}, as words"
                )
            # As rows of a table, whose gradient an embedding's kernel adds up.
            parts.append(F.embedding(self._here(np.asarray(spelled)), self.spell(spellings)))
        if self.bigrams:
            if bigrams is None or np.shape(bigrams) != (len(numbers), 2):
                raise ValueError(
                    f"SequenceTagger: bigrams is {np.shape(bigrams) if bigrams is not None else None}, expected "
                    f"({len(numbers)}, 2)"
                )
            vectors = self.bigram_embedding(self._here(np.asarray(bigrams)))
            parts.append(vectors.reshape(len(numbers), -1))
        if len(self.discrete):
            vectors = self.discrete_embedding(self._here(self._discrete_rows(discrete, len(numbers))))
            parts.append(vectors.reshape(len(numbers), -1))
        rows = parts[0] if len(parts) == 1 else cat(parts, 1)
        rows = F.dropout(rows, self.dropout, self.training)
        sizes = checked_batch_sizes("SequenceTagger", batch_sizes, len(numbers))
        states = self.recurrent(PackedSequence(rows, sizes))[0].data
        scores: Tensor = self.output(F.dropout(states, self.dropout, self.training))
        return scores

    def spell(self, spellings: Any) -> Tensor:
        """Return the character features of spellings (spellings, longest): (spellings, character_features).

        They do not depend on how much padding follows.
        """
        numbers = np.asarray(spellings)
        if numbers.ndim != 2 or not numbers.size:
            raise ValueError(
                f"SequenceTagger: spellings is {numbers.shape}, expected (spellings, longest), neither of them 0"
            )
        if self.character_mode == "cnn":
            filters: Any = self.character_filters
            # Behind each word at least one place where a filter sees padding alone, so that it is among the places of
            # any batch.
            region = filters.weight.shape[2]
            numbers = np.pad(numbers, ((0, 0), (region - 1, region)), constant_values=PADDING)
            vectors = self.character_embedding(self._here(numbers))
            found: Tensor = F.conv1d_max(vectors, filters.weight, filters.bias)
            return F.relu(found)
        lengths = np.maximum((numbers != PADDING).sum(axis=1), 1)
        vectors = self.character_embedding(self._here(numbers))
        packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.character_layer(packed)
        return cat([last[0], last[1]], 1)


def count_weights(
    words: int,
    tags: int,
    dimensions: int,
    hidden: int,
    layers: int,
    characters: int = 0,
    character_dimensions: int = 0,
    character_features: int = 0,
    character_mode: str = "cnn",
    character_region: int = 1,
    bigrams: int = 0,
    bigram_dimensions: int = 0,
    discrete: Sequence[int] = (),
    discrete_dimensions: int = 0,
    **others: Any,
) -> int:
    """Return how many weights a `SequenceTagger` of these arguments has at least; makes none of them."""
    width = dimensions
    total = words * dimensions + tags * hidden
    if characters:
        width += character_features
        seen = character_region * character_dimensions
        if character_mode == "lstm":
            seen = 4 * (character_dimensions + character_features // 2)
        total += characters * character_dimensions + character_features * seen
    if bigrams:
        width += 2 * bigram_dimensions
        total += bigrams * bigram_dimensions
    width += len(discrete) * discrete_dimensions
    total += sum(discrete) * discrete_dimensions
    return int(total + hidden * (width + layers * hidden))
