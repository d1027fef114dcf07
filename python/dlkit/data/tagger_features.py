"""Tagged sentences as the numbers that a tagger reads: words, spellings, pairs of neighbours, discrete features."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .json_file import read_object
from .lexicon import LENGTHS, Lexicon, read_lexicon
from .vocabulary import Vocabulary

_FORMAT = "dlkit-tagger-features-1"
#: Characters of a word that are read: of a longer one the first and the last.
LONGEST_WORD = 24
_EDGE = "\x00"  # stands for what is before the first and after the last token
#: Those of a character that a list of words gives: where words of each length lie, and how it cuts the text.
LEXICAL = (*(f"lexicon-{length}" for length in LENGTHS), "lexicon-path")
#: The discrete features of a token: how it is capitalised, its last two and three letters, its part of speech.
DISCRETE = ("capitals", "suffix-2", "suffix-3", "pos", *LEXICAL)
_LEXICON = "lexicon.txt"
_SUFFIX_MIN_COUNT = 2


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
    discrete
        int64, shape (tokens, discrete features): the entry of each, in the vocabulary of that feature.
    tags
        int64, shape (tokens,); -1 for a tag that the training part does not have.
    """

    words: NDArray[np.int64]
    spellings: NDArray[np.int64]
    bigrams: NDArray[np.int64]
    discrete: NDArray[np.int64]
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
    discrete
        Names from `DISCRETE`, in that order, each with the values that are known.
    lexicon
        The list of words of the features `LEXICAL`, or None: there are none of these.
    """

    words: Vocabulary
    characters: Vocabulary | None
    bigrams: Vocabulary | None
    tags: tuple[str, ...]
    lower: bool = False
    digits: bool = False
    discrete: Mapping[str, Vocabulary] = field(default_factory=dict)
    lexicon: Lexicon | None = None

    @classmethod
    def of(
        cls,
        sentences: Sequence[Sequence[Any]],
        tags: Sequence[str],
        *,
        min_count: int = 1,
        characters: bool = True,
        bigrams: bool = False,
        bigram_min_count: int = 2,
        lower: bool = False,
        digits: bool = False,
        discrete: Iterable[str] = (),
        further_words: Iterable[str] = (),
        lexicon: Lexicon | None = None,
    ) -> TaggerFeatures:
        """Collect them from training sentences.

        Parameters
        ----------
        sentences
            Tokens, tags and, for the feature "pos", parts of speech of each.
        tags
            The names of the tags, in the order of their numbers.
        min_count, bigram_min_count
            What is there less often is unknown.
        characters, bigrams
            Which features there are.
        lower, digits
            See the attributes.
        discrete
            Names from `DISCRETE`.
        further_words
            Known, too: words of the other parts that have a vector from a file.
        lexicon
            Where its words lie is read, too; tokens are characters.
        """
        empty = cls(Vocabulary([]), None, None, tuple(tags), lower, digits, lexicon=lexicon)
        names = {*discrete, *(() if lexicon is None else LEXICAL)}
        if names - set(DISCRETE):
            raise DataError(
                f"TaggerFeatures: discrete holds {min(names - set(DISCRETE))!r}, expected names from "
                f"{', '.join(DISCRETE)}"
            )
        if lexicon is None and names & set(LEXICAL):
            raise DataError(
                f"TaggerFeatures: discrete holds {min(names & set(LEXICAL))!r}, but lexicon is None"
            )
        tokens = [[empty.normal(token) for token in sentence[0]] for sentence in sentences]
        words = Vocabulary.of(tokens, min_count)
        fresh = dict.fromkeys(word for word in further_words if word not in words)
        if fresh:
            words = Vocabulary([*words, *(w for w in fresh if w not in Vocabulary.SPECIAL)])
        letters = Vocabulary.of((token for s in sentences for token in s[0]), 1) if characters else None
        pairs = None
        if bigrams:
            pairs = Vocabulary.of((_pairs(s[0]) for s in sentences), bigram_min_count)
        values = {
            name: Vocabulary.of(
                (empty.values(name, *_tokens_and_pos(s)) for s in sentences),
                _SUFFIX_MIN_COUNT if name.startswith("suffix") else 1,
            )
            for name in DISCRETE
            if name in names
        }
        return cls(words, letters, pairs, tuple(tags), lower, digits, values, lexicon)

    def values(
        self,
        name: str,
        tokens: Sequence[str],
        pos: Sequence[str] | None,
        hidden: Collection[str] = frozenset(),
    ) -> list[str]:
        """The value of a discrete feature at each token; words that are hidden are taken for none of the lexicon.

        Raises
        ------
        DataError
            It is the part of speech, and there is none.
        """
        if name == "pos":
            if pos is None or len(pos) != len(tokens):
                raise DataError(
                    f"TaggerFeatures: {len(tokens)} tokens and {len(pos or ())} parts of speech, expected as many"
                )
            return list(pos)
        if name == "capitals":
            return [capitals_of(token) for token in tokens]
        if name in LEXICAL:
            assert self.lexicon is not None
            last = name.rpartition("-")[2]
            if last == "path":
                return self.lexicon.path(tokens, hidden)
            return self.lexicon.places(tokens, int(last), hidden)
        letters = int(name.rpartition("-")[2])
        return [self.normal(token)[-letters:].lower() for token in tokens]

    def normal(self, token: str) -> str:
        """A token as it is looked up."""
        if self.lower:
            token = token.lower()
        if self.digits:
            token = "".join("0" if c.isdigit() else c for c in token)
        return token

    def counts(self, sentences: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
        """How often each known word is there, shape (words,)."""
        counter: Counter[int] = Counter()
        for sentence in sentences:
            counter.update(self.words.number(self.normal(token)) for token in sentence[0])
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
        """Write them as JSON, and the list of words, if there is one, into ``lexicon.txt`` beside it."""
        target = Path(path)
        values = {
            "format": _FORMAT,
            "words": list(self.words),
            "characters": None if self.characters is None else list(self.characters),
            "bigrams": None if self.bigrams is None else list(self.bigrams),
            "tags": list(self.tags),
            "lower": self.lower,
            "digits": self.digits,
            "discrete": {name: list(known) for name, known in self.discrete.items()},
            "lexicon": None if self.lexicon is None else len(self.lexicon),
        }
        if self.lexicon is not None:
            self.lexicon.save(target.with_name(_LEXICON))
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
        listed = values.get("discrete", {})  # which earlier versions did not write
        if not (
            isinstance(listed, dict)
            and list(listed) == [name for name in DISCRETE if name in listed]
            and all(isinstance(known, list) for known in listed.values())
        ):
            raise DataError(f"{path}: discrete is no mapping of {', '.join(DISCRETE)} to lists")
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
            discrete = {name: Vocabulary(known) for name, known in listed.items()}
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        words, characters, bigrams = vocabularies
        assert words is not None
        lexicon, entries = None, values.get("lexicon")  # which earlier versions did not write
        if (entries is not None) != any(name in LEXICAL for name in discrete):
            raise DataError(
                f"{path}: lexicon is {entries!r}, but the discrete features are {', '.join(discrete)}"
            )
        if entries is not None:
            beside = Path(path).with_name(_LEXICON)
            lexicon = read_lexicon(beside)
            if entries != len(lexicon):
                raise DataError(f"{beside} holds {len(lexicon)} words, but {path} says {entries!r}")
        return cls(
            *(words, characters, bigrams, tuple(tags), values["lower"], values["digits"], discrete), lexicon
        )


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

    def encode(
        self,
        tokens: Sequence[str],
        tags: Sequence[str] | None = None,
        pos: Sequence[str] | None = None,
        *,
        hidden: Collection[str] = frozenset(),
    ) -> EncodedSentence:
        """Number a sentence's tokens, and its tags where there are any.

        Words that are hidden are taken for none of the lexicon.
        """
        features = self.features
        words = features.words.numbers(features.normal(token) for token in tokens)
        pairs = np.zeros((len(tokens), 0), np.int64)
        if features.bigrams is not None:
            numbers = features.bigrams.numbers(_pairs(tokens))
            pairs = np.stack([numbers[:-1], numbers[1:]], axis=1)
        known = {tag: number for number, tag in enumerate(features.tags)}
        labels = np.array([known.get(tag, -1) for tag in tags or ()], np.int64)
        values = np.zeros((len(tokens), len(features.discrete)), np.int64)
        for column, (name, vocabulary) in enumerate(features.discrete.items()):
            values[:, column] = vocabulary.numbers(features.values(name, tokens, pos, hidden))
        return EncodedSentence(words, self.rows(tokens), pairs, values, labels)


def capitals_of(token: str) -> str:
    """How a token is capitalised: "none" of its characters is a letter with case, "lower", "upper", "first" or "mixed".

    Examples
    --------
    >>> [capitals_of(token) for token in ("3", "film", "UN", "Paris", "iPod")]
    ['none', 'lower', 'upper', 'first', 'mixed']
    """
    cased = [c for c in token if c.isupper() or c.islower()]
    upper = sum(c.isupper() for c in cased)
    if not cased:
        return "none"
    if not upper:
        return "lower"
    if upper == 1 and token[0].isupper():
        return "first"
    return "upper" if upper == len(cased) else "mixed"


def _tokens_and_pos(sentence: Sequence[Any]) -> tuple[Sequence[str], Sequence[str] | None]:
    return sentence[0], sentence[2] if len(sentence) > 2 else None


def _pairs(tokens: Sequence[str]) -> list[str]:
    # Of n tokens n + 1 pairs: token i is the second of pair i and the first of pair i + 1.
    edged = [_EDGE, *tokens, _EDGE]
    return [a + "\x01" + b for a, b in pairwise(edged)]
