"""Files of word vectors: word2vec's text and binary, fastText's .vec, GloVe's .txt, and arrays in .npz or safetensors.

word2vec's formats begin with a line ``words dimensions``. Text, which fastText's .vec is, too: a line per word, the
word and its numbers, separated by spaces. Binary: the word, a space, its numbers as little-endian float32, and with the
original program a line end. GloVe: as the text, without the first line. These four may be compressed (.gz, .xz, .bz2),
and are where the file's name ends so.

The two formats of arrays have ``vectors``, float32 of shape (words, dimensions); ``words``, uint8: UTF-8 with a line
end between words, which ``bytes(file["words"]).decode().split("\n")`` reads; and ``counts``, int64, where these are
known. Where a word holds a line end itself there is ``word_ends``, too, int64: the byte of ``words`` behind each word.

Files are treated as hostile: what they say of their size is held against the size they have before memory is given.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError, DataNotFoundError
from .safetensors_file import write_safetensors

_MAX_WORD = 1 << 16  # bytes: the longest word of a corpus
_MAX_DIMENSIONS = 1 << 16
_CHUNK = 1 << 22
_HEAD = 1 << 16  # bytes behind the first line that tell text from binary
_MAX_UNPACKED = 1 << 33
_WHITE_SPACE = " \t\n\v\f\r"  # what ends words in a text of ASCII white space, as of a corpus

Format = Literal["text", "binary", "glove", "npz", "safetensors"]
FORMATS: tuple[Format, ...] = ("text", "binary", "glove", "npz", "safetensors")
_ARRAYS = ("vectors", "words", "word_ends", "counts")
#: What a folder with word vectors has, a run's for one.
VECTOR_FILES = ("vectors.safetensors", "vectors.npz")
#: By the end of a file's name; others are text.
_ENDINGS: dict[str, Format] = {
    ".bin": "binary",
    ".npz": "npz",
    ".safetensors": "safetensors",
}
_OPENERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"\xfd7zXZ\x00", lzma.open),
    (b"BZh", bz2.open),
)
#: By the end of a file's name: what packs it. No name and no time go into it: the same vectors, the same bytes.
_PACKERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile("", "wb", 6, file, 0),
    ".xz": lambda file: lzma.LZMAFile(file, "wb"),  # noqa: SIM115 - closed where it is used
    ".bz2": lambda file: bz2.BZ2File(file, "wb"),
}


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes
    ----------
    words
        As in the file.
    vectors
        float32, shape (words, dimensions).
    counts
        int64, shape (words,): how often each was in the text; None where the file does not say.
    """

    words: list[str]
    vectors: NDArray[np.float32]
    counts: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.words):
            raise DataError(
                f"WordVectors: {len(self.words)} words but vectors of shape {self.vectors.shape}, expected "
                f"({len(self.words)}, dimensions)"
            )
        if self.counts is not None and self.counts.shape != (len(self.words),):
            raise DataError(
                f"WordVectors: {len(self.words)} words but counts of shape {self.counts.shape}, expected "
                f"({len(self.words)},)"
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
    path: str | os.PathLike[str],
    *,
    keep: Container[str] | None = None,
    limit: int | None = None,
    max_bytes: int | None = None,
    unicode_errors: Literal["replace", "strict"] = "replace",
) -> WordVectors:
    """Read word vectors from a file of any of the formats; its content tells which.

    Parameters
    ----------
    path
        The file, or a folder with ``vectors.safetensors`` or ``vectors.npz``, such as the run folder of
        ``dlkit train word2vec``. Text and binary may be compressed.
    keep
        Only these words are kept: of text and binary the whole file is read, but no more memory used than they need.
    limit
        Only so many words from the beginning are read.
    max_bytes
        Largest file accepted, and most bytes that a compressed one may unpack to. None: a file of any size, and 8 GiB
        of a compressed one.
    unicode_errors
        What becomes of words that are no UTF-8, which the original program makes where it cuts long ones. "replace":
        the bytes become U+FFFD, and of words that are then the same the first is taken; "strict": an error.

    Returns
    -------
    WordVectors
        Words in file order; of a word that is there twice, the first.

    Raises
    ------
    DataNotFoundError
        There is no such file, or no file of vectors in the folder.
    DataError
        It is cut short, has bytes left over, claims a size that it cannot hold, or a vector is not made of finite
        numbers. The message names file and line (text) or word (binary).
    ImportError
        It is a safetensors file, and that package is not installed.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        there = [file for file in VECTOR_FILES if os.path.isfile(os.path.join(name, file))]
        if not there:
            raise DataNotFoundError(
                f"{name} holds no word vectors, expected {' or '.join(VECTOR_FILES)} in it"
            )
        name = os.path.join(name, there[0])
    size = _size(name)
    if max_bytes is not None and size > max_bytes:
        raise DataError(f"{name} has {size} bytes, more than the limit of {max_bytes} (max_bytes)")
    if unicode_errors not in ("replace", "strict"):
        raise ValueError(
            f"read_word_vectors: unicode_errors is {unicode_errors!r}, expected 'replace' or 'strict'"
        )
    if limit is not None and limit < 1:
        raise ValueError(f"read_word_vectors: limit is {limit}, expected None or at least 1")
    kept = _Kept(keep, limit, unicode_errors)
    unpacked = _MAX_UNPACKED if max_bytes is None else max_bytes
    try:
        with open(name, "rb") as file:
            first = file.read(16)
            file.seek(0)
            if first.startswith(b"PK\x03\x04"):
                return _from_arrays(_npz_arrays(file, name, size, unpacked), name, kept)
            if first[8:9] == b"{" and int.from_bytes(first[:8], "little") < size:
                return _from_arrays(_safetensors_arrays(name), name, kept)
            for magic, opener in _OPENERS:
                if first.startswith(magic):
                    with opener(file) as stream:
                        return _read_stream(_Limited(stream, name, unpacked), name, None, kept)
            return _read_stream(file, name, size, kept)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: the compressed stream is damaged or cut short ({error})") from error
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error


def write_word_vectors(
    path: str | os.PathLike[str],
    words: Sequence[str],
    vectors: ArrayLike,
    *,
    binary: bool = False,
    format: Format | None = None,
    counts: ArrayLike | None = None,
) -> Path:
    """Write words and vectors to a file, which takes its name only once it is complete.

    Text and binary are byte for byte what gensim writes. Reading gives back the same float32 from each format.

    Parameters
    ----------
    path
        The file. Text and binary are compressed where its name ends in .gz, .xz or .bz2.
    words
        No two alike, none empty, of at most 65,536 bytes; but in "npz" and "safetensors" without ASCII white space.
    vectors
        Shape (words, dimensions), finite.
    binary
        Short for ``format="binary"``.
    format
        "text", "binary", "glove" (text without the first line), "npz" or "safetensors". None: text.
    counts
        Shape (words,), integers; kept by "npz" and "safetensors" alone.

    Raises
    ------
    DataError
        Words or vectors do not fit the format, or the format not the name.
    """
    chosen: Format = format if format is not None else "binary" if binary else "text"
    if chosen not in FORMATS:
        raise ValueError(f"write_word_vectors: format is {chosen!r}, expected one of {', '.join(FORMATS)}")
    with np.errstate(over="ignore"):
        table = np.asarray(vectors).astype("<f4", copy=False)
    if table.ndim != 2 or len(table) != len(words) or 0 in table.shape:
        raise DataError(
            f"write_word_vectors: vectors is {table.shape}, expected ({len(words)}, dimensions), neither of them 0"
        )
    if table.shape[1] > _MAX_DIMENSIONS:
        raise DataError(
            f"write_word_vectors: vectors has {table.shape[1]} columns, expected at most {_MAX_DIMENSIONS}"
        )
    if _first_not_finite(table) is not None:
        raise DataError("write_word_vectors: vectors holds NaN or infinity, expected finite numbers")
    if len(set(words)) < len(words):
        raise DataError("write_word_vectors: a word is there twice")
    arrays_alone = chosen in ("npz", "safetensors")
    encoded = [_encoded(word, arrays_alone) for word in words]
    target = Path(path)
    packer = _PACKERS.get(target.suffix.lower())
    if arrays_alone and packer is not None:
        raise DataError(
            f"write_word_vectors: {target} is a name of a compressed file, expected another for {chosen}"
        )
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            if arrays_alone:
                arrays = {"vectors": table, **_word_arrays(encoded)}
                if counts is not None:
                    arrays["counts"] = _counts(counts, len(words), "write_word_vectors: counts")
                _write_arrays(file, arrays, chosen)
            elif packer is None:
                _write_words(file, encoded, table, chosen)
            else:
                with io.BufferedWriter(packer(file), 1 << 20) as stream:
                    _write_words(stream, encoded, table, chosen)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return target


def format_named(path: str | os.PathLike[str]) -> Format:
    """The format that the end of a file's name stands for: .bin, .npz, .safetensors, compressed or not; else text."""
    name = Path(path)
    if name.suffix.lower() in _PACKERS:
        name = name.with_suffix("")
    return _ENDINGS.get(name.suffix.lower(), "text")


