"""Word segmentation as tags of characters: B, M, E begin, continue and end a word, S is a word of its own.

N. Xue, "Chinese Word Segmentation as Character Tagging", Computational Linguistics and Chinese Language Processing 8,
2003.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import DataError

TAGS = ("B", "M", "E", "S")
_AFTER = {"B": "ME", "M": "ME", "E": "BS", "S": "BS"}


def characters_of(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the characters of words, and the tag of each.

    Raises
    ------
    DataError
        A word is empty.

    Examples
    --------
    >>> characters_of(["我", "喜欢", "图书馆"])
    (['我', '喜', '欢', '图', '书', '馆'], ['S', 'B', 'E', 'B', 'M', 'E'])
    """
    characters: list[str] = []
    tags: list[str] = []
    for at, word in enumerate(words):
        if not word:
            raise DataError(f"characters_of: word {at} is empty")
        characters += word
        tags += "S" if len(word) == 1 else ["B", *"M" * (len(word) - 2), "E"]
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
        if ended or tag in "BS":
            words.append(character)
        else:
            words[-1] += character
        ended = tag in "ES"
    return words


def spans_of(words: Sequence[str]) -> set[tuple[int, int]]:
    """Where words lie in their text: first character, and the one after the last."""
    spans, at = set(), 0
    for word in words:
        spans.add((at, at + len(word)))
        at += len(word)
    return spans


def may_follow(before: str | None, after: str) -> bool:
    """Whether a tag may follow another, or None: the beginning of a sentence."""
    return after in ("BS" if before is None else _AFTER[before])


def may_end(tag: str) -> bool:
    """Whether a sentence may end with a tag."""
    return tag in "ES"
