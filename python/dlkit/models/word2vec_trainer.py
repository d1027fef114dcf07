"""Training of word vectors on a text as numbers: the engine of csrc/word2vec."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dlkit import _cpu, kernels
from dlkit.kernels.backend import nearest, resolve_device

from .word2vec_device import DeviceEngine

__all__ = ["EncodedText", "EpochReport", "Position", "TrainingProgress", "Word2VecTrainer"]

# Rows begin at a cache line and are whole registers of every instruction set.
_LANES = 16
# Rows of each output matrix that each of several workers has for itself; measured in docs/word2vec.md.
_HOT_ROWS = 64
_SHARED_NEGATIVES = 3
_BLOCK = 1 << 24  # tokens that are looked at between two chances of Ctrl-C


class EncodedText(Protocol):
    """What is trained on: words as numbers, by falling count, sentences end to end with -1 after each."""

    @property
    def tokens(self) -> NDArray[np.int32]:
        """Shape (n,)."""


class TrainingProgress(NamedTuple):
    """How far an epoch is.

    Attributes
    ----------
    epoch
        From 0 on.
    words, total
        Words of the text that have been read, and that there are, in this epoch.
    loss
        Of each input and word so far in this epoch, in nats; NaN before the first.
    words_per_second
        Of this epoch.
    seconds_left
        Of all epochs; infinite before the first words.
    """

    epoch: int
    words: int
    total: int
    loss: float
    words_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to.

    Attributes
    ----------
    epoch
        From 0 on.
    loss
        Mean of the losses of one word in 32, for each input, in nats.
    words, kept
        Words that were read, and that subsampling kept.
    seconds, words_per_second
        Of training alone.
    """

    epoch: int
    loss: float
    words: int
    kept: int
    seconds: float
    words_per_second: float


class Position(NamedTuple):
    """How far training has come: with the matrices, all that it goes on from.

    Attributes
    ----------
    epoch, piece
        The epoch, from 0 on, and how many pieces of its text are done.
    words, kept, loss, pairs, seconds
        What the epoch's report has of these so far.
    """

    epoch: int
    piece: int = 0
    words: int = 0
    kept: int = 0
    loss: float = 0.0
    pairs: int = 0
    seconds: float = 0.0