def folder_file() -> str:
    """The file of vectors that a folder gets: of `VECTOR_FILES` the first that can be read here."""
    try:
        _safetensors()
    except ImportError:
        return VECTOR_FILES[1]
    return VECTOR_FILES[0]


class _Kept:
    """The words and vectors of a file that are wanted, in memory that grows with what was read."""

    def __init__(self, keep: Container[str] | None, limit: int | None, unicode_errors: str) -> None:
        self.keep, self.limit, self.unicode_errors = keep, limit, unicode_errors
        self.words: dict[str, None] = {}
        self._table: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def wants(self, word: str) -> bool:
        return word not in self.words and (self.keep is None or word in self.keep)

    def add(self, word: str, vector: NDArray[np.float32], most: int) -> None:
        """Take a word; no more than `most` of them will come."""
        at = len(self.words)
        if at == len(self._table):
            grown = np.empty((min(max(2 * at, 1024), max(most, at + 1)), len(vector)), np.float32)
            if at:
                grown[:at] = self._table
            self._table = grown
        self._table[at] = vector
        self.words[word] = None

    def word(self, raw: bytes, where: str) -> str:
        if not raw or len(raw) > _MAX_WORD:
            raise DataError(f"{where}: the word has {len(raw)} bytes, expected 1 to {_MAX_WORD}")
        try:
            return raw.decode("utf-8", errors=self.unicode_errors)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}: the word is not UTF-8: byte 0x{raw[error.start]:02x} at {error.start + 1}"
            ) from error

    def result(self, dimensions: int) -> WordVectors:
        table = self._table[: len(self.words)] if self.words else np.empty((0, dimensions), np.float32)
        return WordVectors(list(self.words), table)


