"""Word segmentation as tags of characters: B, M, E begin, continue and end a word, S is a word of its own.

A word may have a kind, such as its part of speech, that each of its tags names: ``B-NOUN``, ``E-NOUN``. Words and
parts of speech are then found together.

N. Xue, "Chinese Word Segmentation as Character Tagging", Computational Linguistics and Chinese Language Processing 8,
2003. H. T. Ng, J. K. Low, "Chinese Part-of-Speech Tagging: One-at-a-Time or All-at-Once? Word-Based or
Character-Based?", EMNLP 2004.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import DataError

TAGS = ("B", "M", "E", "S")
_AFTER = {"B": "ME", "M": "ME", "E": "BS", "S": "BS"}


def characters_of(words: Sequence[str], kinds: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """Return the characters of words, and the tag of each; with the words' kinds, if there are any.

    Raises
    ------
    DataError
        A word or a kind is empty, or there are not as many of them.

    Examples
    --------
    >>> characters_of(["我", "喜欢", "图书馆"])
    (['我', '喜', '欢', '图', '书', '馆'], ['S', 'B', 'E', 'B', 'M', 'E'])
    >>> characters_of(["我", "喜欢"], ["PRON", "VERB"])[1]
    ['S-PRON', 'B-VERB', 'E-VERB']
    """
    if kinds is not None and len(kinds) != len(words):
        raise DataError(f"characters_of: {len(words)} words but {len(kinds)} kinds; expected as many")
    characters: list[str] = []
    tags: list[str] = []
    for at, word in enumerate(words):
        if not word:
            raise DataError(f"characters_of: word {at} is empty")
        if kinds is not None and not kinds[at]:
            raise DataError(f"characters_of: the kind of word {at} is empty")
        characters += word
        ending = "" if kinds is None else f"-{kinds[at]}"
        borders = "S" if len(word) == 1 else "B" + "M" * (len(word) - 2) + "E"
        tags += [border + ending for border in borders]
    return characters, tags


def words_from(characters: Sequence[str], tags: Sequence[str]) -> list[str]:
    """Return the words of tagged characters: one begins at each B and S, and after each E and S, whatever else is said.

    Examples
    --------
    >>> words_from("我喜欢图书馆", "SBEBME")
    ['我', '喜欢', '图书馆']
    """
    if len(characters) != len(tags):
        raise DataError(f"words_from: {len(characters)} characters but {len(tags)} tags; expected as many")
    words: list[str] = []
    ended = True
    for character, tag in zip(characters, tags, strict=True):
        if ended or tag[0] in "BS":
            words.append(character)
        else:
            words[-1] += character
        ended = tag[0] in "ES"
    return words


def kinds_from(tags: Sequence[str]) -> list[str]:
    """Return the kind of each word that `words_from` makes of tags: that of its first character, "" for none.

    Examples
    --------
    >>> kinds_from(["S-PRON", "B-VERB", "E-VERB"])
    ['PRON', 'VERB']
    """
    kinds: list[str] = []
    ended = True
    for tag in tags:
        if ended or tag[0] in "BS":
            kinds.append(tag[2:])
        ended = tag[0] in "ES"
    return kinds


def has_kinds(tags: Sequence[str]) -> bool:
    """Whether tags name kinds of words."""
    return any(len(tag) > 2 for tag in tags)


def spans_of(words: Sequence[str]) -> list[tuple[int, int]]:
    """Where words lie in their text: first character, and the one after the last."""
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word)
    return spans


def may_follow(before: str | None, after: str) -> bool:
    """Whether a tag may follow another, or None: the beginning of a sentence. Within a word all are of one kind."""
    if before is None:
        return after[0] in "BS"
    return after[0] in _AFTER[before[0]] and (before[0] in "ES" or before[1:] == after[1:])


def may_end(tag: str) -> bool:
    """Whether a sentence may end with a tag."""
    return tag[0] in "ES"
