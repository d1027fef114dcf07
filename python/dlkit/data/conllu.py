"""CoNLL-U, the format of Universal Dependencies: a word a line, ten columns separated by tabs.

A sentence ends with an empty line; lines that begin with ``#`` are comments. Beside words (``1``) there are tokens of
several words (``1-2``: their own columns are those of the written form) and words that are not written (``1.1``).
https://universaldependencies.org/format.html. Files are treated as hostile: every error names the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import DataError
from .text_file import lines_of

_COLUMNS = 10
_ID = re.compile(r"([0-9]{1,9})(?:([-.])([0-9]{1,9}))?", re.ASCII)


@dataclass(frozen=True)
class ConlluSentence:
    """A sentence.

    Attributes
    ----------
    words
        The form of each syntactic word; words that are not written are left out.
    upos
        The universal part of speech of each, as it stands in the file.
    tokens
        What is written: a word each, or a token of several words once.
    comments
        The lines that began with ``#``, without it.
    """

    words: list[str] = field(default_factory=list)
    upos: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


def read_conllu(content: bytes, name: str, *, tagged: bool = False) -> list[ConlluSentence]:
    """Read a file's sentences.

    Parameters
    ----------
    content
        The plain bytes.
    name
        Of the file, for errors.
    tagged
        Whether each word must have a part of speech: neither nothing, nor blanks, nor ``_``.

    Raises
    ------
    DataError
        A line is corrupt: not UTF-8, another number of columns, a form that is empty or blank, a number out of order,
        a part of speech that is missing. The message names file and line.

    Examples
    --------
    >>> line = "\\t".join(["1", "Hello", "hello", "INTJ", "UH", "_", "0", "root", "_", "_"])
    >>> read_conllu((line + "\\n\\n").encode(), "hello.conllu")[0].upos
    ['INTJ']
    """
    sentences: list[ConlluSentence] = []
    sentence, covered = ConlluSentence(), 0
    for number, line in enumerate(lines_of(content, name), start=1):

        def corrupt(what: str, number: int = number) -> DataError:
            return DataError(f"{name}: line {number}: {what}")

        if not line.strip():
            if covered > len(sentence.words):
                raise corrupt(f"the sentence ends before word {covered}, which a token is said to reach to")
            if sentence.words:
                sentences.append(sentence)
                sentence, covered = ConlluSentence(), 0
            elif sentence.comments:
                raise corrupt("the sentence has comments but no words")
            continue
        if line.startswith("#"):
            if sentence.words:
                raise corrupt("a comment within a sentence; expected it before the first word")
            sentence.comments.append(line[1:].strip())
            continue
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            raise corrupt(f"{len(columns)} columns; expected {_COLUMNS}, separated by tabs")
        match = _ID.fullmatch(columns[0])
        if match is None:
            raise corrupt(f"the number is {columns[0][:20]!r}; expected one such as 1, 1-2 or 1.1")
        first, kind, second = int(match[1]), match[2], match[3]
        form, last = columns[1], len(sentence.words)
        if kind == ".":
            if first != last:
                raise corrupt(f"word {columns[0]} is not written and follows word {last}; expected {first}")
            continue
        if not form.strip():
            raise corrupt(f"the form is {form[:20]!r}; expected a word" if form else "the form is empty")
        if first != last + 1:
            raise corrupt(f"number {columns[0]} follows word {last}; expected {last + 1}")
        if kind == "-":
            if int(second) <= first or first <= covered:
                raise corrupt(
                    f"the token's words are {columns[0]}; expected an ascending range after word {covered}"
                )
            if int(second) > first + 1000:
                raise corrupt(f"the token's words are {columns[0]}; expected at most a thousand")
            sentence.tokens.append(form)
            covered = int(second)
            continue
        if tagged and columns[3].strip() in ("", "_"):
            raise corrupt(
                f"word {form[:20]!r} has no part of speech: it is {columns[3][:20]!r}; expected one such as NOUN"
            )
        sentence.words.append(form)
        sentence.upos.append(columns[3])
        if first > covered:
            sentence.tokens.append(form)
    if covered > len(sentence.words):
        raise DataError(f"{name}: the file ends before word {covered} of its last sentence")
    if sentence.words:
        sentences.append(sentence)
    elif sentence.comments:
        raise DataError(f"{name}: the file ends after the comments of a sentence; expected its words")
    return sentences
