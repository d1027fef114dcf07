"""n-gram language models: counted in one pass, smoothed, kept in a compact trie (csrc/ngram)."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import lzma
import math
import operator
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit import _cpu

#: A sentence: words apart by white space, or a list of words.
Sentence: TypeAlias = str | Sequence[str]
#: Sentences, or the path of a text file with one a line, plain or compressed by gzip or xz.
Sentences: TypeAlias = Iterable[Sentence] | os.PathLike[str]

#: How probabilities are made of counts, in the order of csrc/ngram/ngram.h.
SMOOTHINGS = ("mle", "add-k", "katz", "kneser-ney", "modified-kneser-ney")
MOST_ORDER = 12
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"

_MAGIC = b"dlkit-ngram-1\n"
_PIECE = 1 << 22
_SENTENCES = 1 << 14
_MOST_HEADER = 1 << 20
_ARPA_LINES = 1 << 16
_SPACE = frozenset(" \t\n\r\v\f\0")
_WORD = re.compile("[^ \\t\\n\\r\\v\\f]+")


class NGramFileError(ValueError):
    """A file is no model, no text, or damaged; the message names it and, where it has lines, the line."""


@dataclass(frozen=True)
class WordScore:
    """What a model says of one word of a sentence.

    Attributes
    ----------
    word
        As it stands in the sentence; ``</s>`` for its end.
    log_prob
        The natural logarithm of its probability after the words before it.
    length
        Words of the n-gram that the probability is of; fewer than the order where the model has backed off.
    known
        Whether the vocabulary has the word; else it was scored as ``<unk>``.
    """

    word: str
    log_prob: float
    length: int
    known: bool


@dataclass(frozen=True)
class Scores:
    """What a model says of the words of a text, sentence after sentence, ends of sentences among them.

    Attributes
    ----------
    log_probs
        Natural logarithms, shape (words,), float64.
    lengths
        Words of the n-gram that each probability is of, shape (words,), uint8.
    words
        Numbers in the model's vocabulary, shape (words,), uint32; that of ``</s>`` ends each sentence.
    known
        Whether the vocabulary has each word, shape (words,), bool.
    """

    log_probs: NDArray[np.float64]
    lengths: NDArray[np.uint8]
    words: NDArray[np.uint32]
    known: NDArray[np.bool_]

    @property
    def perplexity(self) -> float:
        """*e* to the mean of minus `log_probs`; infinite where a word was impossible."""
        return _perplexity(self.log_probs)

    @property
    def perplexity_of_known(self) -> float:
        """The same, over the words that the vocabulary has."""
        return _perplexity(self.log_probs[self.known])

    @property
    def unknown(self) -> int:
        """How many words the vocabulary lacks."""
        return int(len(self.known) - np.count_nonzero(self.known))


class NGramCounts:
    """How often each n-gram of a text occurs, up to a length; models of any order up to it can be made of it.

    Parameters
    ----------
    sentences
        Sentences, or the path of a text file with one a line (plain, gzip or xz). A word is what stands between ASCII
        white space.
    order : int
        Words of the longest n-grams, 1 … 12.
    min_count : int
        Words that occur less often are counted as ``<unk>``.
    keep_empty : bool
        Whether a sentence without words counts as one, of ``</s>`` alone. Otherwise it is left out.

    Raises
    ------
    ValueError
        No sentence has a word, a sentence holds ``<s>`` or ``</s>``, or an argument is out of range.
    NGramFileError
        The file is no text: not UTF-8, a zero byte, a damaged archive.

    Attributes
    ----------
    sizes
        Different n-grams of each length; the first is the vocabulary's size, with ``<unk>``, ``<s>`` and ``</s>``.
    tokens
        Words of the text and ends of sentences.
    sentences
        Sentences of the text.

    Notes
    -----
    The memory that it takes: 12 bytes an n-gram, and 12 a token while it counts. The numbers of words go by how
    frequent they are, which makes a model of them quick to search.

    Examples
    --------
    >>> counts = NGramCounts(["the cat is small", "the cat sat"], order=3)
    >>> counts.count("the cat"), counts.count("cat is small"), counts.count("small the")
    (2, 1, 0)
    """

    def __init__(
        self, sentences: Sentences, order: int = 5, *, min_count: int = 1, keep_empty: bool = False
    ) -> None:
        order = _integer("NGramCounts", "order", order, 1, MOST_ORDER)
        min_count = _integer("NGramCounts", "min_count", min_count, 1, 2**32)
        counter = _cpu.NGramCounter(bool(keep_empty))
        source, path = _source("NGramCounts", sentences)
        try:
            for piece in source:
                counter.add(piece)
            self._counts = counter.count(order, min_count)
        except NGramFileError:
            raise
        except ValueError as error:
            raise _error("NGramCounts", path, error) from None

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return self._counts.order

    @property
    def sizes(self) -> tuple[int, ...]:
        """Different n-grams of each length."""
        return tuple(self._counts.sizes)

    @property
    def tokens(self) -> int:
        """Words of the text and ends of sentences."""
        return self._counts.tokens

    @property
    def sentences(self) -> int:
        """Sentences of the text."""
        return self._counts.sentences

    @property
    def nbytes(self) -> int:
        """Memory that the counts take."""
        return self._counts.nbytes

    @property
    def words(self) -> list[str]:
        """The vocabulary: ``<unk>``, ``<s>``, ``</s>``, then the most frequent words first."""
        return _split_words(self._counts.words())

    def count(self, ngram: Sentence) -> int:
        """How often an n-gram occurs; ``<s>`` may be its first word, ``</s>`` its last."""
        words = _words(ngram) if isinstance(ngram, str) else list(ngram)
        if not 1 <= len(words) <= self.order:
            raise ValueError(f"count: the n-gram has {len(words)} words; expected 1 to {self.order}")
        return self._counts.count(words)


class NGramModel:
    """An n-gram language model with back-off.

    Parameters
    ----------
    order : int
        Words of the longest n-grams, 1 … 12: each word is predicted from the `order` - 1 words before it.
    smoothing : {"modified-kneser-ney", "kneser-ney", "katz", "add-k", "mle"}
        How probabilities are made of counts. Both Kneser-Neys are interpolated.
    k : float
        What add-k adds to each count, above 0.
    katz_cutoff : int
        Katz takes counts above it at their word, 2 … 100.
    min_count : int
        Words that occur less often in the training text are counted as ``<unk>``.
    keep_empty : bool
        Whether sentences without words count, in training, in `score` and in `perplexity`.

    Notes
    -----
    The vocabulary is the training text's words, ``<unk>`` and ``</s>``: over these each distribution sums to one.
    ``<s>`` begins each context and is never predicted. A word that the vocabulary lacks is scored as ``<unk>``. Where
    the training text has ``<unk>``, it is a word like another there; where it has not, Kneser-Ney gives it its share of
    the uniform distribution, Katz what is left of the words seen, add-k a count of `k`, maximum likelihood nothing.

    Estimated in float64, stored in float32 as logarithms; 15 bytes an n-gram or less: see `nbytes`.

    Sources: Katz 1987; Kneser & Ney 1995; Chen & Goodman 1999; Heafield et al. 2013.

    Examples
    --------
    >>> model = NGramModel(order=2, smoothing="add-k").fit(["the cat is small", "the dog is small"])
    >>> model.log_prob("the cat is small") > model.log_prob("small the is cat")
    True
    """

    def __init__(
        self,
        order: int = 5,
        smoothing: str = "modified-kneser-ney",
        *,
        k: float = 1.0,
        katz_cutoff: int = 5,
        min_count: int = 1,
        keep_empty: bool = False,
    ) -> None:
        self.order = _integer("NGramModel", "order", order, 1, MOST_ORDER)
        if smoothing not in SMOOTHINGS:
            raise ValueError(
                f"NGramModel: smoothing is {smoothing!r}; expected one of {', '.join(SMOOTHINGS)}"
            )
        if not isinstance(k, (int, float)) or isinstance(k, bool) or not 0 < k < 1e12:
            raise ValueError(f"NGramModel: k is {k!r}; expected a number above 0 and below 1e12")
        self.smoothing = smoothing
        self.k = float(k)
        self.katz_cutoff = _integer("NGramModel", "katz_cutoff", katz_cutoff, 2, 100)
        self.min_count = _integer("NGramModel", "min_count", min_count, 1, 2**32)
        self.keep_empty = bool(keep_empty)
        #: Of each order: Kneser-Ney's D1, D2, D3+ or Katz's d1, d2, …
        self.discounts: list[list[float]] = []
        #: Of each order: whether the counts did not allow the discounts' formula.
        self.fallback: list[bool] = []
        self._table: _cpu.NGramTable | None = None
        self._words: list[str] | None = None

    # --- Training ----------------------------------------------------------------------------------------------------

    def fit(self, sentences: Sentences | NGramCounts) -> NGramModel:
        """Count and estimate.

        Parameters
        ----------
        sentences
            Sentences, the path of a text file with one a line, or counts that were made before, of this order or
            a higher one (`min_count` and `keep_empty` are then those of the counts).

        Returns
        -------
        NGramModel
            Itself.

        Raises
        ------
        ValueError, NGramFileError
            As `NGramCounts` says.
        """
        if isinstance(sentences, NGramCounts):
            counts = sentences
            if counts.order < self.order:
                raise ValueError(
                    f"fit: the counts are of order {counts.order}; expected {self.order} or more, the model's"
                )
        else:
            counts = NGramCounts(sentences, self.order, min_count=self.min_count, keep_empty=self.keep_empty)
        number = SMOOTHINGS.index(self.smoothing)
        self._table, self.discounts, self.fallback = counts._counts.estimate(
            self.order, number, self.k, self.katz_cutoff
        )
        self._words = None
        return self

    # --- What it is --------------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> tuple[int, ...]:
        """n-grams of each length."""
        return tuple(self._fitted("sizes").sizes)

    @property
    def nbytes(self) -> int:
        """Memory of the n-grams, their probabilities and back-off weights; the vocabulary comes on top."""
        return self._fitted("nbytes").nbytes

    @property
    def words(self) -> list[str]:
        """The vocabulary, by number: ``<unk>``, ``<s>``, ``</s>`` and the others."""
        if self._words is None:
            self._words = _split_words(self._fitted("words").words())
        return self._words

    def __contains__(self, word: object) -> bool:
        """Whether the vocabulary has a word."""
        return isinstance(word, str) and self._fitted("in").find(word) >= 0

    # --- Scores ------------------------------------------------------------------------------------------------------

    def log_prob(self, sentence: Sentence, *, base: float = math.e) -> float:
        """The logarithm of a sentence's probability, its end included; with base 10 what KenLM's ``score`` says.

        A sentence without words is ``</s>`` alone, whatever `keep_empty` says.
        """
        scores = self._scores([sentence], keep_empty=True)
        return float(scores.log_probs.sum()) / math.log(base)

    def log_probs(self, sentences: Sentences, *, base: float = math.e) -> NDArray[np.float64]:
        """The logarithms of the probabilities of many sentences at once, shape (sentences,).

        Of a file, of each line. A sentence without words is ``</s>`` alone, whatever `keep_empty` says.
        """
        scores = self._scores(sentences, keep_empty=True)
        if not len(scores.words):
            return np.zeros(0)
        ends = np.flatnonzero(scores.words == 2)
        return np.add.reduceat(scores.log_probs, np.concatenate([[0], ends[:-1] + 1])) / math.log(base)

    def word_scores(self, sentence: Sentence) -> list[WordScore]:
        """Score each word of a sentence, and its end; that alone where it has no words, whatever `keep_empty` says."""
        words = _words(sentence) if isinstance(sentence, str) else list(sentence)
        scores = self._scores([words], keep_empty=True)
        found = zip(scores.log_probs.tolist(), scores.lengths.tolist(), scores.known.tolist(), strict=True)
        return [WordScore(word, *rest) for word, rest in zip([*words, END], found, strict=True)]

    def score(self, sentences: Sentences) -> Scores:
        """Score every word of a text, each sentence from its beginning, on all threads.

        Sentences without words are left out unless `keep_empty` is set.

        Raises
        ------
        ValueError
            The model is not fitted; a sentence holds ``<s>``, ``</s>`` or an end of line.
        NGramFileError
            The file is no text.
        """
        return self._scores(sentences, keep_empty=self.keep_empty)

    def _scores(self, sentences: Sentences, *, keep_empty: bool) -> Scores:
        table = self._fitted("score")
        source, path = _source("score", sentences)
        try:
            # An end of the text within a line ends the sentence, too.
            log10, lengths, words, known = table.score(b"".join(source), keep_empty)
        except NGramFileError:
            raise
        except ValueError as error:
            raise _error("score", path, error) from None
        return Scores(log10 * math.log(10), lengths, words, known)

    def perplexity(self, sentences: Sentences) -> float:
        """*e* to the mean surprise at a text's words and ends of sentences; infinite where one was impossible.

        Sentences without words are left out unless `keep_empty` is set.
        """
        scores = self.score(sentences)
        if not len(scores.words):
            raise ValueError("perplexity: there is no word; expected at least one")
        return scores.perplexity

    def probabilities(self, context: Sentence = "", *, begin: bool = True) -> NDArray[np.float64]:
        """The probability of each word of the vocabulary after a context.

        Parameters
        ----------
        context
            The words before it.
        begin
            Whether a sentence begins with the context; otherwise it may be any part of one.

        Returns
        -------
        array of shape (words,), float64
            It sums to one; 0 for ``<s>``.
        """
        table = self._fitted("probabilities")
        try:
            found: NDArray[np.float64] = 10.0 ** table.after(_line("probabilities", context), begin)
        except ValueError as error:
            raise _error("probabilities", None, error) from None
        return found

    def sample(
        self,
        count: int = 30,
        context: Sentence = "",
        *,
        temperature: float = 1.0,
        seed: int = 0,
        forbidden: Iterable[str] = (UNKNOWN,),
    ) -> list[str]:
        """Draw the words that go on from a context, until a sentence ends.

        Parameters
        ----------
        count
            Words at most.
        context
            How the sentence begins.
        temperature
            Divides the logarithms before drawing; 0: the most probable word each time.
        seed
            Of the numbers that are drawn.
        forbidden
            Words that are never drawn.

        Returns
        -------
        list of str
            The words drawn, without ``</s>``.
        """
        if not math.isfinite(temperature) or temperature < 0:
            raise ValueError(f"sample: temperature is {temperature}; expected a number of at least 0")
        count = _integer("sample", "count", count, 0, 2**31)
        words = _words(context) if isinstance(context, str) else list(context)
        table = self._fitted("sample")
        drop = [number for number in map(table.find, forbidden) if number >= 0]
        rng = np.random.default_rng(seed)
        drawn: list[str] = []
        for _ in range(count):
            p = self.probabilities([*words, *drawn][-MOST_ORDER:], begin=len(words) + len(drawn) < MOST_ORDER)
            p[drop] = 0
            if not p.sum() > 0:
                break
            if temperature == 0:
                number = int(p.argmax())
            else:
                with np.errstate(divide="ignore"):
                    scaled = np.log(p) / temperature
                p = np.exp(scaled - scaled.max())
                number = int(rng.choice(len(p), p=p / p.sum()))
            if number == 2:
                break
            drawn.append(self.words[number])
        return drawn

    # --- Files -------------------------------------------------------------------------------------------------------

    def save_arpa(self, path: str | os.PathLike[str]) -> None:
        """Write an ARPA file, which KenLM, SRILM and others read. The logarithm of zero is -99 there.

        Raises
        ------
        ValueError
            The model is add-k's, which no back-off can say.
        OSError
            The path is that of a folder, or in one that is not there; the file cannot be written.
        """
        table = self._fitted("save_arpa")
        if table.flat:
            raise ValueError(
                "save_arpa: add-k is no back-off model, which ARPA files hold; expected save(path)"
            )
        with _written("save_arpa", path) as file:
            counts = "".join(f"ngram {n}={size}\n" for n, size in enumerate(table.sizes, start=1))
            file.write(f"\\data\\\n{counts}".encode())
            for n, size in enumerate(table.sizes, start=1):
                file.write(f"\n\\{n}-grams:\n".encode())
                for first in range(0, size, _ARPA_LINES):
                    file.write(table.arpa(n, first, _ARPA_LINES))
            file.write(b"\n\\end\\\n")

    @classmethod
    def load_arpa(cls, path: str | os.PathLike[str]) -> NGramModel:
        """Read an ARPA file, plain or compressed by gzip or xz.

        n-grams whose parts a pruned model lacks are completed; no score changes by that. As in KenLM ``<UNK>`` is read
        as ``<unk>``, and a file without either gives unknown words a probability of 10⁻¹⁰⁰.

        Raises
        ------
        NGramFileError
            It is no ARPA file; the message names the line.
        """
        reader = _cpu.NGramArpa()
        name = os.fspath(path)
        try:
            for piece in _pieces(name):
                reader.add(piece)
            table = reader.finish()
        except NGramFileError:
            raise
        except ValueError as error:
            raise NGramFileError(f"{name}: {error}") from None
        return cls._of(table, "arpa")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a binary file: the trie as it lies in memory, with its words and a checksum.

        Raises
        ------
        OSError
            The path is that of a folder, or in one that is not there; the file cannot be written.
        """
        table = self._fitted("save")
        target = _written("save", path)
        words = table.words()
        levels = [table.level(n) for n in range(1, table.order + 1)]
        header = {
            "order": table.order,
            "smoothing": self.smoothing,
            "k": self.k,
            "katz_cutoff": self.katz_cutoff,
            "keep_empty": self.keep_empty,
            "words_bytes": len(words),
            "counts": list(table.sizes),
            "level_bytes": [level.nbytes for level in levels],
        }
        text = json.dumps(header).encode()
        checksum = hashlib.sha256()
        with target as file:
            parts: list[bytes | memoryview] = [_MAGIC, len(text).to_bytes(8, "little"), text, words, *levels]
            for part in parts:
                checksum.update(part)
                file.write(part)
            file.write(checksum.digest())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NGramModel:
        """Read what `save` wrote; every number in it is checked.

        Raises
        ------
        NGramFileError
            It is no such file, or damaged.
        """
        name = os.fspath(path)
        try:
            with _opened(name) as file:
                return cls._read(file, os.fstat(file.fileno()).st_size)
        except NGramFileError as error:
            raise NGramFileError(f"{name}: {error}") from None
        except (ValueError, OverflowError, TypeError, RecursionError) as error:
            raise NGramFileError(f"{name}: {str(error).splitlines()[0] if str(error) else error!r}") from None

    @classmethod
    def _read(cls, file: IO[bytes], size: int) -> NGramModel:
        checksum = hashlib.sha256()

        def take(count: int, what: str) -> bytes:
            part = file.read(count) if 0 <= count <= size else b""
            if len(part) != count:
                raise NGramFileError(f"the file ends within its {what}")
            checksum.update(part)
            return part

        if take(min(len(_MAGIC), size), "name") != _MAGIC:
            raise NGramFileError("this is no n-gram model of dlkit's")
        length = int.from_bytes(take(8, "header"), "little")
        if length > _MOST_HEADER:
            raise NGramFileError(f"the header claims {length} bytes; expected at most {_MOST_HEADER}")
        header = json.loads(take(length, "header"))
        if not isinstance(header, dict):
            raise NGramFileError("the header is no object")
        values: dict[str, Any] = {
            name: header.get(name) for name in ("order", "words_bytes", "counts", "level_bytes")
        }
        order, counts, sizes = values["order"], values["counts"], values["level_bytes"]
        numbers = [order, values["words_bytes"]]
        for many in (counts, sizes):
            numbers += many if isinstance(many, list) else [None]
        if any(type(number) is not int or not 0 <= number < 2**62 for number in numbers):
            raise NGramFileError("a number of the header is missing or out of range")
        if not 1 <= order <= MOST_ORDER:
            raise NGramFileError(f"order is {order}; expected 1 to {MOST_ORDER}")
        if len(counts) != order or len(sizes) != order:
            raise NGramFileError(
                f"order is {order} but there are {len(counts)} counts and {len(sizes)} levels"
            )
        words = take(values["words_bytes"], "vocabulary")
        levels = [take(count, f"{n}-grams") for n, count in enumerate(sizes, start=1)]
        found = checksum.digest()
        if file.read(33) != found:
            raise NGramFileError("the checksum does not fit: the file is damaged")
        smoothing = header.get("smoothing")
        if smoothing not in (*SMOOTHINGS, "arpa"):
            raise NGramFileError(f"smoothing is {smoothing!r}; expected one of {', '.join(SMOOTHINGS)}, arpa")
        flat = smoothing == "add-k"
        model = cls._of(_cpu.NGramTable(order, flat, words, counts, levels), smoothing)
        model.keep_empty = header.get("keep_empty") is True
        for name in ("k", "katz_cutoff"):
            if isinstance(header.get(name), (int, float)):
                setattr(model, name, header[name])
        return model

    @classmethod
    def _of(cls, table: _cpu.NGramTable, smoothing: str) -> NGramModel:
        model = cls(table.order)
        model.smoothing = smoothing
        model._table = table
        return model

    def _fitted(self, operation: str) -> _cpu.NGramTable:
        if self._table is None:
            raise ValueError(f"{operation}: the model has no n-grams yet; expected fit or load before")
        return self._table


