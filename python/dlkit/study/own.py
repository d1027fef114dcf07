"""dlkit alone, timed in this process: what ladders and rooflines need."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

#: A run that takes longer than this many seconds is timed once.
_SLOW = 0.5


def medians(runs: Mapping[str, Callable[[], Any]], *, rounds: int, turn: float = 0.004) -> dict[str, float]:
    """Return seconds a run of each: the median of rounds in which each has a turn of about `turn` seconds."""
    counts: dict[str, int] = {}
    seconds: dict[str, list[float]] = {}
    for name, run in runs.items():
        counts[name], spent = calibrate(run, turn)
        seconds[name] = [spent] if spent > _SLOW else []
    for _ in range(rounds):
        for name, run in runs.items():
            if not seconds[name] or seconds[name][0] <= _SLOW:
                seconds[name].append(_time(run, counts[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _time(run: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def calibrate(run: Callable[[], Any], turn: float) -> tuple[int, float]:
    """Return how many runs take about `turn` seconds, and how long one took at last; warms up besides."""
    count = 1
    while (spent := _time(run, count)) * count < turn / 2:
        count = max(count + 1, min(8 * count, int(turn / max(spent, 1e-9))))
    return max(1, round(turn / spent)), spent
