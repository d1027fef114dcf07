"""Tagged sentences as the numbers that a tagger reads: words, spellings, pairs of neighbours."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .json_file import read_object
from .vocabulary import Vocabulary

_FORMAT = "dlkit-tagger-features-1"
#: Characters of a word that are read: of a longer one the first and the last.
LONGEST_WORD = 24
_EDGE = "\x00"  # stands for what is before the first and after the last token


class EncodedSentence(NamedTuple):
    """A sentence in numbers.

    Attributes
    ----------
    words
        int64, shape (tokens,).
    spellings
        Which row of the features' table of spellings each token has; empty without character features.
    bigrams
        int64, shape (tokens, 2): the pairs that it makes with the token before and after it; (tokens, 0) without.
    tags
        int64, shape (tokens,); -1 for a tag that the training part does not have.
    """

    words: NDArray[np.int64]
    spellings: NDArray[np.int64]
    bigrams: NDArray[np.int64]
    tags: NDArray[np.int64]


@dataclass(frozen=True)
class TaggerFeatures:
    """How tokens and tags become numbers.

    Attributes
    ----------
    words
        The tokens that are known.
    characters
        The characters that are known, or None: no character features.
    bigrams
        The pairs of neighbours that are known, or None: no such features.
    tags
        Their names.
    lower
        Whether tokens are looked up in lower case (characters are always as they are).
    digits
        Whether all digits of a token are looked up as 0.
    """

    words: Vocabulary
    characters: Vocabulary | None
    bigrams: Vocabulary | None
    tags: tuple[str, ...]
    lower: bool = False
    digits: bool = False

    @classmethod
    def of(
        cls,
        sentences: Sequence[tuple[Sequence[str], Sequence[str]]],
        tags: Sequence[str],
        *,
        min_count: int = 1,
        characters: bool = True,
        bigrams: bool = False,
        bigram_min_count: int = 2,
        lower: bool = False,
        digits: bool = False,
        further_words: Iterable[str] = (),
    ) -> TaggerFeatures:
        """Collect them from training sentences.

        Parameters
        ----------
        sentences
            Pairs of tokens and tags.
        tags
            The names of the tags, in the order of their numbers.
        min_count, bigram_min_count
            What is there less often is unknown.
        characters, bigrams
            Which features there are.
        lower, digits
            See the attributes.
        further_words
            Known, too: words of the other parts that have a vector from a file.
        """
        empty = cls(Vocabulary([]), None, None, tuple(tags), lower, digits)
        tokens = [[empty.normal(token) for token in sentence[0]] for sentence in sentences]
        words = Vocabulary.of(tokens, min_count)
        fresh = dict.fromkeys(word for word in further_words if word not in words)
        if fresh:
            words = Vocabulary([*words, *(w for w in fresh if w not in Vocabulary.SPECIAL)])
        letters = Vocabulary.of((token for s in sentences for token in s[0]), 1) if characters else None
        pairs = None
        if bigrams:
            pairs = Vocabulary.of((_pairs(s[0]) for s in sentences), bigram_min_count)
        return cls(words, letters, pairs, tuple(tags), lower, digits)

    def normal(self, token: str) -> str:
        """A token as it is looked up."""
        if self.lower:
            token = token.lower()
        if self.digits:
            token = "".join("0" if c.isdigit() else c for c in token)
        return token

    def counts(self, sentences: Sequence[tuple[Sequence[str], Sequence[str]]]) -> NDArray[np.int64]:
        """How often each known word is there, shape (words,)."""
        counter: Counter[int] = Counter()
        for tokens, _ in sentences:
            counter.update(self.words.number(self.normal(token)) for token in tokens)
        counts = np.zeros(len(self.words), dtype=np.int64)
        for number, count in counter.items():
            counts[number] = count
        return counts

    def spell(self, word: str) -> NDArray[np.int64]:
        """The numbers of a word's characters; of a long word those of its two ends."""
        assert self.characters is not None
        if len(word) > LONGEST_WORD:
            word = word[: LONGEST_WORD // 2] + word[-LONGEST_WORD // 2 :]
        return self.characters.numbers(word)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write them as JSON."""
        target = Path(path)
        values = {
            "format": _FORMAT,
            "words": list(self.words),
            "characters": None if self.characters is None else list(self.characters),
            "bigrams": None if self.bigrams is None else list(self.bigrams),
            "tags": list(self.tags),
            "lower": self.lower,
            "digits": self.digits,
        }
        target.write_text(json.dumps(values, ensure_ascii=True, indent=0) + "\n", encoding="utf-8")
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TaggerFeatures:
        """Read what `save` wrote.

        Raises
        ------
        DataNotFoundError
            There is no such file.
        DataError
            It is damaged, or of another kind.
        """
        values = read_object(path)
        if values.get("format") != _FORMAT:
            raise DataError(f"{path} holds no features of a tagger (its format is not {_FORMAT!r})")
        for name, kinds in (
            ("words", (list,)),
            ("characters", (list, type(None))),
            ("bigrams", (list, type(None))),
            ("tags", (list,)),
            ("lower", (bool,)),
            ("digits", (bool,)),
        ):
            if not isinstance(values.get(name), kinds):
                raise DataError(f"{path}: {name} is missing or of the wrong type")
        tags = values["tags"]
        if (
            not tags
            or len(set(map(str, tags))) != len(tags)
            or not all(isinstance(t, str) and t for t in tags)
        ):
            raise DataError(f"{path}: tags are no list of different texts")
        try:
            vocabularies = [
                None if values[name] is None else Vocabulary(values[name])
                for name in ("words", "characters", "bigrams")
            ]
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        words, characters, bigrams = vocabularies
        assert words is not None
        return cls(words, characters, bigrams, tuple(tags), values["lower"], values["digits"])


class SpellingTable:
    """The spellings of all different tokens seen so far, a row each, filled up with padding.

    Parameters
    ----------
    features
        What numbers their characters.
    """

    def __init__(self, features: TaggerFeatures) -> None:
        self.features = features
        self._row_of: dict[str, int] = {}
        self._rows: list[NDArray[np.int64]] = []
        self._table: NDArray[np.int64] | None = None

    def rows(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """The row of each token; new ones are added."""
        if self.features.characters is None:
            return np.zeros(0, np.int64)
        numbers = np.empty(len(tokens), np.int64)
        for at, token in enumerate(tokens):
            row = self._row_of.get(token)
            if row is None:
                row = self._row_of[token] = len(self._rows)
                self._rows.append(self.features.spell(token))
                self._table = None
            numbers[at] = row
        return numbers

    @property
    def table(self) -> NDArray[np.int64]:
        """Character numbers, shape (spellings, longest)."""
        if self._table is None:
            longest = max((len(row) for row in self._rows), default=1)
            self._table = np.full((len(self._rows), longest), Vocabulary.PADDING, np.int64)
            for to, row in zip(self._table, self._rows, strict=True):
                to[: len(row)] = row
        return self._table

    def encode(self, tokens: Sequence[str], tags: Sequence[str] | None = None) -> EncodedSentence:
        """Number a sentence's tokens, and its tags where there are any."""
        features = self.features
        words = features.words.numbers(features.normal(token) for token in tokens)
        pairs = np.zeros((len(tokens), 0), np.int64)
        if features.bigrams is not None:
            numbers = features.bigrams.numbers(_pairs(tokens))
            pairs = np.stack([numbers[:-1], numbers[1:]], axis=1)
        known = {tag: number for number, tag in enumerate(features.tags)}
        labels = np.array([known.get(tag, -1) for tag in tags or ()], np.int64)
        return EncodedSentence(words, self.rows(tokens), pairs, labels)


def _pairs(tokens: Sequence[str]) -> list[str]:
    # Of n tokens n + 1 pairs: token i is the second of pair i and the first of pair i + 1.
    edged = [_EDGE, *tokens, _EDGE]
    return [a + "\x01" + b for a, b in pairwise(edged)]