def tune_k(
    counts: NGramCounts, order: int, held_out: Sentences, candidates: Iterable[float] | None = None
) -> tuple[float, list[tuple[float, float]]]:
    """Find the k of add-k with the least perplexity on a text that was held out.

    Parameters
    ----------
    counts
        Of the training text.
    order
        Of the model.
    held_out
        The text to score.
    candidates
        The k to try; None: powers of ten and half powers from 10⁻⁵ to 1.

    Returns
    -------
    k, tried
        The best one, and (k, perplexity) of each.
    """
    ks = [10.0 ** (i / 2) for i in range(-10, 1)] if candidates is None else list(candidates)
    if not ks:
        raise ValueError("tune_k: there are no candidates; expected at least one")
    if not isinstance(held_out, os.PathLike):
        held_out = list(held_out)
    tried = [(k, NGramModel(order, "add-k", k=k).fit(counts).perplexity(held_out)) for k in ks]
    return min(tried, key=lambda pair: pair[1])[0], tried


# --- Texts and files -------------------------------------------------------------------------------------------------


def _perplexity(log_probs: NDArray[np.float64]) -> float:
    if not len(log_probs):
        return math.nan
    mean = -float(log_probs.mean())
    return math.exp(mean) if mean < 700 else math.inf


def _integer(operation: str, argument: str, value: Any, least: int, most: int) -> int:
    expected = f"expected an integer from {least} to {most}"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{operation}: {argument} is a {type(value).__name__}; {expected}") from None
    if isinstance(value, bool) or not least <= number <= most:
        raise ValueError(f"{operation}: {argument} is {value}; {expected}")
    return number


