"""Phrases: words that stand beside each other so often that they are better taken for one, as ``new_york``."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from dlkit import _cpu

from .errors import DataError
from .resumable import integer
from .word_corpus import Reading, Source, opened

_TOKENS = 1 << 22  # between two looks at interrupts


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
    **reading
        As in `WordCorpus.build`: errors, max_sentence, workers, piece, folder, progress.

    Attributes
    ----------
    scores
        Of each phrase, a pair of words, the highest first.
    counts
        How often each phrase occurs.

    Raises
    ------
    DataError
        As `WordCorpus.build`.

    Examples
    --------
    >>> import dlkit as dl
    >>> sentences = [["in", "new", "york"], ["to", "new", "york"], ["a", "new", "day"], ["i", "am", "here"]] * 5
    >>> phrases = dl.data.Phrases(sentences, min_count=5, threshold=0.7)
    >>> phrases[["from", "new", "york"]]
    ['from', 'new_york']
    """

    def __init__(
        self,
        source: Source,
        min_count: int = 5,
        threshold: float = 10.0,
        *,
        delimiter: str = "_",
        scoring: Literal["default", "npmi"] = "default",
        max_vocab_size: int | None = 40_000_000,
        **reading: Any,
    ) -> None:
        owner = "Phrases"
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
        how = Reading(**reading).checked(owner)
        limit = max_vocab_size or 0
        with opened(source, how) as text:
            counter = text.count(limit)
            if counter.words == 0:
                raise DataError(f"{text.name} holds no words")
            table = counter.vocabulary(1, 0, None)
            pairs = _cpu.WordPairCounter(limit)
            with text.encode(table, counter, exact=limit == 0, breaks=True) as encoded:
                size = encoded.tokens.size
                for start in range(0, size, _TOKENS):
                    pairs.add(encoded.tokens[start : start + _TOKENS])
                    if how.progress is not None:
                        how.progress("pairs", 4 * min(start + _TOKENS, size), 4 * size)
            found = pairs.phrases(
                table, counter.words, counter.distinct, min_count, threshold, scoring == "npmi"
            )
        self.scores = {(first, second): score for first, second, _, score in found}
        self.counts = {(first, second): count for first, second, count, _ in found}

    def __len__(self) -> int:
        """How many phrases there are."""
        return len(self.scores)

    def __getitem__(self, sentence: Sequence[str]) -> list[str]:
        """The words of a sentence, phrases joined, from the left."""
        if isinstance(sentence, str) or not isinstance(sentence, Iterable):
            raise DataError(
                f"Phrases: sentence is of type {type(sentence).__name__}, expected a list of words"
            )
        joined: list[str] = []
        before: str | None = None
        for word in sentence:
            if before is not None and (before, word) in self.scores:
                joined[-1] = before + self.delimiter + word
                before = None
            else:
                joined.append(word)
                before = word
        return joined

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
            How many pairs were joined.

        Raises
        ------
        DataError
            As `WordCorpus.build`; a word of a list has white space; the file cannot be written.
        """
        how = Reading(**reading).checked("apply")
        words = sorted({word for pair in self.scores for word in pair})
        number = {word: i for i, word in enumerate(words)}
        table = _cpu.WordCorpusVocabulary([word.encode() for word in words], [1] * len(words))
        pairs = [number[word] for pair in self.scores for word in pair]
        target = Path(path)
        with opened(source, how) as text:
            assert how.workers is not None
            part = target.with_name(f".dlkit-{os.getpid()}-{secrets.token_hex(4)}")
            try:
                with open(part, "xb", buffering=0) as file:
                    joiner = _cpu.WordPairJoiner(
                        table,
                        pairs,
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
