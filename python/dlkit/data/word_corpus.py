"""Texts as numbers of words: from files or sentences of any size to what word vectors are trained on.

The text is gone through twice, in pieces and on several threads: once to count its words, once to turn them into
numbers, which lie in a temporary file that is mapped into memory. What is not plain text is first written to another
temporary file. Neither file has a name: what becomes of the process, nothing is left behind.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import lzma
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlkit import _cpu, kernels

from .errors import DataError, DataNotFoundError
from .resumable import integer

#: A path, or sentences as lists of words.
Source = str | os.PathLike[str] | Iterable[Sequence[str]]
Errors = Literal["strict", "replace", "ignore"]
#: Called with what is being done, and how many bytes of how many.
Progress = Callable[[str, int, int], None]

_OPENERS: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
_PIECE = 1 << 20
_WORD_END, _SENTENCE_END = b"\xfe", b"\xff"
_REPLACE = "dlkit-replace"  # Python's "replace" makes question marks of what cannot be encoded


def _replacement(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "\ufffd".encode() * (error.end - error.start), error.end


codecs.register_error(_REPLACE, _replacement)


@dataclass(frozen=True)
class Reading:
    """How a text is read."""

    errors: Errors = "strict"
    max_sentence: int = 10000
    workers: int | None = None
    piece: int = _PIECE
    folder: str | os.PathLike[str] | None = None
    progress: Progress | None = None

    def checked(self, owner: str) -> Reading:
        """The same once all is in range, `workers` a number."""
        if self.errors not in ("strict", "replace", "ignore"):
            raise DataError(f"{owner}: errors is {self.errors!r}, expected 'strict', 'replace' or 'ignore'")
        integer(owner, "max_sentence", self.max_sentence, 1, 1 << 62)
        workers = kernels.get_num_threads() if self.workers is None else self.workers
        workers = min(integer(owner, "workers", workers, 1), 256)
        piece = min(integer(owner, "piece", self.piece, 1), 1 << 28)
        return Reading(self.errors, self.max_sentence, workers, piece, self.folder, self.progress)


class EncodedText:
    """A text as numbers of words.

    Attributes
    ----------
    tokens
        int32: the numbers of the words that are in the vocabulary, -1 after each sentence that has some. Mapped from a
        temporary file, which is gone once no array of it is left.
    total_words
        Of the text, in the vocabulary or not.
    kept_words
        Those that are in it.
    sentences
        With a word that is in it.
    """

    def __init__(self, tokens: NDArray[np.int32], total_words: int, kept_words: int, sentences: int) -> None:
        self.tokens = tokens
        self.total_words = total_words
        self.kept_words = kept_words
        self.sentences = sentences

    def close(self) -> None:
        """Let go of the tokens."""
        self.tokens = np.empty(0, np.int32)

    def __enter__(self) -> EncodedText:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CorpusVocabulary:
    """The words of a corpus and their counts, which turn further texts into numbers.

    Parameters
    ----------
    words
        No two alike, none empty.
    counts
        How often each occurs, falling.

    Raises
    ------
    DataError
        Words or counts are not so.
    """

    def __init__(self, words: Sequence[str], counts: Sequence[int] | NDArray[Any]) -> None:
        try:
            raw = [word.encode() for word in words]
            self._table = _cpu.WordCorpusVocabulary(raw, [int(count) for count in counts])
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"CorpusVocabulary: {error}") from error
        self._read()

    def _read(self) -> None:
        self.words: list[str] = self._table.words()
        self.counts: NDArray[np.int64] = self._table.counts()
        self.counts.flags.writeable = False

    @classmethod
    def _of(cls, table: _cpu.WordCorpusVocabulary) -> CorpusVocabulary:
        made = cls.__new__(cls)
        made._table = table
        made._read()
        return made

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.words)

    def fingerprint(self) -> bytes:
        """16 bytes that are others for other words or counts: whether a checkpoint belongs to this vocabulary."""
        digest = hashlib.blake2b(self.counts.tobytes(), digest_size=16)
        digest.update(b"\0".join(word.encode() for word in self.words))
        return digest.digest()

    def encode(self, source: Source, **reading: Any) -> EncodedText:
        """Another text as numbers of these words; words that are not among them are left out.

        Parameters
        ----------
        source, **reading
            As in `WordCorpus.build`: errors, max_sentence, workers, piece, folder, progress.

        Raises
        ------
        DataError
            As `WordCorpus.build`.
        """
        how = Reading(**reading).checked("encode")
        with opened(source, how) as text:
            encoded = text.encode(self._table)
            if encoded.total_words == 0:
                raise DataError(f"{text.name} holds no words")
            return encoded

    def extend(
        self,
        source: Source,
        min_count: int = 5,
        *,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        **reading: Any,
    ) -> WordCorpus:
        """Another text with a vocabulary that has these words and new ones of the text, to continue a training.

        Parameters
        ----------
        source, max_vocab_size, **reading
            As in `WordCorpus.build`.
        min_count
            New words that occur less often in the new text are left out.
        max_final_vocab
            So many words at most, old and new: the most frequent new ones that there is room for beside the old, which
            all stay.

        Returns
        -------
        WordCorpus
            Tokens are those of the new text. Counts are those of both texts; since they fall, words have other numbers
            than before: `previous` says which each had, or -1 for a new word.
        """
        counted, final = check_counting("extend", min_count, max_vocab_size, max_final_vocab)
        how = Reading(**reading).checked("extend")
        with opened(source, how) as text:
            counter = text.count(counted)
            if counter.words == 0:
                raise DataError(f"{text.name} holds no words")
            table = counter.vocabulary(min_count, final, self._table)
            return WordCorpus(CorpusVocabulary._of(table), text.encode(table, counter), table.previous())


class WordCorpus(EncodedText):
    """A text as numbers of the words of its own vocabulary; made by `WordCorpus.build`.

    Attributes
    ----------
    words
        By falling count, those of the same count by their bytes in UTF-8.
    counts
        int64, how often each occurs.
    vocabulary
        Both, as a `CorpusVocabulary`.
    previous
        int64, from `extend`: the numbers of the words in the vocabulary before, -1 for new ones. Else None.
    tokens, total_words, kept_words, sentences
        As in `EncodedText`.

    Examples
    --------
    >>> import dlkit as dl
    >>> corpus = dl.data.WordCorpus.build([["a", "star", "is", "a", "sun"]], min_count=1)
    >>> corpus.words, corpus.counts.tolist(), corpus.tokens.tolist()
    (['a', 'is', 'star', 'sun'], [2, 1, 1, 1], [0, 2, 1, 0, 3, -1])
    """

    def __init__(
        self, vocabulary: CorpusVocabulary, text: EncodedText, previous: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__(text.tokens, text.total_words, text.kept_words, text.sentences)
        self.vocabulary = vocabulary
        self.previous = previous

    @property
    def words(self) -> list[str]:
        """By falling count."""
        return self.vocabulary.words

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each word occurs."""
        return self.vocabulary.counts

    def __enter__(self) -> WordCorpus:
        return self

    @classmethod
    def build(
        cls,
        source: Source,
        min_count: int = 5,
        *,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        errors: Errors = "strict",
        max_sentence: int = 10000,
        workers: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        piece: int = _PIECE,
    ) -> WordCorpus:
        """Count the words of a text, and turn it into their numbers.

        Parameters
        ----------
        source
            A file, plain or compressed (.gz, .xz, .bz2): sentences are lines, words what ASCII white space separates.
            Or anything that yields sentences, lists of words, which may hold white space; it is gone through once.
            Empty words of a list are left out.
        min_count
            Words that occur less often are left out.
        max_vocab_size
            Bounds the memory: when there are more words than this after a piece of the file, those with a count below
            a threshold are thrown away, and the threshold grows by one, from one on (gensim's rule, with a piece in
            the place of a sentence). Counts of rare words are then too small. Up to a piece's words more are held.
        max_final_vocab
            So many words at most, the most frequent ones. Where that cuts between words of the same count, none of
            these is kept.
        errors
            What becomes of words that are no UTF-8: ``"strict"``, an error that names the line; ``"replace"``,
            U+FFFD for each ill-formed sequence; ``"ignore"``, these bytes are left out.
        max_sentence
            Longer sentences are cut after so many words.
        workers
            Threads. None: `dlkit.get_num_threads`. The result does not depend on it.
        folder
            Where the temporary files lie. None: as `tempfile` chooses, `TMPDIR`.
        progress
            Called now and then with "read", "count" or "encode", bytes done, bytes in all (0: not known).
        piece
            Bytes that a thread takes at a time.

        Raises
        ------
        DataNotFoundError
            There is no such file.
        DataError
            The text has no words, or none occurs min_count times; it has a word of more than 65536 bytes, or one that
            is no UTF-8; the file is cut short, becomes shorter or is changed while it is read; a setting is out of
            range.
        """
        owner = "WordCorpus"
        counted, final = check_counting(owner, min_count, max_vocab_size, max_final_vocab)
        how = Reading(errors, max_sentence, workers, piece, folder, progress).checked(owner)
        with opened(source, how) as text:
            counter = text.count(counted)
            if counter.words == 0:
                raise DataError(f"{text.name} holds no words")
            table = counter.vocabulary(min_count, final, None)
            if len(table) == 0:
                settings = f"min_count={min_count}" + (
                    "" if max_final_vocab is None else f", max_final_vocab={max_final_vocab}"
                )
                raise DataError(
                    f"{text.name}: no word is left by {settings}: there are {counter.words} words, "
                    f"{counter.distinct} different ones, and none occurs more than {counter.largest} times"
                )
            return cls(CorpusVocabulary._of(table), text.encode(table, counter, exact=counted == 0))

    def encode(self, source: Source, **reading: Any) -> EncodedText:
        """Another text as numbers of the same words: `CorpusVocabulary.encode`."""
        return self.vocabulary.encode(source, **reading)

    def extend(self, source: Source, min_count: int = 5, **counting: Any) -> WordCorpus:
        """Another text, with its new words: `CorpusVocabulary.extend`."""
        return self.vocabulary.extend(source, min_count, **counting)