def _error(operation: str, path: str | None, error: ValueError) -> ValueError:
    if path is not None:
        return NGramFileError(f"{path}: {error}")
    text = str(error)
    return ValueError(f"{operation}: {'sentence' + text[4:] if text.startswith('line ') else text}")


def _split_words(text: bytes) -> list[str]:
    # Not splitlines: words may hold what Unicode calls an end of line.
    return text.decode().split("\n")[:-1]


def _words(text: str) -> list[str]:
    """What stands between ASCII white space, as csrc/ngram/text.cpp cuts it."""
    return _WORD.findall(text)


def _line(operation: str, sentence: Sentence) -> bytes:
    if isinstance(sentence, str):
        if "\n" in sentence:
            raise ValueError(
                f"{operation}: the sentence {sentence[:40]!r} holds an end of line; expected one line"
            )
        text = sentence
    else:
        words = list(sentence)
        for word in words:
            if not isinstance(word, str):
                raise TypeError(f"{operation}: a word is a {type(word).__name__}; expected a text")
            if not word or not _SPACE.isdisjoint(word):
                raise ValueError(f"{operation}: the word {word[:40]!r} is empty or holds white space")
        text = " ".join(words)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{operation}: the sentence {text[:40]!r} has no UTF-8: {error.reason}") from None


