"""The words that a model knows, numbered."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .json_file import read_object

_FORMAT = "dlkit-vocabulary-1"


class Vocabulary:
    """Words and their numbers. Number 0 is padding, number 1 any word that is not known.

    Parameters
    ----------
    words
        The known words, without padding and unknown: numbered from 2 in this order.

    Raises
    ------
    DataError
        A word is no text, empty, there twice, or one of the two special entries.

    Examples
    --------
    >>> words = Vocabulary(["a", "film"])
    >>> words.numbers(["a", "good", "film"]).tolist()
    [2, 1, 3]
    """

    PADDING, UNKNOWN = 0, 1
    SPECIAL = ("<pad>", "<unk>")

    def __init__(self, words: Iterable[str]) -> None:
        self.words: list[str] = [*self.SPECIAL]
        self._number: dict[str, int] = {}
        for word in words:
            if not isinstance(word, str) or not word:
                raise DataError(f"Vocabulary: word {len(self.words) - 2} is {word!r}, expected a text")
            if word in self._number or word in self.SPECIAL:
                what = "is kept for the vocabulary itself" if word in self.SPECIAL else "is there twice"
                raise DataError(f"Vocabulary: word {len(self.words) - 2}, {word!r}, {what}")
            self._number[word] = len(self.words)
            self.words.append(word)

    @classmethod
    def of(
        cls, sentences: Iterable[Sequence[str]], min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """Collect the words of sentences, the most frequent first, equals in alphabetical order.

        Parameters
        ----------
        sentences
            Of words.
        min_count
            A word that is there less often is unknown.
        max_size
            So many words at most, special entries not counted.
        """
        if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
            raise DataError(f"Vocabulary: min_count is {min_count!r}, expected an integer of at least 1")
        if max_size is not None and (not isinstance(max_size, int) or max_size < 0):
            raise DataError(
                f"Vocabulary: max_size is {max_size!r}, expected an integer of at least 0 or None"
            )
        counts: Counter[str] = Counter()
        for sentence in sentences:
            counts.update(sentence)
        for special in cls.SPECIAL:
            counts.pop(special, None)
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, count in ordered if count >= min_count][:max_size])

    def __len__(self) -> int:
        """Words, padding and unknown included: the rows that an embedding needs."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Whether a word is known."""
        return word in self._number

    def __iter__(self) -> Iterator[str]:
        """The known words, in order of their numbers."""
        return iter(self.words[2:])

    def __eq__(self, other: object) -> bool:
        """Whether two vocabularies number the same words alike."""
        return isinstance(other, Vocabulary) and self.words == other.words

    __hash__ = None  # type: ignore[assignment]

    def number(self, word: str) -> int:
        """The number of a word; `UNKNOWN` for one that is not known."""
        return self._number.get(word, self.UNKNOWN)

    def numbers(self, sentence: Iterable[str]) -> NDArray[np.int64]:
        """The numbers of a sentence's words, shape (words,)."""
        get, unknown = self._number.get, self.UNKNOWN
        return np.array([get(word, unknown) for word in sentence], dtype=np.int64)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the words as JSON.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        target = Path(path)
        target.write_text(
            json.dumps({"format": _FORMAT, "words": self.words[2:]}, ensure_ascii=False, indent=0) + "\n",
            encoding="utf-8",
        )
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read what `save` wrote.

        Raises
        ------
        DataNotFoundError
            There is no such file.
        DataError
            It is damaged or no vocabulary.
        """
        values = read_object(path)
        if values.get("format") != _FORMAT:
            raise DataError(f"{path} is not a vocabulary of dlkit (its format is not {_FORMAT!r})")
        words = values.get("words")
        if not isinstance(words, list):
            raise DataError(f"{path}: words is missing or no list")
        try:
            return cls(words)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