class _Limited:
    """A stream that unpacks to no more than so many bytes."""

    def __init__(self, stream: Any, name: str, most: int) -> None:
        self._stream, self._name, self._most = stream, name, most

    def _checked(self, part: bytes) -> bytes:
        if self._stream.tell() > self._most:
            raise DataError(f"{self._name} unpacks to more than the limit of {self._most} bytes (max_bytes)")
        return part

    def read(self, size: int) -> bytes:
        return self._checked(self._stream.read(size))

    def readline(self, size: int) -> bytes:
        return self._checked(self._stream.readline(size))

    def seek(self, to: int) -> None:
        self._stream.seek(to)


def _read_stream(file: Any, name: str, size: int | None, kept: _Kept) -> WordVectors:
    line = file.readline(_MAX_WORD + 64 * _MAX_DIMENSIONS)
    parts = line.split()
    if len(parts) == 2 and all(part.isdigit() for part in parts):
        count, dimensions = _header(line, name, size)
        start = len(line)
        reader = _read_binary if _is_binary(file, dimensions, start) else _read_text
        return reader(file, name, count, dimensions, kept)
    try:
        numbers = [float(part) for part in parts[1:]]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) > _MAX_DIMENSIONS:
        raise DataError(
            f"{name}: line 1 is {line[:40]!r}, expected two numbers, words and dimensions, such as 3000000 300, or a "
            "word and its numbers"
        )
    file.seek(0)
    return _read_text(file, name, None, len(numbers), kept)