def _source(operation: str, sentences: Sentences) -> tuple[Iterator[bytes], str | None]:
    """The text in pieces, and the file's name if it is one."""
    if isinstance(sentences, os.PathLike):
        name = os.fspath(sentences)
        return _pieces(name), name
    if isinstance(sentences, (str, bytes)):
        raise TypeError(
            f"{operation}: sentences is a {type(sentences).__name__}; expected several of them, such as a list, or a "
            f"pathlib.Path of a file"
        )
    return _joined(operation, sentences), None


def _joined(operation: str, sentences: Iterable[Sentence]) -> Iterator[bytes]:
    if isinstance(sentences, (list, tuple)):
        parts: Iterable[Sequence[Sentence]] = (
            sentences[at : at + _SENTENCES] for at in range(0, len(sentences), _SENTENCES)
        )
    else:
        rest = iter(sentences)
        parts = iter(lambda: list(itertools.islice(rest, _SENTENCES)), [])
    for part in parts:
        if all(type(sentence) is str for sentence in part):
            text = "\n".join(part)  # type: ignore[arg-type]
            if text.count("\n") == len(part) - 1:
                with contextlib.suppress(UnicodeEncodeError):
                    yield text.encode() + b"\n"
                    continue
        # One by one: lists of words, and what is wrong gets its message.
        yield b"\n".join(_line(operation, sentence) for sentence in part) + b"\n"