def check_counting(
    owner: str, min_count: int, max_vocab_size: int | None, max_final_vocab: int | None
) -> tuple[int, int]:
    """Check how words are counted; returns both limits, 0 for none.

    Raises
    ------
    DataError
        One is out of range.
    """
    integer(owner, "min_count", min_count, 0, 1 << 62)
    for name, limit in (("max_vocab_size", max_vocab_size), ("max_final_vocab", max_final_vocab)):
        if limit is not None:
            integer(owner, name, limit, 1, 1 << 62)
    return max_vocab_size or 0, max_final_vocab or 0


class OpenText:
    """A plain file that is open, and what is read from it."""

    def __init__(self, file: IO[bytes], name: str, own: bool, how: Reading) -> None:
        self.file, self.name, self.own, self.how = file, name, own, how
        self.size = os.fstat(file.fileno()).st_size

    def count(self, max_vocab_size: int) -> _cpu.WordCorpusCounter:
        """The words and how often each occurs."""
        how = self.how
        assert how.workers is not None
        counter = _cpu.WordCorpusCounter(
            self.file.fileno(), self.size, how.piece, self.own, how.errors, max_vocab_size, how.workers
        )
        self.run(counter, "count")
        return counter

    def encode(
        self,
        table: _cpu.WordCorpusVocabulary,
        counter: _cpu.WordCorpusCounter | None = None,
        *,
        exact: bool = False,
        breaks: bool = False,
    ) -> EncodedText:
        """The text as numbers; with `breaks`, sentences end at words that are not in the table."""
        how = self.how
        assert how.workers is not None
        with temporary(how) as file:
            encoder = _cpu.WordCorpusEncoder(
                table,
                self.file.fileno(),
                self.size,
                how.piece,
                self.own,
                how.errors,
                how.max_sentence,
                breaks,
                file.fileno(),
                how.workers,
            )
            self.run(encoder, "encode")
            changed = counter is not None and encoder.words != counter.words
            if changed or (exact and encoder.kept != int(table.counts().sum())):
                raise DataError(f"{self.name} was changed while it was read")
            tokens: NDArray[np.int32] = np.empty(0, np.int32)
            if encoder.kept:
                tokens = np.memmap(file, np.int32, "r", shape=(encoder.kept + encoder.sentences,))
            return EncodedText(tokens, encoder.words, encoder.kept, encoder.sentences)

    def run(
        self, work: _cpu.WordCorpusCounter | _cpu.WordCorpusEncoder | _cpu.WordPairJoiner, what: str
    ) -> None:
        """All steps of a work."""
        try:
            going = True
            while going:
                going = work.step()
                if self.how.progress is not None:
                    self.how.progress(what, work.bytes_done, self.size)
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{self.name}: {error}") from error