def _size(name: str) -> int:
    try:
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataNotFoundError(f"{name}: no such file") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{name} is no regular file, expected a file of word vectors")
    return status.st_size


def _header(line: bytes, name: str, size: int | None) -> tuple[int, int]:
    parts = line.split()
    if not line.endswith(b"\n") or max(map(len, parts)) > 18:
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
    if size is not None and count * (2 + 2 * dimensions) > size - len(line) + 1:
        raise DataError(
            f"{name}: line 1 says {count} words of {dimensions} dimensions, which {size} bytes cannot hold"
        )
    return count, dimensions


def _is_binary(file: IO[bytes], dimensions: int, start: int) -> bool:
    # Text is a first line that reads as one, or at least a beginning of nothing but printable characters: then its
    # reader can tell what is wrong with it. A line alone would not do: a number of a binary file may hold b"\n".
    line = file.readline(_MAX_WORD + 64 * dimensions)
    head = line + file.read(_HEAD)
    file.seek(start)
    parts = line.split()
    try:
        numbers = [float(part) for part in parts[1:]]
        if len(numbers) == dimensions:
            return False
    except ValueError:
        pass
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end within a character
        return any(ord(c) < 32 and c not in "\t\r\n" for c in text)
    except UnicodeDecodeError:
        return True


def _read_text(file: Any, name: str, count: int | None, dimensions: int, kept: _Kept) -> WordVectors:
    # With a count the first line was that; without, words may hold spaces (GloVe of 840 billion words has some).
    limit = _MAX_WORD + 64 * dimensions
    first = 1 if count is None else 2
    most = count if count is not None else 1 << 40
    wanted = most if kept.limit is None else min(most, kept.limit)
    for number in range(first, first + wanted):
        line = file.readline(limit)
        if not line:
            if count is None:
                return kept.result(dimensions)
            raise DataError(f"{name} is cut short: line 1 says {count} words, there are {number - first}")
        text = line.rstrip(b"\r\n ")
        parts = text.split(b" ") if count is not None else text.rsplit(b" ", dimensions)
        if len(parts) != dimensions + 1 or not parts[0]:
            columns = len(text.split(b" "))
            raise DataError(
                f"{name}: line {number} has {columns} columns, expected a word and {dimensions} numbers"
            )
        word = kept.word(parts[0], f"{name}: line {number}")
        try:
            with np.errstate(over="ignore"):
                vector = np.array(parts[1:], dtype=np.float64).astype(np.float32)
        except ValueError:
            raise DataError(f"{name}: line {number}, {word[:40]!r}: not all columns are numbers") from None
        if not np.isfinite(vector).all():
            raise DataError(f"{name}: line {number}, {word[:40]!r}: NaN or infinity, expected finite numbers")
        if kept.wants(word):
            kept.add(word, vector, wanted)
    if wanted == count and file.read(_CHUNK).strip():
        raise DataError(f"{name} is too long: line 1 says {count} words, there are more lines")
    return kept.result(dimensions)


def _read_binary(file: Any, name: str, count: int, dimensions: int, kept: _Kept) -> WordVectors:
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

    wanted = count if kept.limit is None else min(count, kept.limit)
    for number in range(1, wanted + 1):
        more(_MAX_WORD + 2)
        while held[at : at + 1] in (b"\n", b"\r"):
            at += 1
        space = held.find(b" ", at, at + _MAX_WORD + 1)
        if space < 0:
            rest = len(held) - at
            what = f"is cut short in word {number}" if rest <= _MAX_WORD else f"has no word {number}"
            raise DataError(f"{name} {what} of {count}, {rest} bytes from its end or more")
        word = kept.word(held[at:space], f"{name}: word {number}")
        at = space + 1
        if not more(width):
            raise DataError(
                f"{name} is cut short: word {number} of {count}, {word[:40]!r}, has {len(held) - at} of its "
                f"{width} bytes"
            )
        if kept.wants(word):
            vector = np.frombuffer(held, "<f4", dimensions, at)
            if not np.isfinite(vector).all():
                raise DataError(
                    f"{name}: word {number}, {word[:40]!r}: NaN or infinity, expected finite numbers"
                )
            kept.add(word, vector, wanted)
        at += width
    if wanted == count and (held[at:].strip(b"\r\n") or file.read(_CHUNK).strip(b"\r\n")):
        raise DataError(f"{name} is too long: there are bytes behind the {count} words of line 1")
    return kept.result(dimensions)


