"""What a recorded step (a CUDA graph) has to be given anew at each replay: random numbers and optimizers' settings.

A graph replays kernels with the arguments that they had. What must differ from step to step therefore lies in device
memory, whose address is the argument: the position in the stream of random numbers, and the numbers that an optimizer's
step works with (learning rate, corrections of Adam's means). `Recording` knows these places, and fills them before
each replay with what the step would have used had it been run from Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit.kernels import random
from dlkit.kernels.backend import Backend, backend_named


class _Current(threading.local):
    recording: Recording | None = None


_current = _Current()


class Recording:
    """The places of one recorded step. A context manager around the recording itself.

    Parameters
    ----------
    backend : str
        ``cuda``, or ``simt`` for tests.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend_named(backend)
        self.counter = self.backend.xp.zeros((), np.uint64)
        self._seed, self._begin = random.position()
        self._count = 0
        self._kept: dict[int, Any] = {}
        self._places: list[
            tuple[Any, Callable[..., bytes], dict[str, Any], Callable[[], dict[str, Any]]]
        ] = []

    def __enter__(self) -> Recording:
        if _current.recording is not None:
            raise RuntimeError("graph: a step is being recorded already; expected one at a time")
        self._seed, self._begin = random.position()
        _current.recording = self
        return self

    def __exit__(self, *error: object) -> None:
        _current.recording = None
        seed, end = random.position()
        if seed != self._seed and error[0] is None:
            raise RuntimeError("graph: the step calls manual_seed; expected the seed to be set before it")
        self._count = (end - self._begin) % 2**64

    @property
    def count(self) -> int:
        """How many random numbers a step takes."""
        return self._count

    def offset(self, offset: int) -> tuple[int, Any]:
        """Return the part of an offset that stays, and where the part lies that does not."""
        return (offset - self._begin) % 2**64, self.counter

    def hold(
        self,
        backend: Backend,
        compute: Callable[..., bytes],
        now: dict[str, Any],
        settings: Callable[[], dict[str, Any]],
    ) -> Any:
        """Return memory for the factors of an optimizer's step, to be filled before each replay."""
        place = backend.xp.empty(len(compute(**now)), np.uint8)
        self._places.append((place, compute, now, settings))
        return place

    def first(self) -> None:
        """Fill all places for the step that has just been recorded: it took its numbers already."""
        self._fill(self._begin)
        for place, compute, now, _ in self._places:
            self.backend.write(place, np.frombuffer(compute(**now), np.uint8))

    def next(self) -> None:
        """Fill all places for the next step.

        Raises
        ------
        RuntimeError
            If the seed is another than when the step was recorded: it is part of the recording.
        """
        if random.position()[0] != self._seed:
            raise RuntimeError("graph: manual_seed was called after the step was recorded; record it anew")
        self._fill(random.next_offset(self._count)[1])
        for place, compute, now, settings in self._places:
            self.backend.write(place, np.frombuffer(compute(**{**now, **settings()}), np.uint8))

    def _fill(self, offset: int) -> None:
        if self._count:
            self.backend.write(self.counter, np.array(offset, np.uint64))


def active() -> bool:
    """Return whether this thread is recording a step."""
    return _current.recording is not None


def keep(array: Any) -> None:
    """Keep an array as long as there is the recording that has its address, if a step is being recorded."""
    recording = _current.recording
    if recording is not None:
        recording._kept[id(array)] = array


def offset(offset: int) -> tuple[int, Any]:
    """Return an offset as kernels take it: a number, and device memory that is added to it, or None."""
    recording = _current.recording
    return (offset, None) if recording is None else recording.offset(offset)


def factors(
    backend: Backend,
    compute: Callable[..., bytes],
    now: dict[str, Any],
    settings: Callable[[], dict[str, Any]] | None,
) -> Any:
    """Return device memory that holds the factors of an optimizer's step, or None: they are arguments then."""
    recording = _current.recording
    return None if recording is None or settings is None else recording.hold(backend, compute, now, settings)