@contextmanager
def temporary(how: Reading) -> Iterator[IO[bytes]]:
    """A file that has no name."""
    try:
        file: IO[bytes] = tempfile.TemporaryFile(prefix="dlkit-", dir=how.folder)  # noqa: SIM115
    except OSError as error:
        where = tempfile.gettempdir() if how.folder is None else os.fspath(how.folder)
        raise DataError(
            f"a temporary file cannot be made in {where}: {error.strerror or error}; expected a folder to write to, "
            "by folder or TMPDIR"
        ) from error
    with file:
        yield file


@contextmanager
def opened(source: Source, how: Reading) -> Iterator[OpenText]:
    """A source as a plain file, a temporary one where it is none."""
    if isinstance(source, str | os.PathLike):
        with _opened_path(os.fspath(source), how) as text:
            yield text
        return
    given: Any = source
    if isinstance(given, bytes | bytearray) or not isinstance(given, Iterable):
        raise DataError(
            f"source is of type {type(given).__name__}, expected a path or an iterable of lists of words"
        )
    with temporary(how) as file:
        _spool(source, file, how)
        file.flush()
        yield OpenText(file, "source", True, how)


@contextmanager
def _opened_path(name: str, how: Reading) -> Iterator[OpenText]:
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise DataError(f"{name} is {kind}, expected a file of text")
        file = open(name, "rb")  # noqa: SIM115
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataNotFoundError(f"{name}: no such file") from error
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with file:
        opener = _OPENERS.get(os.path.splitext(name)[1].lower())
        if opener is None:
            yield OpenText(file, name, False, how)
            return
        with temporary(how) as plain:
            try:
                with opener(file) as stream:
                    while chunk := stream.read(_PIECE):
                        plain.write(chunk)
                        if how.progress is not None:
                            how.progress("read", file.tell(), status.st_size)
                plain.flush()
            except EOFError as error:
                raise DataError(f"{name} is cut short") from error
            except (OSError, lzma.LZMAError, zlib.error) as error:
                raise DataError(f"{name} cannot be unpacked: {error}") from error
            yield OpenText(plain, name, False, how)


