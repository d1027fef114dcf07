"""Contenders timed against each other: alternating rounds, medians, inputs that rotate through more than the cache."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Call = Callable[[], object]


@dataclass
class Contender:
    """Something to time: one call for each of the input sets it goes round."""

    name: str
    calls: Sequence[Call]
    check: Callable[[], float] | None = None  # the error of what the first call computed


class Clock(Protocol):
    """Measures calls on a device."""

    def prepare(self, calls: Sequence[Call], count: int) -> Callable[[], float]:
        """Return what runs `count` calls, round and round, and returns the seconds each took."""

    def lost(self) -> bool:
        """Return whether the device has an error that stays."""


@dataclass
class Result:
    """What is known of a contender: seconds per call of each round, or why there are none."""

    name: str
    seconds: list[float] = field(default_factory=list)
    error: float | None = None
    failure: str | None = None

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        entry: dict[str, Any] = {"name": self.name, "error": self.error, "failure": self.failure}
        if self.error is not None and not math.isfinite(self.error):
            entry["error"] = None  # JSON has no NaN
            entry["failure"] = self.failure or "WRONG: not finite, or not all written"
        if self.seconds:
            entry["seconds"] = statistics.median(self.seconds)
            entry["spread"] = max(self.seconds) / min(self.seconds)
            entry["rounds"] = len(self.seconds)
        return entry


class Deadline:
    """The time that is left until an end, in seconds since 1970; work that would begin after it is left out."""

    def __init__(self, end: float) -> None:
        self._end = end

    def left(self) -> float:
        """Return the seconds until then, 0 after it."""
        return max(0.0, self._end - time.time())


def input_sets(bytes_each: int, cache_bytes: int, most: int = 64) -> int:
    """Return how many input sets it takes until one is out of the cache when its turn comes again."""
    return max(2, min(most, -(-3 * cache_bytes // max(1, bytes_each))))


def compare(
    contenders: Sequence[Contender],
    clock: Clock,
    deadline: Deadline,
    start: Callable[[str], object],
    rounds: int = 7,
    round_seconds: float = 0.004,
    most_calls: int = 200,
) -> list[Result]:
    """Time the contenders in alternating rounds. One that fails is recorded and drops out.

    `start` is told each one's name before it runs for the first time. One that leaves the device with an error that
    stays is the last.
    """
    results, runs, lost = [], [], False
    for contender in contenders:
        result = Result(contender.name)
        results.append(result)
        if lost or deadline.left() == 0:
            result.failure = "the device is lost" if lost else "no time left"
            continue
        start(contender.name)
        try:
            contender.calls[0]()
            if contender.check is not None:
                result.error = contender.check()
            for call in contender.calls[1:]:
                call()
            once = clock.prepare(contender.calls, 1)
            once()  # what is loaded or chosen at the first call
            estimate = max(once(), 1e-7)
            count = max(1, min(most_calls, int(round_seconds / estimate)))
            runs.append((result, clock.prepare(contender.calls, count)))
        except Exception as error:
            result.failure = f"{type(error).__name__}: {error}"[:300]
            lost = clock.lost()
    for turn in range(0 if lost else rounds):
        if turn > 0 and deadline.left() == 0:
            break
        for result, run in runs:
            try:
                result.seconds.append(run())
            except Exception as error:
                result.failure = f"{type(error).__name__}: {error}"[:300]
                if clock.lost():
                    return results
        runs = [(result, run) for result, run in runs if result.failure is None]
    return results
