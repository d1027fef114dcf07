"""Entities as IOB2 tags in columns: a token a line, ``O`` outside, ``B-kind`` at an entity's first token, ``I-kind``.

Ramshaw & Marcus (1995), in the form in which every entity begins with B. Sentences end with an empty line. Files are
treated as hostile: every error names the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import DataError
from .text_file import lines_of

OUTSIDE = "O"


@dataclass(frozen=True)
class ColumnSentence:
    """A sentence.

    Attributes
    ----------
    words
        Its tokens.
    tags
        One for each.
    pos
        The part of speech of each; empty where no column has them.
    """

    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    pos: list[str] = field(default_factory=list)


class Entity(NamedTuple):
    """A span of tokens.

    Attributes
    ----------
    kind
        Such as ``person``.
    start, end
        Its first token, and the one after its last.
    """

    kind: str
    start: int
    end: int


def read_columns(
    content: bytes,
    name: str,
    *,
    columns: int = 2,
    word: int = 0,
    tag: int = 1,
    pos: int | None = None,
    comments: bool = False,
    separator: str = "\t",
    iob: bool = False,
) -> list[ColumnSentence]:
    """Read a file's sentences, of which each line holds a token in columns.

    Parameters
    ----------
    content
        The plain bytes.
    name
        Of the file, for errors.
    columns
        Columns of a line.
    word, tag, pos
        Which of them hold the token, its tag and its part of speech, from 0.
    comments
        Whether lines that begin with ``#`` and have no tab are comments.
    separator
        What stands between columns: a tab, or a space.
    iob
        Whether tags are IOB2.

    Raises
    ------
    DataError
        A line is corrupt: not UTF-8, another number of columns, an empty token, tag or part of speech; with `iob`, no
        IOB2 tag, or one that goes on with an entity that has not begun. The message names file and line.
    """
    sentences: list[ColumnSentence] = []
    sentence = ColumnSentence()
    for number, line in enumerate(lines_of(content, name), start=1):
        if not line.strip():
            if sentence.words:
                sentences.append(sentence)
                sentence = ColumnSentence()
            continue
        if comments and line.startswith("#") and "\t" not in line:
            continue
        parts = line.split(separator)
        if len(parts) != columns:
            what = "tabs" if separator == "\t" else "single spaces"
            raise DataError(
                f"{name}: line {number}: {len(parts)} columns; expected {columns}, separated by {what}"
            )
        token, label = parts[word].strip(), parts[tag].strip()
        if not token:
            raise DataError(f"{name}: line {number}: the token is empty")
        if not label and not iob:
            raise DataError(f"{name}: line {number}: the tag is empty")
        if iob and (problem := iob_problem(label, sentence.tags[-1] if sentence.tags else OUTSIDE)):
            raise DataError(f"{name}: line {number}: {problem}")
        if pos is not None:
            if not parts[pos].strip():
                raise DataError(f"{name}: line {number}: the part of speech is empty")
            sentence.pos.append(parts[pos].strip())
        sentence.words.append(token)
        sentence.tags.append(label)
    if sentence.words:
        sentences.append(sentence)
    return sentences


def read_iob(content: bytes, name: str, **layout: Any) -> list[ColumnSentence]:
    """Read a file's sentences, whose tags are IOB2: `read_columns` with ``iob=True``.

    Examples
    --------
    >>> read_iob(b"New\\tB-location\\nYork\\tI-location\\n", "a.conll")[0].tags
    ['B-location', 'I-location']
    """
    return read_columns(content, name, iob=True, **layout)


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of IOB2 tags, in order.

    A tag ``I-kind`` that goes on with nothing of its kind begins an entity: what a model says may be no IOB2.

    Examples
    --------
    >>> entities_of(["B-person", "I-person", "O", "I-group"])
    [Entity(kind='person', start=0, end=2), Entity(kind='group', start=3, end=4)]
    """
    found: list[Entity] = []
    for at, tag in enumerate(tags):
        if tag == OUTSIDE:
            continue
        prefix, _, kind = tag.partition("-")
        if prefix == "I" and found and found[-1].end == at and found[-1].kind == kind:
            found[-1] = Entity(kind, found[-1].start, at + 1)
        else:
            found.append(Entity(kind, at, at + 1))
    return found


def may_follow(before: str | None, after: str) -> bool:
    """Whether an IOB2 tag may follow another, or None: the beginning of a sentence."""
    return not after.startswith("I-") or (
        before is not None and before != OUTSIDE and before.partition("-")[2] == after[2:]
    )


def iob_problem(tag: str, before: str) -> str:
    """What is wrong with a tag after another one, in words; empty: nothing."""
    if not is_iob(tag):
        return f"the tag is {tag[:40]!r}; expected O, B-kind or I-kind"
    if not may_follow(before, tag):
        return f"the tag is {tag[:40]!r} after {before[:40]!r}; expected B- where an entity begins"
    return ""


def is_iob(tag: str) -> bool:
    """Whether a tag is one of IOB2."""
    return tag == OUTSIDE or (tag[:2] in ("B-", "I-") and len(tag) > 2)