def _opened(name: str) -> IO[bytes]:
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):
            raise NGramFileError("a folder" if stat.S_ISDIR(status.st_mode) else "no regular file")
        return open(name, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise NGramFileError("no such file") from None
    except OSError as error:
        raise NGramFileError(f"cannot be read: {error.strerror or error}") from error


def _pieces(name: str) -> Iterator[bytes]:
    """A file's bytes, unpacked if its first ones say that it is packed."""
    try:
        with _opened(name) as raw:
            first = raw.read(6)
            raw.seek(0)
            stream: Any = raw
            if first[:2] == b"\x1f\x8b":
                stream = gzip.GzipFile(fileobj=raw)
            elif first == b"\xfd7zXZ\x00":
                stream = lzma.LZMAFile(raw)  # noqa: SIM115 - `raw` is closed
            while piece := stream.read(_PIECE):
                yield piece
    except NGramFileError as error:
        raise NGramFileError(f"{name}: {error}") from None
    except (EOFError, lzma.LZMAError, gzip.zlib.error, OSError) as error:  # type: ignore[attr-defined]
        raise NGramFileError(f"{name}: cannot be read, damaged or cut short ({error})") from None


class _written:  # noqa: N801 - reads as a function
    """A file that is whole or not there: written beside its place, then renamed."""

    def __init__(self, operation: str, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if self._path.is_dir():
            raise IsADirectoryError(f"{operation}: path is {self._path}, a folder; expected that of a file")
        if not self._path.parent.is_dir():
            raise FileNotFoundError(f"{operation}: path is {self._path}; its folder is not there")

    def __enter__(self) -> IO[bytes]:
        folder = self._path.parent
        self._file = tempfile.NamedTemporaryFile(dir=folder, prefix=f".{self._path.name}.", delete=False)
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        part = self._file.name
        try:
            self._file.close()
            if kind is None:
                os.chmod(part, 0o644)
                os.replace(part, self._path)
        finally:
            # Not there any more where all went well.
            with contextlib.suppress(OSError):
                os.unlink(part)
