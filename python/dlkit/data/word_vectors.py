"""Vectors of words in the two formats of word2vec: text and binary.

Both begin with a line ``words dimensions``. Text: a line per word, the word and its numbers, separated by spaces.
Binary: the word, a space, its numbers as little-endian float32, and as a rule a line end.

Files are treated as hostile: the header is held against the size of the file before memory is given to it.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError, DataNotFoundError

_MAX_WORD = 4096
_MAX_DIMENSIONS = 1 << 16
_CHUNK = 1 << 22


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes
    ----------
    words
        As in the file.
    vectors
        float32, shape (words, dimensions).
    """

    words: list[str]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.words):
            raise DataError(
                f"WordVectors: {len(self.words)} words but vectors of shape {self.vectors.shape}, expected "
                f"({len(self.words)}, dimensions)"
            )

    @property
    def dimensions(self) -> int:
        """Numbers of each vector."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.words)

    def table(
        self, words: Sequence[str], *, bound: float | None = None, seed: int = 0
    ) -> tuple[NDArray[np.float32], int]:
        """The vectors of other words, in their order, for an embedding.

        Parameters
        ----------
        words
            Row i of the table is for ``words[i]``.
        bound
            A word without a vector gets uniform random numbers from -bound to bound. None: a bound with which they
            have the variance of the vectors that there are (Kim 2014).
        seed
            Of those.

        Returns
        -------
        ndarray of float32, shape (len(words), dimensions)
        int
            How many words have a vector of their own.
        """
        row_of = {word: row for row, word in reversed(list(enumerate(self.words)))}
        rows = np.array([row_of.get(word, -1) for word in words], dtype=np.int64)
        known = rows >= 0
        if bound is None:
            spread = float(self.vectors[rows[known]].std()) if known.any() else 0.25 / math.sqrt(3)
            bound = math.sqrt(3) * spread
        rng = np.random.Generator(np.random.Philox(seed))
        shape = (len(words), self.dimensions)
        table: NDArray[np.float32] = rng.uniform(-bound, bound, shape).astype(np.float32)
        table[known] = self.vectors[rows[known]]
        return table, int(known.sum())


def read_word_vectors(
    path: str | os.PathLike[str], *, keep: Container[str] | None = None, max_bytes: int = 1 << 33
) -> WordVectors:
    """Read a word2vec file, text or binary (told by its content).

    Parameters
    ----------
    path
        The file, not compressed.
    keep
        Only these words are kept: the whole file is read, but no more memory used than they need.
    max_bytes
        Largest file accepted.

    Returns
    -------
    WordVectors
        Words in file order; of a word that is there twice, the first.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        It is cut short, has bytes left over, claims a size that it cannot hold, or a vector is not made of finite
        numbers. The message names file and line (text) or word (binary).
    """
    name = os.fspath(path)
    size = _size(name)
    if size > max_bytes:
        raise DataError(f"{name} has {size} bytes, more than the limit of {max_bytes} (max_bytes)")
    try:
        with open(name, "rb") as file:
            count, dimensions, start = _header(file, name, size)
            binary = _is_binary(file, dimensions, start)
            reader = _read_binary if binary else _read_text
            return reader(file, name, count, dimensions, keep)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error


def write_word_vectors(
    path: str | os.PathLike[str], words: Sequence[str], vectors: ArrayLike, *, binary: bool = False
) -> Path:
    """Write words and vectors as word2vec does.

    Parameters
    ----------
    path
        The file.
    words
        No two alike, none empty or with white space.
    vectors
        Shape (words, dimensions), finite.
    binary
        Binary, or text with nine digits, which gives back the same float32.

    Raises
    ------
    DataError
        Words or vectors do not fit the format.
    """
    table = np.ascontiguousarray(vectors, dtype="<f4")
    if table.ndim != 2 or len(table) != len(words) or 0 in table.shape:
        raise DataError(
            f"write_word_vectors: vectors is {table.shape}, expected ({len(words)}, dimensions), neither of them 0"
        )
    if not np.isfinite(table).all():
        raise DataError("write_word_vectors: vectors holds NaN or infinity, expected finite numbers")
    if len(set(words)) < len(words):
        raise DataError("write_word_vectors: a word is there twice")
    for word in words:
        if not word or any(c.isspace() for c in word) or len(word.encode()) > _MAX_WORD:
            raise DataError(
                f"write_word_vectors: word is {word[:40]!r}, expected one without white space, of 1 to "
                f"{_MAX_WORD} bytes"
            )
    target = Path(path)
    with open(target, "wb") as file:
        file.write(f"{len(words)} {table.shape[1]}\n".encode())
        for word, vector in zip(words, table, strict=True):
            if binary:
                file.write(word.encode() + b" " + vector.tobytes() + b"\n")
            else:
                numbers = " ".join(f"{value:.9g}" for value in vector.tolist())
                file.write(f"{word} {numbers}\n".encode())
    return target


def _size(name: str) -> int:
    try:
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataNotFoundError(f"{name}: no such file") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise DataError(f"{name} is {kind}, expected a file of word vectors")
    return status.st_size


def _header(file: IO[bytes], name: str, size: int) -> tuple[int, int, int]:
    line = file.readline(64)
    parts = line.split()
    if not line.endswith(b"\n") or len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise DataError(
            f"{name}: line 1 is {line[:40]!r}, expected two numbers, words and dimensions, such as 3000000 300"
        )
    count, dimensions = int(parts[0]), int(parts[1])
    if count < 1 or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise DataError(
            f"{name}: line 1 says {count} words of {dimensions} dimensions, expected at least one word and 1 to "
            f"{_MAX_DIMENSIONS} dimensions"
        )
    # The shortest that either format can be: a letter and a space, and a digit and a space for each number.
    if count * (2 + 2 * dimensions) > size - len(line) + 1:
        raise DataError(
            f"{name}: line 1 says {count} words of {dimensions} dimensions, which {size} bytes cannot hold"
        )
    return count, dimensions, len(line)


def _is_binary(file: IO[bytes], dimensions: int, start: int) -> bool:
    # Text is a first line that reads as one, or at least has nothing but printable characters: then its reader can
    # tell what is wrong with it.
    line = file.readline(_MAX_WORD + 64 * dimensions)
    file.seek(start)
    parts = line.split()
    try:
        numbers = [float(part) for part in parts[1:]]
        if len(numbers) == dimensions:
            return False
    except ValueError:
        pass
    try:
        return any(ord(c) < 32 and c not in "\t\r\n" for c in line.decode("utf-8"))
    except UnicodeDecodeError:
        return True


def _read_text(
    file: IO[bytes], name: str, count: int, dimensions: int, keep: Container[str] | None
) -> WordVectors:
    words: list[str] = []
    seen: set[str] = set()
    vectors: list[NDArray[np.float32]] = []
    limit = _MAX_WORD + 64 * dimensions
    for number in range(2, count + 2):
        line = file.readline(limit)
        if not line:
            raise DataError(f"{name} is cut short: line 1 says {count} words, there are {number - 2}")
        parts = line.rstrip(b"\r\n ").split(b" ")
        if len(parts) != dimensions + 1 or not parts[0]:
            raise DataError(
                f"{name}: line {number} has {len(parts)} columns, expected a word and {dimensions} numbers"
            )
        word = _word(parts[0], f"{name}: line {number}")
        try:
            with np.errstate(over="ignore"):
                vector = np.array(parts[1:], dtype=np.float64).astype(np.float32)
        except ValueError:
            raise DataError(f"{name}: line {number}, {word!r}: not all columns are numbers") from None
        if not np.isfinite(vector).all():
            raise DataError(f"{name}: line {number}, {word!r}: NaN or infinity, expected finite numbers")
        if word not in seen and (keep is None or word in keep):
            seen.add(word)
            words.append(word)
            vectors.append(vector)
    if file.read(_CHUNK).strip():
        raise DataError(f"{name} is too long: line 1 says {count} words, there are more lines")
    return WordVectors(words, _stacked(vectors, dimensions))


def _read_binary(
    file: IO[bytes], name: str, count: int, dimensions: int, keep: Container[str] | None
) -> WordVectors:
    words: list[str] = []
    seen: set[str] = set()
    vectors: list[NDArray[np.float32]] = []
    width = 4 * dimensions
    held = b""
    at = 0

    def more(need: int) -> bool:
        # At least so many bytes from `at` on; False at the end of the file.
        nonlocal held, at
        while len(held) - at < need:
            chunk = file.read(max(_CHUNK, need))
            if not chunk:
                return False
            held, at = held[at:] + chunk, 0
        return True

    for number in range(1, count + 1):
        more(_MAX_WORD + 2)
        while held[at : at + 1] in (b"\n", b"\r"):
            at += 1
        space = held.find(b" ", at, at + _MAX_WORD + 1)
        if space < 0:
            rest = len(held) - at
            what = f"is cut short in word {number}" if rest <= _MAX_WORD else f"has no word {number}"
            raise DataError(f"{name} {what} of {count}, {rest} bytes from its end or more")
        word = _word(held[at:space], f"{name}: word {number}")
        at = space + 1
        if not more(width):
            raise DataError(
                f"{name} is cut short: word {number} of {count}, {word[:40]!r}, has {len(held) - at} of its "
                f"{width} bytes"
            )
        if word not in seen and (keep is None or word in keep):
            vector = np.frombuffer(held, "<f4", dimensions, at).astype(np.float32)
            if not np.isfinite(vector).all():
                raise DataError(
                    f"{name}: word {number}, {word[:40]!r}: NaN or infinity, expected finite numbers"
                )
            seen.add(word)
            words.append(word)
            vectors.append(vector)
        at += width
    if held[at:].strip(b"\r\n") or file.read(_CHUNK).strip(b"\r\n"):
        raise DataError(f"{name} is too long: there are bytes behind the {count} words of line 1")
    return WordVectors(words, _stacked(vectors, dimensions))


def _word(raw: bytes, where: str) -> str:
    if not raw or len(raw) > _MAX_WORD:
        raise DataError(f"{where} has {len(raw)} bytes, expected 1 to {_MAX_WORD}")
    # Files made by the original program may cut a word in the middle of a character.
    return raw.decode("utf-8", errors="replace")


def _stacked(vectors: list[NDArray[np.float32]], dimensions: int) -> NDArray[np.float32]:
    empty: Any = np.empty((0, dimensions), np.float32)
    return np.stack(vectors) if vectors else empty
