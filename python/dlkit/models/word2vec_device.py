"""The engine of word vectors on a device, with the face of the CPU's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit import _cpu, kernels
from dlkit.kernels.backend import backend_named
from dlkit.kernels.device_operands import pointer

# Where the arguments of the CPU's engine have the elements of a row; and those that come last and are the CPU's alone:
# variant, prefetch, reuse_window, hot_rows.
_DIM, _OF_THE_CPU = 8, 4


class DeviceEngine:
    """Trains on a device what is on the host, an epoch at a time.

    Parameters
    ----------
    device
        ``cuda``, ``cuda:1`` or ``simt``.
    vector_size
        Elements of a vector: rows have no padding there.
    arguments
        Of the CPU's engine.
    """

    def __init__(self, device: str, vector_size: int, arguments: Sequence[Any]) -> None:
        self.device, self._arguments = device, tuple(arguments)
        self._backend = backend_named(device.partition(":")[0])
        given = list(self._arguments[:-_OF_THE_CPU])
        given[_DIM] = vector_size
        self._given = (*given, int(device.partition(":")[2] or 0))
        self._there = self._new()
        self._tables: Any = None
        self._stopped = False
        # What `progress` says more than the engine of the device.
        self._before: tuple[float, ...] = (0, 0, 0.0, 0)

    def _new(self) -> Any:
        return self._backend.library.Word2VecEngine(*self._given)

    def path(self, word: int) -> tuple[list[int], list[int]]:
        """The nodes on a word's path in the Huffman tree, and its code."""
        if self._tables is None:
            self._tables = _cpu.Word2VecEngine(*self._arguments)
        path: tuple[list[int], list[int]] = self._tables.path(word)
        return path

    def default_in_flight(self) -> int:
        """Sentences that are worked on at one time."""
        return int(self._there.default_in_flight())

    def pieces(self, count: int) -> int:
        """A text is one piece: nothing is known of where an epoch was stopped."""
        return 1

    def progress(self) -> tuple[int, int, float, int]:
        """Words read, words kept, loss, and pairs it was taken of."""
        words, kept, loss, pairs = (a + b for a, b in zip(self._there.progress(), self._before, strict=True))
        return int(words), int(kept), float(loss), int(pairs)

    def set_progress(self, *given: float) -> None:
        """Go on counting from these."""
        self._before = tuple(a - b for a, b in zip(given, self._there.progress(), strict=True))

    def stop(self) -> None:
        """End training soon."""
        self._stopped = True
        self._there.stop()

    def go_on(self) -> None:
        """Forget that it was stopped: an engine that nobody has stopped takes its place."""
        if self._stopped:
            before = self.progress()
            self._there, self._stopped = self._new(), False
            self.set_progress(*before)

    def train(self, tokens: Any, w_in: Any, w_out: Any, w_nodes: Any, *settings: Any) -> int:
        """Train for an epoch; returns 1, or 0 if it was stopped. The matrices have what was reached."""
        *passed, _ = settings  # the first piece
        host = (w_in, w_out, w_nodes)
        there = [None if m is None else self._backend.from_host(m, self.device) for m in host]
        try:
            stream = self._backend.stream(there[0])
            self._there.train(tokens, *map(pointer, there), *passed, kernels.get_num_threads(), stream)
        finally:
            for matrix, result in zip(host, there, strict=True):
                if matrix is not None:
                    matrix[...] = self._backend.to_host(result)
        return int(not self._stopped)
