"""Phrases: words that stand beside each other so often that they are better taken for one, as ``new_york``."""

from __future__ import annotations

import inspect
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any, Literal, overload

from dlkit import _cpu
from dlkit.kernels.backend import nearest

from .errors import DataError
from .json_file import read_object
from .resumable import integer
from .word_corpus import Reading, Source, opened

#: Articles, conjunctions and prepositions that may stand within a phrase, as in gensim.
ENGLISH_CONNECTOR_WORDS = frozenset(
    ["a", "an", "the", "for", "of", "with", "without", "at", "from", "in", "on", "by", "and", "or", "to"]
)

_TOKENS = 1 << 22  # between two looks at interrupts
_FORMAT = "dlkit-phrases-1"
_CONNECTORS = 8  # of a phrase at most
Phrase = tuple[str, ...]


class Phrases:
    """The pairs of words of a text that are phrases (Mikolov et al. 2013, word2phrase).

    With c the counts, ``score(a, b) = (c(ab) - min_count) / (c(a) c(b)) * V``, V the number of different words and
    pairs, as gensim counts it; or with ``scoring="npmi"`` (Bouma 2009), from -1 to 1, and p the counts divided by the
    words of the text, ``ln(p(ab) / (p(a) p(b))) / -ln p(ab)``.

    Parameters
    ----------
    source
        As in `WordCorpus.build`: a file, or sentences.
    min_count
        Pairs that occur less often are none.
    threshold
        Pairs whose score is above it are phrases.
    delimiter
        What stands between the words of a phrase; no white space.
    scoring
        ``"default"`` or ``"npmi"``.
    max_vocab_size
        Bounds the memory: rare pairs are thrown away when there are more, and rare words likewise.
    connector_words
        Words that neither begin nor end a phrase, but may stand within one, eight at most: with
        `ENGLISH_CONNECTOR_WORDS` ``state of the art`` is a phrase of the words ``state`` and ``art``. They are not
        counted.
    sentences
        gensim's name for `source`.
    **reading
        As in `WordCorpus.build`: errors, max_sentence, workers, piece, folder, progress.

    Attributes
    ----------
    scores
        Of each phrase, a tuple of words, the highest first.
    counts
        How often each phrase occurs.

    Raises
    ------
    DataError
        As `WordCorpus.build`.
    TypeError
        There is no text, or an argument that is not known.

    Notes
    -----
    As in gensim, whose `add_vocab` and scoring by a function of one's own are not there: the counts of what is no
    phrase are not kept.

    Examples
    --------
    >>> import dlkit as dl
    >>> sentences = [["in", "new", "york"], ["to", "new", "york"], ["a", "new", "day"], ["i", "am", "here"]] * 5
    >>> phrases = dl.data.Phrases(sentences, min_count=5, threshold=0.4)
    >>> phrases[["from", "new", "york"]]
    ['from', 'new_york']
    >>> list(phrases[[["from", "new", "york"], ["a", "day"]]])
    [['from', 'new_york'], ['a', 'day']]
    """

    def __init__(
        self,
        source: Source | None = None,
        min_count: int = 5,
        threshold: float = 10.0,
        *,
        delimiter: str = "_",
        scoring: Literal["default", "npmi"] = "default",
        max_vocab_size: int | None = 40_000_000,
        connector_words: Iterable[str] = frozenset(),
        sentences: Source | None = None,
        **reading: Any,
    ) -> None:
        owner = "Phrases"
        how = _reading(owner, Phrases.__init__, reading)
        if (source is None) == (sentences is None):
            given = "neither source nor sentences is" if source is None else "both source and sentences are"
            raise TypeError(f"{owner}: {given} given, expected one text")
        text_source: Any = sentences if source is None else source
        if isinstance(connector_words, str):
            raise DataError(f"{owner}: connector_words is a text, expected words, such as {{'of', 'the'}}")
        self.connector_words = frozenset(connector_words)
        if not all(isinstance(word, str) for word in self.connector_words):
            raise DataError(f"{owner}: connector_words holds something that is no word")
        integer(owner, "min_count", min_count, 1, 1 << 62)
        if max_vocab_size is not None:
            integer(owner, "max_vocab_size", max_vocab_size, 1, 1 << 62)
        low = -1.0 if scoring == "npmi" else 0.0
        if scoring not in ("default", "npmi"):
            raise DataError(f"{owner}: scoring is {scoring!r}, expected 'default' or 'npmi'")
        if (
            isinstance(threshold, bool)
            or not isinstance(threshold, int | float)
            or not math.isfinite(threshold)
        ):
            raise DataError(f"{owner}: threshold is {threshold!r}, expected a number")
        if threshold < low or (scoring == "npmi" and threshold > 1):
            expected = "-1 to 1" if scoring == "npmi" else "0 or more"
            raise DataError(f"{owner}: threshold is {threshold!r}, expected {expected} with {scoring!r}")
        if not isinstance(delimiter, str) or any(c.isspace() for c in delimiter):
            raise DataError(f"{owner}: delimiter is {delimiter!r}, expected a text without white space")
        self.min_count = min_count
        self.threshold = threshold
        self.delimiter = delimiter
        self.scoring = scoring
        limit = max_vocab_size or 0
        with opened(text_source, how) as text:
            counter = text.count(limit)
            if counter.words == 0:
                raise DataError(f"{text.name} holds no words")
            table = counter.vocabulary(1, 0, None)
            every = table.words() if self.connector_words else []
            between = [at for at, word in enumerate(every) if word in self.connector_words]
            pairs = _cpu.WordPairCounter(limit, len(table), between)
            with text.encode(table, counter, exact=limit == 0, breaks=True) as encoded:
                size = encoded.tokens.size
                for start in range(0, size, _TOKENS):
                    pairs.add(encoded.tokens[start : start + _TOKENS])
                    if how.progress is not None:
                        how.progress("pairs", 4 * min(start + _TOKENS, size), 4 * size)
            distinct = counter.distinct - len(between)
            found = pairs.phrases(table, counter.words, distinct, min_count, threshold, scoring == "npmi")
        self.scores: dict[Phrase, float] = {phrase: score for phrase, _, score in found}
        self.counts: dict[Phrase, int] = {phrase: count for phrase, count, _ in found}

    def __len__(self) -> int:
        """How many phrases there are."""
        return len(self.scores)

    @overload
    def __getitem__(self, sentence: list[str] | tuple[str, ...]) -> list[str]: ...  # type: ignore[overload-overlap]

    @overload
    def __getitem__(self, sentence: Iterable[Iterable[str]]) -> Iterable[list[str]]: ...

    def __getitem__(self, sentence: Any) -> Any:
        """The words of a sentence, phrases joined, from the left.

        Of sentences, an iterable of their words, joined when it is iterated over: as often as `sentence` can be.
        """
        if isinstance(sentence, str) or not isinstance(sentence, Iterable):
            raise DataError(
                f"Phrases: sentence is of type {type(sentence).__name__}, expected a list of words, or of sentences"
            )
        words = iter(sentence)
        try:
            first = next(words)
        except StopIteration:
            return []
        once = words is sentence  # an iterator, which no longer has what was looked at
        whole = chain([first], words) if once else sentence
        if isinstance(first, str):
            return self._joined(whole)
        return map(self._joined, whole) if once else _JoinedSentences(self, whole)

    def _joined(self, sentence: Iterable[str]) -> list[str]:
        if isinstance(sentence, str) or not isinstance(sentence, Iterable):
            raise DataError(
                f"Phrases: a sentence is of type {type(sentence).__name__}, expected a list of words"
            )
        joined: list[str] = []
        begun: Phrase = ()  # what may become a phrase: a word and the connectors behind it
        for word in sentence:
            if word in self.connector_words:
                if begun:
                    begun += (word,)
                else:
                    joined.append(word)
            elif (*begun, word) in self.scores:
                joined.append(self.delimiter.join((*begun, word)))
                begun = ()
            else:
                joined += begun
                begun = (word,)
        return joined + list(begun)

    def export_phrases(self) -> dict[str, float]:
        """Return the scores of the phrases by what they become, the highest first."""
        found: dict[str, float] = {}
        for phrase, score in self.scores.items():
            found.setdefault(self.delimiter.join(phrase), score)
        return found

    def freeze(self) -> Phrases:
        """Return the object itself, which keeps no more than its phrases: for programs written for gensim."""
        return self

    def apply(self, source: Source, path: str | os.PathLike[str], **reading: Any) -> int:
        """Write a text with its phrases joined: a sentence a line, a space between words.

        Phrases of three and four words: `Phrases` of that file.

        Parameters
        ----------
        source, **reading
            As in `WordCorpus.build`.
        path
            The file that is written; what was there is replaced once all is written, which `source` may be, too.

        Returns
        -------
        int
            How many phrases were joined.

        Raises
        ------
        DataError
            As `WordCorpus.build`; a word of a list has white space; the file cannot be written.
        """
        how = _reading("apply", Phrases.apply, reading)
        words = sorted({word for phrase in self.scores for word in phrase})
        number = {word: i for i, word in enumerate(words)}
        table = _cpu.WordCorpusVocabulary([word.encode() for word in words], [1] * len(words))
        phrases = [[number[word] for word in phrase] for phrase in self.scores]
        between = [number[word] for word in words if word in self.connector_words]
        target = Path(path)
        with opened(source, how) as text:
            assert how.workers is not None
            part = target.with_name(f".dlkit-{os.getpid()}-{secrets.token_hex(4)}")
            try:
                with open(part, "xb", buffering=0) as file:
                    joiner = _cpu.WordPairJoiner(
                        table,
                        phrases,
                        between,
                        self.delimiter,
                        text.file.fileno(),
                        text.size,
                        how.piece,
                        text.own,
                        how.errors,
                        file.fileno(),
                        how.workers,
                    )
                    text.run(joiner, "join")
                os.replace(part, target)
            except OSError as error:
                raise DataError(f"{target} cannot be written: {error.strerror or error}") from error
            finally:
                with suppress(OSError):
                    part.unlink()
        return joiner.joined

    # --- Files -----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the phrases and the settings as JSON, for `load`.

        Raises
        ------
        DataError
            The file cannot be written.
        """
        target = Path(path)
        values = {
            "format": _FORMAT,
            "min_count": self.min_count,
            "threshold": self.threshold,
            "delimiter": self.delimiter,
            "scoring": self.scoring,
            "connector_words": sorted(self.connector_words),
            "phrases": [[list(phrase), self.counts[phrase], score] for phrase, score in self.scores.items()],
        }
        part = target.with_name(f".dlkit-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            part.write_text(json.dumps(values, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(part, target)
        except OSError as error:
            raise DataError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                part.unlink()
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Phrases:
        """Read what `save` wrote.

        Raises
        ------
        DataNotFoundError
            There is no such file.
        DataError
            It is damaged, or no phrases.
        """
        values = read_object(path)
        if values.get("format") != _FORMAT:
            raise DataError(f"{path} holds no phrases of dlkit (its format is not {_FORMAT!r})")
        connectors: Any = values.get("connector_words")
        delimiter: Any = values.get("delimiter")
        settings_fit = (
            isinstance(connectors, list)
            and all(isinstance(word, str) for word in connectors)
            and isinstance(delimiter, str)
            and not any(c.isspace() for c in delimiter)
            and values.get("scoring") in ("default", "npmi")
            and _is_count(values.get("min_count"))
            and _is_number(values.get("threshold"))
        )
        if not settings_fit or not isinstance(values.get("phrases"), list):
            raise DataError(
                f"{path} is damaged: a setting, or the list of phrases, is missing or out of range"
            )
        made = cls.__new__(cls)
        made.min_count, made.threshold = values["min_count"], values["threshold"]
        made.delimiter, made.scoring = delimiter, values["scoring"]
        made.connector_words = frozenset(connectors)
        made.scores, made.counts = {}, {}
        for number, row in enumerate(values["phrases"]):
            if not _is_phrase(row, made.connector_words):
                raise DataError(
                    f"{path}: phrase {number} is {str(row)[:80]}, expected words, connectors between them alone, a "
                    "count and a score"
                )
            made.counts[tuple(row[0])], made.scores[tuple(row[0])] = row[1], row[2]
        return made


class _JoinedSentences:
    """Sentences with their phrases joined."""

    def __init__(self, phrases: Phrases, sentences: Iterable[Iterable[str]]) -> None:
        self._phrases = phrases
        self._sentences = sentences

    def __iter__(self) -> Iterator[list[str]]:
        return map(self._phrases._joined, self._sentences)


def _reading(owner: str, function: Any, given: dict[str, Any]) -> Reading:
    """How a text is read, by the arguments that `function` has besides its own."""
    known = [field.name for field in fields(Reading)]
    for name in given:
        if name not in known:
            own = [name for name in inspect.signature(function).parameters if name not in ("self", "reading")]
            raise TypeError(f"{owner}: there is no argument {name!r}{nearest(name, own + known)}")
    return Reading(**given).checked(owner)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1 << 62


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_phrase(row: object, connectors: frozenset[str]) -> bool:
    if not isinstance(row, list) or len(row) != 3 or not isinstance(row[0], list):
        return False
    words = row[0]
    if not 2 <= len(words) <= _CONNECTORS + 2 or not all(
        isinstance(w, str) and w.split() == [w] for w in words
    ):
        return False
    between = [word in connectors for word in words]
    placed = not between[0] and not between[-1] and all(between[1:-1])
    return placed and _is_count(row[1]) and _is_number(row[2])