class Word2VecTrainer:
    """The two matrices of word vectors, and the engine that trains them.

    Skip-gram or CBOW with negative sampling, hierarchical softmax or both, on texts as numbers. `dlkit.Word2Vec` reads
    texts and has the vocabulary.

    Parameters
    ----------
    counts : sequence of int
        How often each word occurs: 1 or more, falling.
    vector_size : int
        Elements of a vector.
    window : int
        The largest distance between a word and those of its context.
    sg : bool
        Skip-gram; else CBOW.
    negative : int
        Words drawn as negatives for each word; 0: none.
    hs : bool
        Hierarchical softmax.
    sample : float
        Words more frequent than this share of the text are left out now and then; 0: none is. From 1 on, as gensim has
        it, a count: words that occur more often than 2.6 times that are left out now and then.
    ns_exponent : float
        Negatives are drawn by their count to this power.
    cbow_mean : bool
        CBOW predicts from the mean of the context, not the sum.
    divide : bool or None
        Whether each word of a context gets its part of the gradient. None: as gensim, with the sum alone; True with
        `cbow_mean` is the gradient (see `dlkit.kernels.cbow_update`).
    shrink_windows : bool
        Draw each word's window from 1 to `window`.
    seed : int
        Of the vectors, and of all that is drawn.
    variant : str, optional
        One of ``dlkit.kernels.variants("sgns_update")``; on a device ``matrix`` alone.
    prefetch : bool
        Fetch the rows of the words to come. This and the following are the CPU's choices; a device has its own.
    reuse_window : bool
        Copy the rows of a window's words into memory of the worker's own while they are in it. The same vectors.
    shared_negatives : int, optional
        Words of a sentence in succession that have the same negatives. Default: 3 of CBOW, whose time is that of
        fetching their rows, on the CPU, else 1 (those of skip-gram are shared by a word's contexts); on a device 1
        alone.
    hot_rows : int, optional
        Rows of each output matrix, those that are changed most, of which each of several workers has copies of its own
        that are merged now and then; 0: none. Default: 64 with hierarchical softmax, else none.
    device : str
        Where training is done: ``cpu``, ``cuda`` or ``simt``. Matrices are on the host whenever no epoch is running.

    Attributes
    ----------
    position : Position
        Where the last call of `fit` has ended, or was interrupted.
    vectors : array of shape (V, vector_size), float32
        The words' vectors: a view, which training changes.
    outputs, nodes : arrays of shape (V, vector_size) and (V - 1, vector_size), float32, or None
        The matrices of negative sampling and of hierarchical softmax.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its bounds, or of those of the device; names it.
    DeviceUnavailableError
        If the device is not there.
    """

    def __init__(
        self,
        counts: Sequence[int],
        *,
        vector_size: int = 100,
        window: int = 5,
        sg: bool = False,
        negative: int = 5,
        hs: bool = False,
        sample: float = 1e-3,
        ns_exponent: float = 0.75,
        cbow_mean: bool = True,
        divide: bool | None = None,
        shrink_windows: bool = True,
        seed: int = 1,
        variant: str | None = None,
        prefetch: bool = True,
        reuse_window: bool = False,
        shared_negatives: int | None = None,
        hot_rows: int | None = None,
        device: str = "cpu",
    ) -> None:
        _integer("vector_size", vector_size, 1, 1 << 16)
        _integer("window", window, 1, 10_000)
        _integer("negative", negative, 0, 10_000)
        _integer("seed", seed, 0, (1 << 64) - 1)
        if not negative and not hs:
            raise ValueError("word2vec: negative is 0 and hs is false; expected one of them to learn from")
        _number("sample", sample, 0, math.inf)
        _number("ns_exponent", ns_exponent, -math.inf, math.inf)
        known = [step.name for step in kernels.variants("sgns_update")]
        if variant is not None and variant not in known:
            close = nearest(str(variant), known)
            raise ValueError(f"word2vec: variant is {variant!r}; expected one of {', '.join(known)}{close}")
        self.device = resolve_device(device, "word2vec")
        if self.device != "cpu" and variant not in (None, "matrix"):
            raise ValueError(f"word2vec: variant is {variant!r}; expected 'matrix' on {self.device}")
        if divide is None:
            divide = not cbow_mean
        if hot_rows is None:
            hot_rows = _HOT_ROWS if hs else 0
        _integer("hot_rows", hot_rows, 0, 1 << 20)
        on_cpu = self.device == "cpu"
        if shared_negatives is None:
            shared_negatives = _SHARED_NEGATIVES if on_cpu and not sg else 1
        _integer("shared_negatives", shared_negatives, 1, 1 << 20)
        if shared_negatives != 1 and not on_cpu:
            raise ValueError(f"word2vec: shared_negatives is {shared_negatives}; expected 1 on {self.device}")
        if sample >= 1:
            sample = int(sample * (3 + math.sqrt(5)) / 2) / max(sum(counts), 1)
        self.vector_size = vector_size
        padded = -(-vector_size // _LANES) * _LANES
        arguments = (
            list(counts),
            bool(sg),
            bool(cbow_mean),
            bool(divide),
            negative,
            bool(hs),
            window,
            bool(shrink_windows),
            padded,
            seed,
            float(sample),
            float(ns_exponent),
            variant,
            bool(prefetch),
            bool(reuse_window),
            shared_negatives,
            hot_rows,
        )
        self._engine: Any = (
            _cpu.Word2VecEngine(*arguments)
            if self.device == "cpu"
            else DeviceEngine(self.device, vector_size, arguments)
        )
        self.position = Position(0)
        words = len(counts)
        self._w_in = _matrix(words, padded)
        self._w_out = _matrix(words, padded) if negative else None
        self._w_nodes = _matrix(max(words - 1, 0), padded) if hs else None
        # As the original program and gensim: uniform within half a vector's size on either side, the others 0.
        rng = np.random.default_rng(seed)
        self.vectors[...] = (rng.random((words, vector_size), np.float32) - np.float32(0.5)) / vector_size

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The words' vectors, (V, vector_size)."""
        return self._w_in[:, : self.vector_size]

    @property
    def outputs(self) -> NDArray[np.float32] | None:
        """The output matrix of negative sampling, (V, vector_size)."""
        return None if self._w_out is None else self._w_out[:, : self.vector_size]

    @property
    def nodes(self) -> NDArray[np.float32] | None:
        """The vectors of the Huffman tree's inner nodes, (V - 1, vector_size)."""
        return None if self._w_nodes is None else self._w_nodes[:, : self.vector_size]

    def path(self, word: int) -> tuple[list[int], list[int]]:
        """Return the nodes on a word's path in the Huffman tree, from the root on, and its code."""
        path: tuple[list[int], list[int]] = self._engine.path(word)
        return path

    def fit(
        self,
        text: EncodedText,
        *,
        epochs: int = 5,
        alpha: float = 0.025,
        min_alpha: float = 1e-4,
        first_epoch: int = 0,
        start: Position | None = None,
        workers: int | None = None,
        deterministic: bool = False,
        progress: Callable[[TrainingProgress], None] | None = None,
        after_epoch: Callable[[EpochReport], None] | None = None,
        checkpoint_seconds: float | None = None,
        checkpoint: Callable[[Position], None] | None = None,
    ) -> list[EpochReport]:
        """Train on a text.

        The learning rate falls in a line from `alpha` to `min_alpha` over all epochs, by the words that have been read.
        Ctrl-C ends training between two pieces of the text, some milliseconds later, and raises KeyboardInterrupt; the
        vectors are then those that had been reached, and `position` says where that is: with the same matrices,
        ``fit(text, start=position)`` of one worker ends with the bits of training that was not interrupted.

        Parameters
        ----------
        text : EncodedText
        epochs : int
        alpha, min_alpha : float
        first_epoch : int
            Begin with this one of the epochs, as training that goes on does.
        start : Position, optional
            Begin there; `first_epoch` is then its epoch.
        workers : int, optional
            Threads; default: as many as kernels have. Several work without locks (Hogwild), so that results differ a
            little from run to run; one gives the same bits each time. On a device: sentences in flight; default: as
            many as it works on at one time, and no more than meet twice at the most frequent word.
        deterministic : bool
            The same bits for any number of workers: one thread works, whatever `workers` says, at its speed; on a
            device one sentence is in flight, which is slow.
        progress : callable, optional
            Called some times a second, on the calling thread.
        after_epoch : callable, optional
            Called with each epoch's report.
        checkpoint_seconds : float, optional
            Within an epoch, stop the workers after so many seconds, each at the end of its piece, and call
            `checkpoint`.
        checkpoint : callable, optional
            Called with the position, to which the matrices then belong.

        Returns
        -------
        list of EpochReport

        Raises
        ------
        TypeError, ValueError
            If a setting is out of its bounds.
        IndexError
            If the text has a number that is no word's.
        """
        _integer("first_epoch", first_epoch, 0, 1 << 31)
        if checkpoint_seconds is not None:
            _number("checkpoint_seconds", checkpoint_seconds, 0, math.inf)
        workers = self.check_fit(epochs, alpha, min_alpha, workers)
        tokens = text.tokens
        self.position = Position(first_epoch) if start is None else start
        _integer("start.epoch", self.position.epoch, 0, 1 << 31)
        _integer("start.piece", self.position.piece, 0, self._engine.pieces(len(tokens)))
        run = _Run(
            tokens,
            self._count_words(tokens),
            epochs,
            (alpha, min_alpha),
            1 if deterministic else workers,
            progress,
            checkpoint_seconds,
            checkpoint,
        )
        reports = []
        while self.position.epoch < epochs:
            report = self._epoch(run)
            self.position = Position(report.epoch + 1)
            reports.append(report)
            if after_epoch is not None:
                after_epoch(report)
        return reports

    def check_fit(self, epochs: int, alpha: float, min_alpha: float, workers: int | None) -> int:
        """Check what `fit` takes; returns the workers, as many as `fit` says where None is given.

        Raises
        ------
        TypeError, ValueError
            If one is out of its bounds.
        """
        _integer("epochs", epochs, 0, 1 << 31)
        _number("alpha", alpha, 0, math.inf)
        _number("min_alpha", min_alpha, 0, math.inf)
        if workers is None:
            on_cpu = self.device == "cpu"
            workers = kernels.get_num_threads() if on_cpu else self._engine.default_in_flight()
        _integer("workers", workers, 1, 1 << (16 if self.device == "cpu" else 20))
        return workers

    def _count_words(self, tokens: NDArray[np.int32]) -> int:
        """The tokens that are words, each of which is looked at, in blocks: the text may be larger than memory."""
        blocks = range(0, len(tokens), _BLOCK)
        words = len(self._w_in)
        return sum(_cpu.Word2VecEngine.count_words(tokens[i : i + _BLOCK], words) for i in blocks)

    def _epoch(self, run: _Run) -> EpochReport:
        """Train from `position` to the end of its epoch; `position` is then there, or where an error has ended it."""
        engine, (epoch, *_) = self._engine, self.position
        pieces = engine.pieces(len(run.tokens))
        engine.set_progress(*self.position[2:6])
        while True:
            done = self._pieces(run)
            if done >= pieces:
                break
            if run.checkpoint is not None:
                run.checkpoint(self.position)
        words, kept, loss, pairs = engine.progress()
        seconds = self.position.seconds
        return EpochReport(
            epoch, loss / pairs if pairs else math.nan, words, kept, seconds, words / max(seconds, 1e-9)
        )

    def _pieces(self, run: _Run) -> int:
        """Train from `position` on, until the text ends, or it is time for a checkpoint; returns the pieces done."""
        engine, at = self._engine, self.position
        failed: list[BaseException] = []
        done = [at.piece]

        def work() -> None:
            try:
                done[0] = engine.train(
                    run.tokens,
                    # A tree of one word has no nodes.
                    *(
                        m if m is not None and m.size else None
                        for m in (self._w_in, self._w_out, self._w_nodes)
                    ),
                    at.epoch,
                    *run.rates,
                    run.total,
                    run.total * at.epoch,
                    max(run.total * run.epochs, 1),
                    run.workers,
                    at.piece,
                )
            except BaseException as error:  # raised again by the caller's thread
                failed.append(error)

        # On a thread of its own, so that this one hears of Ctrl-C.
        engine.go_on()
        thread = threading.Thread(target=work, name="word2vec", daemon=True)
        began = time.perf_counter()
        until = math.inf if run.checkpoint_seconds is None else began + run.checkpoint_seconds
        try:
            thread.start()
            running = True
            while running:
                thread.join(min(0.2, max(until - time.perf_counter(), 1e-3)))
                running = thread.is_alive()
                # Not before a piece is done: each call gets on.
                if running and time.perf_counter() >= until and engine.progress()[0] > at.words:
                    engine.stop()
                    until = math.inf
                if run.progress is not None and not failed:
                    run.progress(self._progress(run, time.perf_counter() - began))
        finally:
            if thread.is_alive():
                engine.stop()
                thread.join()
            seconds = at.seconds + time.perf_counter() - began
            # Before the first piece is done nothing is.
            reached = (*engine.progress(), seconds) if done[0] else ()
            self.position = Position(at.epoch, done[0], *reached)
        if failed:
            raise failed[0]
        return done[0]

    def _progress(self, run: _Run, seconds: float) -> TrainingProgress:
        epoch = self.position.epoch
        words, _, loss, pairs = self._engine.progress()
        rate = words / max(self.position.seconds + seconds, 1e-9)
        left = (run.total * (run.epochs - epoch) - words) / rate if words else math.inf
        return TrainingProgress(epoch, words, run.total, loss / pairs if pairs else math.nan, rate, left)


class _Run(NamedTuple):
    """What a call of `Word2VecTrainer.fit` has been given."""

    tokens: NDArray[np.int32]
    total: int
    epochs: int
    rates: tuple[float, float]
    workers: int
    progress: Callable[[TrainingProgress], None] | None
    checkpoint_seconds: float | None
    checkpoint: Callable[[Position], None] | None


def _matrix(rows: int, columns: int) -> NDArray[np.float32]:
    """Zeros that begin at a cache line."""
    memory = np.zeros(rows * columns + _LANES, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + rows * columns].reshape(rows, columns)


def _integer(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"word2vec: {name} is {value!r}; expected an integer")
    if not least <= value <= most:
        raise ValueError(f"word2vec: {name} is {value}; expected {least} to {most}")


def _number(name: str, value: Any, least: float, most: float) -> None:
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        raise TypeError(f"word2vec: {name} is {value!r}; expected a number")
    if not (least <= value <= most and math.isfinite(value)):
        raise ValueError(
            f"word2vec: {name} is {value}; expected {'a finite number' if least == -math.inf else f'{least:g} or more'}"
        )
