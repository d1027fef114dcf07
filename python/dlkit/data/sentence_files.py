"""Readers of the files that sets of labelled sentences come in.

Every file is treated as hostile: a line that is not what it should be is an error that names file and line.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import DataError
from .text_file import lines_of

#: The coarse classes of TREC (Li & Roth 2002), and what they ask for.
QUESTIONS = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "human",
    "LOC": "location",
    "NUM": "number",
}
#: Characters of a line, at most: more is no sentence.
_MAX_LINE = 1 << 16
_MAX_DEPTH = 1000


def read_sentences(content: bytes, name: str, encoding: str = "latin-1") -> list[str]:
    """The sentences of a file with one a line; blank lines are left out.

    Raises
    ------
    DataError
        The file holds no sentence, or a line is not text or too long.
    """
    found = [line.strip() for _, line in _lines(content, name, encoding)]
    if not found:
        raise DataError(f"{name} holds no sentence")
    return found


def read_questions(content: bytes, name: str) -> list[tuple[str, str]]:
    """The questions of a TREC file: pairs of coarse class and question.

    A line is ``COARSE:fine question``.

    Raises
    ------
    DataError
        A line has another form or an unknown class.
    """
    found = []
    for number, line in _lines(content, name, "latin-1"):
        head, _, question = line.strip().partition(" ")
        coarse, colon, fine = head.partition(":")
        if not colon or not fine or not question.strip():
            raise DataError(
                f"{name}: line {number} is {line[:60]!r}, expected a class such as DESC:manner and a question"
            )
        if coarse not in QUESTIONS:
            raise DataError(
                f"{name}: line {number}: class is {coarse[:20]!r}, expected one of {', '.join(QUESTIONS)}"
            )
        found.append((coarse, question.strip()))
    if not found:
        raise DataError(f"{name} holds no question")
    return found


@dataclass(frozen=True)
class Phrase:
    """A part of a sentence with its label.

    Attributes
    ----------
    label
        0 (very negative) to 4 (very positive).
    words
        Its words, as the treebank has them.
    """

    label: int
    words: tuple[str, ...]


def read_trees(content: bytes, name: str) -> list[list[Phrase]]:
    """The trees of a Stanford Sentiment Treebank file: for each the phrases of all its nodes, the whole sentence first.

    A line is one tree ``(label left right)``, with leaves ``(label word)``.

    Raises
    ------
    DataError
        A line is no tree; the message names line and column.
    """
    found = [_tree(line, f"{name}: line {number}") for number, line in _lines(content, name, "utf-8")]
    if not found:
        raise DataError(f"{name} holds no tree")
    return found


def _tree(line: str, where: str) -> list[Phrase]:
    phrases: list[Phrase] = []
    words: list[str] = []
    # Open nodes: place among the phrases, label, number of words before, and children so far (-1: a leaf).
    stack: list[tuple[int, int, int, int]] = []
    at, end = 0, len(line)
    while at < end:
        character = line[at]
        if character == " ":
            at += 1
        elif character == "(":
            label = line[at + 1 : at + 2]
            if label not in ("0", "1", "2", "3", "4") or line[at + 2 : at + 3] != " ":
                raise DataError(f"{where}, column {at + 2} is {label!r}, expected a label 0 … 4 and a space")
            if (not stack and phrases) or len(stack) >= _MAX_DEPTH:
                what = "a second tree" if not stack else f"a tree of more than {_MAX_DEPTH} levels"
                raise DataError(f"{where}, column {at + 1}: {what}")
            if stack:
                place, above, before, children = stack[-1]
                if children < 0:
                    raise DataError(f"{where}, column {at + 1}: a node beside a word")
                stack[-1] = (place, above, before, children + 1)
            stack.append((len(phrases), int(label), len(words), 0))
            phrases.append(Phrase(int(label), ()))
            at += 3
        elif character == ")":
            if not stack:
                raise DataError(f"{where}, column {at + 1}: ')' without '('")
            place, label_number, before, children = stack.pop()
            if children == 0:
                raise DataError(f"{where}, column {at + 1}: a node without a word")
            phrases[place] = Phrase(label_number, tuple(words[before:]))
            at += 1
        else:
            stop = at
            while stop < end and line[stop] not in " ()":
                stop += 1
            if not stack or stack[-1][3]:
                raise DataError(f"{where}, column {at + 1}: {line[at:stop][:20]!r} is no leaf of a tree")
            place, above, before, _ = stack[-1]
            stack[-1] = (place, above, before, -1)
            words.append(line[at:stop])
            at = stop
    if stack or not phrases:
        raise DataError(f"{where} is cut short: {len(stack)} brackets are open at its end")
    return phrases


def _lines(content: bytes, name: str, encoding: str) -> list[tuple[int, str]]:
    found = []
    for number, line in enumerate(lines_of(content, name, encoding), start=1):
        if len(line) > _MAX_LINE:
            raise DataError(f"{name}: line {number} has {len(line)} characters, expected at most {_MAX_LINE}")
        if line.strip():
            found.append((number, line))
    return found
