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
from dlkit.kernels.backend import backend_named, nearest, resolve_device
from dlkit.kernels.device_operands import pointer

__all__ = ["EncodedText", "EpochReport", "TrainingProgress", "Word2VecTrainer"]

# Rows begin at a cache line and are whole registers of every instruction set.
_LANES = 16


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
        Words more frequent than this share of the text are left out now and then; 0: none is.
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
    device : str
        Where training is done: ``cpu``, ``cuda`` or ``simt``. Matrices are on the host whenever no epoch is running.

    Attributes
    ----------
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
        self.vector_size = vector_size
        padded = -(-vector_size // _LANES) * _LANES
        self._arguments = (
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
        )
        self._engine = self._new_engine()
        self._tables: Any = None  # what has the paths: the CPU's engine
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
        if self._tables is None:
            self._tables = self._engine if self.device == "cpu" else _cpu.Word2VecEngine(*self._arguments)
        path: tuple[list[int], list[int]] = self._tables.path(word)
        return path

    def _new_engine(self) -> Any:
        """Return one that nobody has stopped."""
        if self.device == "cpu":
            return _cpu.Word2VecEngine(*self._arguments)
        given = list(self._arguments[:-1])
        given[8] = self.vector_size
        return backend_named(self.device.partition(":")[0]).library.Word2VecEngine(
            *given, int(self.device.partition(":")[2] or 0)
        )

    def fit(
        self,
        text: EncodedText,
        *,
        epochs: int = 5,
        alpha: float = 0.025,
        min_alpha: float = 1e-4,
        first_epoch: int = 0,
        workers: int | None = None,
        deterministic: bool = False,
        progress: Callable[[TrainingProgress], None] | None = None,
        after_epoch: Callable[[EpochReport], None] | None = None,
    ) -> list[EpochReport]:
        """Train on a text.

        The learning rate falls in a line from `alpha` to `min_alpha` over all epochs, by the words that have been read.
        Ctrl-C ends training between two pieces of the text, some milliseconds later, and raises KeyboardInterrupt; the
        vectors are then those that had been reached.

        Parameters
        ----------
        text : EncodedText
        epochs : int
        alpha, min_alpha : float
        first_epoch : int
            Begin with this one of the epochs, as training that goes on does.
        workers : int, optional
            Threads; default: as many as kernels have. Several work without locks (Hogwild), so that results differ a
            little from run to run; one gives the same bits each time. On a device: sentences in flight; default: as
            many as it works on at one time, but no more than have the most frequent word once among their words.
        deterministic : bool
            The same bits for any number of workers: one thread works, whatever `workers` says, at its speed; on a
            device one sentence is in flight, which is slow.
        progress : callable, optional
            Called some times a second, on the calling thread.
        after_epoch : callable, optional
            Called with each epoch's report.

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
        _integer("epochs", epochs, 0, 1 << 31)
        _integer("first_epoch", first_epoch, 0, 1 << 31)
        _number("alpha", alpha, 0, math.inf)
        _number("min_alpha", min_alpha, 0, math.inf)
        if workers is not None:
            _integer("workers", workers, 1, 1 << (16 if self.device == "cpu" else 20))
        tokens = text.tokens
        total = int(np.count_nonzero(tokens >= 0))
        threads = kernels.get_num_threads() if workers is None else workers
        if self.device != "cpu" and workers is None:
            threads = self._engine.default_in_flight()
        reports = []
        for epoch in range(first_epoch, epochs):
            report = self._epoch(
                tokens, total, epoch, epochs, (alpha, min_alpha), 1 if deterministic else threads, progress
            )
            reports.append(report)
            if after_epoch is not None:
                after_epoch(report)
        return reports

    def _train(self, tokens: NDArray[np.int32], *arguments: Any) -> None:
        """One epoch, of the matrices on the host."""
        host = (self._w_in, self._w_out, self._w_nodes)
        if self.device == "cpu":
            # A tree of one word has no nodes.
            self._engine.train(tokens, *(m if m is not None and m.size else None for m in host), *arguments)
            return
        backend = backend_named(self.device.partition(":")[0])
        there = [None if m is None else backend.from_host(m, self.device) for m in host]
        try:
            self._engine.train(
                *(tokens, *map(pointer, there), *arguments),
                *(0, kernels.get_num_threads(), backend.stream(there[0])),
            )
        finally:
            for matrix, result in zip(host, there, strict=True):
                if matrix is not None:
                    matrix[...] = backend.to_host(result)

    def _epoch(
        self,
        tokens: NDArray[np.int32],
        total: int,
        epoch: int,
        epochs: int,
        rates: tuple[float, float],
        workers: int,
        progress: Callable[[TrainingProgress], None] | None,
    ) -> EpochReport:
        engine = self._engine
        before = engine.progress()
        failed: list[BaseException] = []

        def work() -> None:
            try:
                self._train(
                    tokens,
                    epoch,
                    rates[0],
                    rates[1],
                    total,
                    total * epoch,
                    max(total * epochs, 1),
                    workers,
                )
            except BaseException as error:  # raised again by the caller's thread
                failed.append(error)

        # On a thread of its own, so that this one hears of Ctrl-C.
        thread = threading.Thread(target=work, name="word2vec", daemon=True)
        start = time.perf_counter()
        thread.start()
        try:
            running = True
            while running:
                thread.join(0.2)
                running = thread.is_alive()
                if progress is not None and not failed:
                    progress(self._progress(engine, before, total, epoch, epochs, start))
        except BaseException:
            engine.stop()
            thread.join()
            self._engine = self._new_engine()
            self._tables = None
            raise
        if failed:
            raise failed[0]
        seconds = time.perf_counter() - start
        words, kept, loss, pairs = (now - then for now, then in zip(engine.progress(), before, strict=True))
        return EpochReport(
            epoch, loss / pairs if pairs else math.nan, int(words), int(kept), seconds, words / seconds
        )

    @staticmethod
    def _progress(
        engine: Any, before: tuple[int, int, float, int], total: int, epoch: int, epochs: int, start: float
    ) -> TrainingProgress:
        words, _, loss, pairs = (now - then for now, then in zip(engine.progress(), before, strict=True))
        rate = words / max(time.perf_counter() - start, 1e-9)
        left = (total * (epochs - epoch) - words) / rate if words else math.inf
        return TrainingProgress(epoch, int(words), total, loss / pairs if pairs else math.nan, rate, left)


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
