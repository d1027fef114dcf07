"""A list of words, and where they lie in a text that is written without spaces.

Q. Zhang, X. Liu, J. Fu, "Neural Networks Incorporating Dictionaries for Chinese Word Segmentation", AAAI 2018.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import log
from pathlib import Path

from .errors import DataError
from .segmentation import characters_of
from .text_file import lines_of, read_bytes

#: Lengths of words that are told apart; the last one stands for all that are longer, too.
LENGTHS = (2, 3, 4, 5)
#: Longer words are left out: names and sayings that a text hardly has.
LONGEST = 16
_OUTSIDE = "-"


class Lexicon:
    """Words, and how often each is there in some text, where that is known.

    Parameters
    ----------
    counts
        The words; 0 where nothing is known. None has white space; those of more than `LONGEST` characters are left out.

    Raises
    ------
    DataError
        A word is empty or holds white space, a count is negative, or there are none.

    Examples
    --------
    >>> lexicon = Lexicon({"图书": 0, "图书馆": 0, "书馆": 0})
    >>> lexicon.places(list("去图书馆"), 2)
    ['-', 'B', 'BE', 'E']
    >>> lexicon.path(list("去图书馆"))
    ['S', 'B', 'M', 'E']
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        for word, count in counts.items():
            if not isinstance(word, str) or not _is_word(word):
                raise DataError(f"Lexicon: {word!r} is no word, expected characters without white space")
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise DataError(
                    f"Lexicon: the count of {word!r} is {count!r}, expected an integer of at least 0"
                )
        self.counts = {word: count for word, count in counts.items() if len(word) <= LONGEST}
        if not self.counts:
            raise DataError(
                f"Lexicon: there are no words of at most {LONGEST} characters, expected at least one"
            )
        self._longest = max(map(len, self.counts))
        # With one for what is no word: else a list of one word would cut no text, as it costs nothing either way.
        total = 1 + sum(max(count, 1) for count in self.counts.values())
        self._cost = {word: log(total / max(count, 1)) for word, count in self.counts.items()}
        self._strange = log(total)

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.counts)

    def __contains__(self, word: object) -> bool:
        """Whether it is one of the words."""
        return word in self.counts

    def __eq__(self, other: object) -> bool:
        """Whether two have the same words and counts, in the same order."""
        return isinstance(other, Lexicon) and list(self.counts.items()) == list(other.counts.items())

    __hash__ = None  # type: ignore[assignment]

    def places(
        self, characters: Sequence[str], length: int, hidden: Collection[str] = frozenset()
    ) -> list[str]:
        """Say for each character whether a word of one length begins (B), goes on (M) or ends (E) there; or "-".

        Parameters
        ----------
        characters
            Of the text.
        length
            One of `LENGTHS`; the last is that of all longer words, too.
        hidden
            Words that are taken for none.

        Returns
        -------
        list of str
            Such as ``"BE"`` where one word ends and another begins.
        """
        text = _text(characters)
        begins, inner, ends = ([False] * len(text) for _ in range(3))
        longest = length if length < LENGTHS[-1] else self._longest
        for size in range(length, longest + 1):
            for start in range(len(text) - size + 1):
                word = text[start : start + size]
                if word in self.counts and word not in hidden:
                    begins[start] = ends[start + size - 1] = True
                    inner[start + 1 : start + size - 1] = [True] * (size - 2)
        return [
            ("B" * b + "M" * m + "E" * e) or _OUTSIDE for b, m, e in zip(begins, inner, ends, strict=True)
        ]

    def path(self, characters: Sequence[str], hidden: Collection[str] = frozenset()) -> list[str]:
        """Cut the text into words of the list that are not hidden, and single characters: the characters' tags.

        Of all ways the one with the greatest product of the words' shares; with no counts, that of the fewest words.
        """
        text = _text(characters)
        best = [0.0] * (len(text) + 1)
        size = [1] * len(text)
        for start in range(len(text) - 1, -1, -1):
            alone = text[start]
            best[start] = best[start + 1] + (
                self._strange if alone in hidden else self._cost.get(alone, self._strange)
            )
            for length in range(2, min(self._longest, len(text) - start) + 1):
                word = text[start : start + length]
                cost = None if word in hidden else self._cost.get(word)
                if cost is not None and cost + best[start + length] < best[start]:
                    best[start], size[start] = cost + best[start + length], length
        words, at = [], 0
        while at < len(text):
            words.append(text[at : at + size[at]])
            at += size[at]
        return characters_of(words)[1]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a word and its count a line."""
        target = Path(path)
        lines = [f"{word} {count}\n" for word, count in self.counts.items()]
        target.write_text("".join(lines), encoding="utf-8", newline="\n")
        return target


class OwnWords:
    """The words of sentences, beside those of a list, and which of them each sentence has to itself.

    Who learns from sentences what it means that a word is known must not see those that are known from this sentence
    alone: of another text's words as many are unknown as are there once (Good, Biometrika 40, 1953).

    Parameters
    ----------
    sentences
        Of words.
    listed
        Words that are known besides.

    Attributes
    ----------
    lexicon : Lexicon
        All of them; a word of the sentences that is not listed has its count there. Those with white space are left
        out.

    Examples
    --------
    >>> own = OwnWords([["我", "喜欢", "书"], ["我", "看", "书"]])
    >>> sorted(own.hidden(["我", "看", "书"]))
    ['看']
    """

    def __init__(self, sentences: Iterable[Sequence[str]], listed: Lexicon | None = None) -> None:
        self._counts: Counter[str] = Counter()
        for words in sentences:
            self._counts.update(words)
        self._listed = {} if listed is None else listed.counts
        own = {
            word: count for word, count in self._counts.items() if word not in self._listed and _is_word(word)
        }
        self.lexicon = Lexicon({**self._listed, **own})

    def hidden(self, words: Sequence[str]) -> frozenset[str]:
        """The words of one of the sentences that are in no other, nor listed."""
        counts = Counter(words)
        return frozenset(
            word for word, n in counts.items() if self._counts[word] <= n and word not in self._listed
        )


def read_lexicon(path: str | os.PathLike[str]) -> Lexicon:
    """Read a file with a word a line, and behind it, if known, how often it is there; what follows is not looked at.

    That is the form of jieba's dictionaries. Empty lines are left out; counts of a word that is there twice are added
    up.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        A line is not UTF-8, or a count is no integer of at least 0; the message names the line. Or there are no words.
    """
    name = os.fspath(path)
    counts: dict[str, int] = {}
    content = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    for number, line in enumerate(lines_of(content, name), start=1):
        parts = line.split()
        if not parts:
            continue
        word, count = parts[0], 0
        if len(parts) > 1:
            if not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 16):
                raise DataError(
                    f"{name}: line {number}: the count of {word[:40]!r} is {parts[1][:40]!r}, expected an integer of "
                    f"at least 0"
                )
            count = int(parts[1])
        counts[word] = counts.get(word, 0) + count
    if all(len(word) > LONGEST for word in counts):
        raise DataError(f"{name} holds no words of at most {LONGEST} characters, expected one a line")
    return Lexicon(counts)


def _is_word(text: str) -> bool:
    return len(text.split()) == 1 and text == text.strip() and "\0" not in text


def _text(characters: Sequence[str]) -> str:
    text = "".join(characters)
    if len(text) != len(characters):
        raise DataError("Lexicon: a token has not one character: words of a list are looked up in characters")
    return text