def _npz_arrays(file: IO[bytes], name: str, size: int, unpacked: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if key not in _ARRAYS:
                    continue
                if info.compress_type == zipfile.ZIP_STORED:
                    if info.file_size > size:
                        raise DataError(
                            f"{name}: {key} is said to have {info.file_size} bytes, which {size} bytes cannot hold"
                        )
                elif info.file_size > unpacked:
                    raise DataError(
                        f"{name}: {key} unpacks to {info.file_size} bytes, more than {unpacked} (max_bytes)"
                    )
                with archive.open(info) as member:
                    arrays[key] = _npy(member, f"{name}: {key}", info.file_size)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} is no complete .npz file: {error}") from error
    return arrays


def _npy(member: IO[bytes], where: str, size: int) -> NDArray[Any]:
    # The header by NumPy; the data only after what it says of them was held against the size of the member.
    try:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
        else:
            raise DataError(f"{where} has format {version}, expected 1.0 or 2.0")
    except DataError:
        raise
    except Exception as error:  # NumPy raises whatever its parser of headers does
        raise DataError(f"{where} is no array of NumPy: {str(error)[:200]}") from error
    if dtype.hasobject or dtype.kind not in "fiu" or any(extent < 0 for extent in shape):
        raise DataError(f"{where} holds {dtype} {shape}, expected numbers")
    needed = math.prod(shape) * dtype.itemsize
    if needed > size:
        raise DataError(f"{where} is said to be {dtype} {shape}, which {size} bytes cannot hold")
    content = member.read(needed)
    if len(content) < needed:
        raise DataError(f"{where} is cut short: {len(content)} of {needed} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _safetensors_arrays(name: str) -> dict[str, NDArray[Any]]:
    library = _safetensors()
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with library.safe_open(name, "numpy") as file:
            for key in _ARRAYS:
                if key in file.keys():  # noqa: SIM118 - it is no mapping
                    arrays[key] = file.get_tensor(key)
    except (library.SafetensorError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise DataError(f"{name} is no complete safetensors file of word vectors: {error}") from error
    return arrays


def _from_arrays(arrays: Mapping[str, NDArray[Any]], name: str, kept: _Kept) -> WordVectors:
    if missing := [key for key in ("vectors", "words") if key not in arrays]:
        raise DataError(f"{name} has no array {' and no array '.join(missing)}, expected vectors and words")
    table, raw = arrays["vectors"], arrays["words"]
    if table.ndim != 2 or table.dtype.kind != "f" or 0 in table.shape or table.shape[1] > _MAX_DIMENSIONS:
        raise DataError(
            f"{name}: vectors is {table.dtype} {table.shape}, expected float32 (words, dimensions)"
        )
    if raw.ndim != 1 or raw.dtype != np.uint8:
        raise DataError(f"{name}: words is {raw.dtype} {raw.shape}, expected the bytes of a text, uint8")
    lines = _words_apart(raw, arrays.get("word_ends"), name)
    if len(lines) != len(table):
        raise DataError(f"{name}: there are {len(lines)} words but vectors is {table.shape}")
    with np.errstate(over="ignore"):
        table = table.astype(np.float32, copy=False)
    if kept.limit is not None:
        lines, table = lines[: kept.limit], table[: kept.limit]
    words = [kept.word(line, f"{name}: word {number}") for number, line in enumerate(lines, start=1)]
    if (row := _first_not_finite(table)) is not None:
        raise DataError(
            f"{name}: word {row + 1}, {words[row][:40]!r}: NaN or infinity, expected finite numbers"
        )
    counts = arrays.get("counts")
    if counts is not None:
        counts = _counts(counts, len(arrays["vectors"]), f"{name}: counts")[: len(words)]
    first: dict[str, int] = {}
    for row, word in enumerate(words):
        if kept.keep is None or word in kept.keep:
            first.setdefault(word, row)
    if len(first) < len(words):
        rows = np.fromiter(first.values(), np.int64, len(first))
        words, table = list(first), table[rows]
        counts = None if counts is None else counts[rows]
    return WordVectors(words, table, counts)


def _words_apart(raw: NDArray[np.uint8], ends: NDArray[np.int64] | None, name: str) -> list[bytes]:
    text = raw.tobytes()
    if ends is None:
        return text.split(b"\n")
    if ends.ndim != 1 or ends.dtype != np.int64 or ends.size == 0:
        raise DataError(f"{name}: word_ends is {ends.dtype} {ends.shape}, expected int64 (words,)")
    if ends[0] < 0 or ends[-1] != raw.size or (ends[1:] <= ends[:-1]).any() or (raw[ends[:-1]] != 10).any():
        raise DataError(f"{name}: word_ends does not fit words, expected the byte behind each, a line end")
    starts = [0, *(ends[:-1] + 1).tolist()]
    return [text[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]


def _word_arrays(words: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"words": np.frombuffer(b"\n".join(words), np.uint8)}
    if any(b"\n" in word for word in words):
        arrays["word_ends"] = np.cumsum([len(word) + 1 for word in words], dtype=np.int64) - 1
    return arrays


def _counts(values: ArrayLike, words: int, what: str) -> NDArray[np.int64]:
    counts = np.asarray(values)
    if counts.shape != (words,) or counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise DataError(
            f"{what} is {counts.dtype} {counts.shape}, expected integers of 0 or more, of shape ({words},)"
        )
    return counts.astype(np.int64, copy=False)


def _write_words(file: IO[bytes], words: Sequence[bytes], table: NDArray[np.float32], format: Format) -> None:
    if format != "glove":
        file.write(f"{len(words)} {table.shape[1]}\n".encode())
    for word, vector in zip(words, table, strict=True):
        if format == "binary":
            file.write(word + b" " + vector.tobytes())
        else:
            file.write(word + b" " + " ".join(map(str, vector)).encode() + b"\n")


def _write_arrays(file: IO[bytes], arrays: Mapping[str, NDArray[Any]], format: Format) -> None:
    if format == "safetensors":
        write_safetensors(file, arrays)
        return
    table = arrays["vectors"]
    if table.flags.f_contiguous:  # NumPy would write its columns one after the other
        table = np.ascontiguousarray(table)
    np.savez(file, **{**arrays, "vectors": table})  # type: ignore[arg-type]


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            'reading safetensors files needs the safetensors package: pip install "dlkit[cli]" (.npz needs none)'
        ) from error
    return safetensors


def _encoded(word: str, arrays_alone: bool) -> bytes:
    try:
        raw = word.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"write_word_vectors: word {word[:40]!r} cannot be written as UTF-8") from error
    bad = not arrays_alone and any(c in word for c in _WHITE_SPACE)
    if not word or bad or len(raw) > _MAX_WORD:
        without = "" if arrays_alone else "without ASCII white space, "
        otherwise = " (.npz and .safetensors take it)" if bad else ""
        raise DataError(
            f"write_word_vectors: word is {word[:40]!r}, expected one {without}of 1 to {_MAX_WORD} bytes{otherwise}"
        )
    return raw


def _first_not_finite(table: NDArray[np.float32]) -> int | None:
    """The first row with a number that is not finite."""
    for begin, block in _blocks(table):
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            return begin + int(bad.argmax())
    return None


def _blocks(table: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    rows = max(1, _CHUNK // max(1, table.shape[1]))
    for begin in range(0, len(table), rows):
        yield begin, table[begin : begin + rows]
