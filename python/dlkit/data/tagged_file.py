"""Tagged sentences of one's own: CoNLL-U, or columns of tokens and tags."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .conllu import read_conllu
from .errors import DataError, DataNotFoundError
from .iob import is_iob, read_columns
from .segmentation import characters_of
from .tagged_set import SPANS, TASKS, TaggedSentence, TaggedSet
from .text_file import lines_of, read_bytes

#: What the names of a folder's files hold, for training, validation and test.
_PARTS = (("train",), ("dev", "valid"), ("test",))
#: Of twenty sentences of a single file, one is for validation and one for the test.
_OF, _HELD_OUT = 20, 2


def read_tagged(path: str | os.PathLike[str], task: str | None = None, *, joint: bool = False) -> TaggedSet:
    """Read tagged sentences of one's own.

    Parameters
    ----------
    path
        A file, of which of twenty sentences the last two are held out; or a folder with three of them, whose names hold
        ``train``, ``dev`` or ``valid``, and ``test``. Files whose names hold ``.conllu`` are CoNLL-U, whose tags are
        the universal parts of speech. All others hold a token a line in columns, separated by tabs, or else by single
        spaces: the first is the token, the last its tag. Sentences end with an empty line. Files may be compressed by
        gzip or xz.
    task
        What the tags say: ``"tokens"``, ``"entities"`` or ``"chunks"``, both in IOB2; ``"segmentation"``: the words of
        the file, which a tagger of characters is to find, whatever their tags. Default: entities where each tag of a
        file of columns is of IOB2, else tokens.
    joint
        The characters' tags also name the tag of their word: ``B-NOUN``.

    Raises
    ------
    ValueError
        Unknown task, or joint with another than segmentation.
    DataError
        A file is not there, corrupt, or has fewer than 20 sentences where it is the only one. The message names file
        and line.

    Examples
    --------
    >>> read_tagged("ner/", task="entities").train[0].tags  # doctest: +SKIP
    ['O', 'B-person', 'I-person']
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"read_tagged: task is {task!r}, expected one of {', '.join(TASKS)}")
    if joint and task != "segmentation":
        raise ValueError(f"read_tagged: joint is true, but task is {task!r}, expected 'segmentation'")
    path = Path(path)
    if path.is_dir():
        files = [_one_of(path, words) for words in _PARTS]
    elif path.exists():
        files = [path]
    else:
        raise DataNotFoundError(f"{path}: there is no such file or folder")
    contents = [(read_bytes(file), str(file)) for file in files]
    kinds = {".conllu" in file.name for file in files}
    if len(kinds) > 1:
        raise DataError(f"{path}: some of the files are CoNLL-U and some are not, expected one format")
    if kinds == {True}:
        if task in SPANS:
            raise DataError(f"{path}: task is {task}, expected tokens or segmentation of CoNLL-U")
        plain = task == "segmentation" and not joint  # any part of speech will do
        parts = [(_words if plain else tagged_words)(*each) for each in contents]
    else:
        if task is None:
            task = "entities" if all(_is_iob(*each) for each in contents) else "tokens"
        parts = [_columns(*each, task) for each in contents]
    if task == "segmentation":
        parts = [
            [TaggedSentence(*characters_of(s.tokens, s.tags if joint else None)) for s in part]
            for part in parts
        ]
    if len(parts) == 1:
        if len(parts[0]) < _OF:
            raise DataError(f"{path}: {len(parts[0])} sentences; expected at least {_OF}")
        whole, parts = parts[0], [[], [], []]
        for number, sentence in enumerate(whole):
            parts[max(number % _OF - (_OF - _HELD_OUT - 1), 0)].append(sentence)
    train, validation, test = parts
    return TaggedSet(path.name, task or "tokens", train, validation, test, source=str(path))


def tagged_words(content: bytes, name: str) -> list[TaggedSentence]:
    """The words of a CoNLL-U file and their universal parts of speech."""
    sentences = read_conllu(content, name, tagged=True)
    return [TaggedSentence(sentence.words, sentence.upos) for sentence in sentences]


def _words(content: bytes, name: str) -> list[TaggedSentence]:
    return [TaggedSentence(sentence.words, sentence.upos) for sentence in read_conllu(content, name)]


def _one_of(folder: Path, words: tuple[str, ...]) -> Path:
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    found = [file for file in files if any(word in file.name.lower() for word in words)]
    if len(found) != 1:
        there = ", ".join(file.name for file in found) or "none"
        raise DataError(
            f"{folder}: one file is expected whose name holds {' or '.join(words)}; found {there}"
        )
    return found[0]


def _layout(content: bytes, name: str) -> tuple[int, str]:
    """How many columns the first line has, and what stands between them."""
    for line in lines_of(content, name):
        if line.strip():
            separator = "\t" if "\t" in line else " "
            columns = len(line.split(separator))
            if columns > 1:
                return columns, separator
            break
    raise DataError(
        f"{name}: the first line has one column; expected a token and its tag, separated by a tab"
    )


def _is_iob(content: bytes, name: str) -> bool:
    _, separator = _layout(content, name)
    lines = [line for line in lines_of(content, name) if line.strip()]
    return all(is_iob(line.split(separator)[-1].strip()) for line in lines)


def _columns(content: bytes, name: str, task: str) -> list[TaggedSentence]:
    columns, separator = _layout(content, name)
    layout: dict[str, Any] = {"columns": columns, "tag": columns - 1, "separator": separator}
    found = read_columns(content, name, **layout, iob=task in SPANS)
    return [TaggedSentence(sentence.words, sentence.tags) for sentence in found]
