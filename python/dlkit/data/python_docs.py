"""A labelled set of sentences that needs no network: which chapter of Python's documentation is a sentence from?

The interpreter carries the texts that ``help("while")`` shows, some eighty topics, in ``pydoc_data.topics``. Each is
a section of the language reference or of the library reference; the chapter is the class. The texts differ a little
between versions of Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from .errors import DataNotFoundError
from .text_dataset import Split, TextDataset
from .tokens import words_of

# The topics of each chapter. `types`, `specialnames` and `compound` hold whole sections that are topics again.
_CHAPTERS: dict[str, tuple[str, ...]] = {
    "lexis and execution": (
        "dynamic-features",
        "exceptions",
        "execmodel",
        "floating",
        "id-classes",
        "identifiers",
        "imaginary",
        "integers",
        "naming",
        "numbers",
        "strings",
    ),
    "data model": (
        "attribute-access",
        "callable-types",
        "context-managers",
        "customization",
        "numeric-types",
        "objects",
        "sequence-types",
        "specialnames",
        "types",
    ),
    "expressions": (
        "atom-identifiers",
        "atom-literals",
        "attribute-references",
        "await",
        "binary",
        "bitwise",
        "booleans",
        "calls",
        "comparisons",
        "conversions",
        "dict",
        "exprlists",
        "in",
        "lambda",
        "lists",
        "operator-summary",
        "power",
        "shifting",
        "slicings",
        "subscriptions",
        "unary",
        "yield",
    ),
    "statements": (
        "assert",
        "assignment",
        "async",
        "augassign",
        "break",
        "class",
        "compound",
        "continue",
        "del",
        "else",
        "for",
        "function",
        "global",
        "if",
        "import",
        "nonlocal",
        "pass",
        "raise",
        "return",
        "try",
        "while",
        "with",
    ),
    "built-in types": (
        "bltin-code-objects",
        "bltin-ellipsis-object",
        "bltin-null-object",
        "bltin-type-objects",
        "specialattrs",
        "truth",
        "typesfunctions",
        "typesmapping",
        "typesmethods",
        "typesmodules",
        "typesseq",
        "typesseq-mutable",
    ),
    "text": ("formatstrings", "string-methods"),
    "debugger": ("debugger",),
}
_FEWEST = 4
# A sentence ends with a mark and a space before a capital, a quotation mark or a bracket.
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(*])")


def load_python_docs() -> TextDataset:
    """Load the sentences of the interpreter's documentation, labelled with their chapters, with dlkit's fixed split.

    Examples, tables and grammar are left out, and sentences that more than one chapter has. The split uses no random
    numbers: of each chapter, in order, every fifth sentence is a test sample.

    Raises
    ------
    DataNotFoundError
        This Python has no ``pydoc_data``.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataNotFoundError(
            "topics: this Python comes without pydoc_data.topics, its own documentation"
        ) from error
    return _collected(topics, "pydoc_data.topics")


def _collected(topics: Mapping[str, str], source: str) -> TextDataset:
    chapter_of: dict[tuple[str, ...], int] = {}
    shared: set[tuple[str, ...]] = set()
    for number, names in enumerate(_CHAPTERS.values()):
        for name in names:
            for sentence in sentences_of(topics.get(name, "")):
                words = tuple(words_of(sentence))
                if len(words) < _FEWEST:
                    continue
                if chapter_of.setdefault(words, number) != number:
                    shared.add(words)
    kept = [(words, number) for words, number in chapter_of.items() if words not in shared]
    labels = np.array([number for _, number in kept], dtype=np.int64)
    test = np.zeros(len(kept), dtype=bool)
    for number in range(len(_CHAPTERS)):
        test[np.flatnonzero(labels == number)[4::5]] = True
    return TextDataset(
        "topics",
        [words for words, _ in kept],
        labels,
        list(_CHAPTERS),
        source,
        Split(np.flatnonzero(~test), np.flatnonzero(test)),
    )


def sentences_of(text: str) -> list[str]:
    """The sentences of the running text of a page of documentation: no headings, examples, tables or grammar."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in paragraph.splitlines()]
        joined = " ".join(lines)
        if not joined.endswith((".", "!", "?", ":", ")")) or any(
            line.startswith((">>>", "...", "+--", "|", "***", "===")) or "::=" in line for line in lines
        ):
            continue
        found += [sentence.strip() for sentence in _END.split(joined) if sentence.strip()]
    return found