def _spool(sentences: Iterable[Sequence[str]], file: IO[bytes], how: Reading) -> None:
    errors = _REPLACE if how.errors == "replace" else how.errors
    for number, sentence in enumerate(sentences, start=1):
        if isinstance(sentence, str | bytes) or not isinstance(sentence, Iterable):
            hint = " (did you mean text.split()?)" if isinstance(sentence, str | bytes) else ""
            raise DataError(
                f"sentence {number} is of type {type(sentence).__name__}, expected a list of words{hint}"
            )
        words = list(sentence)
        # One join and one replacement, where no word has the character that stands for the ends of words.
        try:
            line = "\0".join(words)
        except TypeError:
            place, word = next((i, w) for i, w in enumerate(words, start=1) if not isinstance(w, str))
            raise DataError(
                f"sentence {number}, word {place} is of type {type(word).__name__}, expected str"
            ) from None
        try:
            if line.count("\0") + 1 == len(words):
                raw = line.encode("utf-8", errors).replace(b"\0", _WORD_END)
            else:
                raw = _WORD_END.join(word.encode("utf-8", errors) for word in words)
            file.write(raw + _SENTENCE_END)
        except UnicodeEncodeError as error:
            raise DataError(
                f"sentence {number} has a word that is no UTF-8: {error.reason} "
                "(errors='replace' or 'ignore' reads on)"
            ) from error
        except OSError as error:
            raise DataError(f"the temporary file cannot be written: {error}") from error
        if how.progress is not None and number % 10000 == 0:
            how.progress("read", file.tell(), 0)
