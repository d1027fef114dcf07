"""The engine of word vectors on a device, with the face of the CPU's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit import _cpu, kernels
from dlkit.kernels.backend import backend_named
from dlkit.kernels.device_operands import pointer

# Where the arguments of the CPU's engine have the elements of a row; and how many come last that are the CPU's alone:
# variant, prefetch, reuse_window, shared_negatives, hot_rows.
_DIM, _OF_THE_CPU = 8, 5


class DeviceEngine:
    """Trains on a device what is on the host.

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
        kind, _, number = device.partition(":")
        self._backend = backend_named(kind)
        given = list(self._arguments[:-_OF_THE_CPU])
        given[_DIM] = vector_size
        self._there: Any = self._backend.library.Word2VecEngine(*given, int(number or 0))
        self.pieces, self.default_in_flight = self._there.pieces, self._there.default_in_flight
        self.progress, self.set_progress = self._there.progress, self._there.set_progress
        self.stop, self.go_on = self._there.stop, self._there.go_on
        self._tables: Any = None

    def path(self, word: int) -> tuple[list[int], list[int]]:
        """The nodes on a word's path in the Huffman tree, and its code."""
        if self._tables is None:
            self._tables = _cpu.Word2VecEngine(*self._arguments)
        path: tuple[list[int], list[int]] = self._tables.path(word)
        return path

    def train(self, tokens: Any, w_in: Any, w_out: Any, w_nodes: Any, *settings: Any) -> int:
        """Train from a piece on; returns how many are done. The matrices have what was reached."""
        host = (w_in, w_out, w_nodes)
        # It is called on a thread of its own, whose current device is the first, whatever the caller's is.
        with self._backend.on_device(self.device):
            there = [None if m is None else self._backend.from_host(m, self.device) for m in host]
            try:
                stream = self._backend.stream(there[0])
                done = self._there.train(
                    tokens, *map(pointer, there), *settings, kernels.get_num_threads(), stream
                )
            finally:
                for matrix, result in zip(host, there, strict=True):
                    if matrix is not None:
                        matrix[...] = self._backend.to_host(result)
        return int(done)
