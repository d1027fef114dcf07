"""The timing of one workload: rounds in which every peer has its turn, so that noise hits everybody alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlkit.study.peers import AbsentError, Company, PeerError, Process, wait_for_quiet
from dlkit.study.workloads import Workload, make_inputs, reference, relative_error

#: A one-thread turn that had less of the processor than this is taken again: somebody else was on it.
_LEAST_SHARE = 0.9
_RETRIES = 3


@dataclass
class Timing:
    """What one peer did with one workload.

    ``seconds`` holds seconds a run, one for each round; ``error`` the distance to float64; ``cores`` the
    median of processor seconds a second; ``inner`` the runs of a turn; ``absent`` why there is nothing.
    """

    seconds: list[float] = field(default_factory=list)
    error: float = float("nan")
    cores: float = float("nan")
    inner: int = 0
    absent: str = ""

    @property
    def median(self) -> float:
        """The median of the seconds a run."""
        return statistics.median(self.seconds)


def alternate(
    company: Company,
    workload: Workload,
    *,
    rounds: int,
    turn: float,
    seed: int = 0,
    options: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Timing]:
    """Check every peer against float64, then time them in turn.

    Parameters
    ----------
    company : Company
    workload : Workload
    rounds : int
        Turns of each peer.
    turn : float
        Seconds of a turn, about; a turn is one run at least.
    options : dict, optional
        Further options of a peer, by its name.

    Returns
    -------
    dict
        A `Timing` for each peer, those absent included.

    Raises
    ------
    PeerError
        If a peer computed something wrong, used more cores than it was given, or failed.
    """
    timings = {name: Timing(absent=reason) for name, reason in company.absent.items()}
    expected = reference(workload, make_inputs(workload, seed))
    for name, process in company.processes.items():
        timings[name] = timing = Timing()
        extra = {**process.peer.options, "threads": company.threads, **(options or {}).get(name, {})}
        try:
            timing.error = _set_up(process, workload, seed, extra, expected)
        except AbsentError as reason:
            timing.absent = str(reason)
    running = {name: company.processes[name] for name, timing in timings.items() if not timing.absent}
    for name, process in running.items():
        timings[name].inner = process.ask("calibrate", target=turn)["inner"]
        process.settle()
    cores: dict[str, list[float]] = {name: [] for name in running}
    names = list(running)
    for number in range(rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            answer = _turn(running[name], timings[name].inner, turn, company.threads)
            timings[name].seconds.append(answer["seconds"])
            cores[name].append(answer["cores"])
    for name, process in running.items():
        timings[name].cores = statistics.median(cores[name])
        process.ask("release")
        if timings[name].cores > company.threads + 0.25:
            raise PeerError(
                f"{name}: used {timings[name].cores:.2f} cores for {workload.name} "
                f"but was given {company.threads}"
            )
    return timings


def _set_up(
    process: Process, workload: Workload, seed: int, options: dict[str, Any], expected: dict[str, Any]
) -> float:
    save = process.folder / f"{process.peer.name}.npz"
    try:
        process.ask("setup", workload=workload.to_json(), seed=seed, options=options, save=str(save))
        with np.load(save) as found:
            errors = {key: relative_error(found[key], np.asarray(value)) for key, value in expected.items()}
    finally:
        save.unlink(missing_ok=True)
    process.settle()
    worst = max(errors, key=lambda key: errors[key])
    if not errors[worst] <= workload.tolerance:
        raise PeerError(
            f"{process.peer.name}: wrong result for {workload.name}: {worst} is off by {errors[worst]:.3g} "
            f"from float64; at most {workload.tolerance:g} passes"
        )
    return errors[worst]


def _turn(process: Process, inner: int, turn: float, threads: int) -> dict[str, Any]:
    """Time one turn, after untimed runs that fill caches and wake threads.

    A virtual processor that has idled takes milliseconds to wake, and a pool whose caller works on alone
    meanwhile would be timed without its threads: those get two turns' time to come.
    """
    warm = 2 * inner if threads > 1 else max(1, inner // 4)
    for attempt in range(_RETRIES):
        wait_for_quiet()
        answer = process.ask("time", inner=inner, warm=warm)
        if threads > 1 or answer["cores"] >= _LEAST_SHARE or attempt == _RETRIES - 1:
            break
    process.settle()
    return answer


def ratio(timings: dict[str, Timing], peer: str, base: str = "dlkit") -> tuple[float, float, float]:
    """Return how many times as long `peer` took as `base`: median over the rounds, lower and upper quartile.

    Each round gives one ratio, of two turns that stood side by side.
    """
    pairs = [p / b for p, b in zip(timings[peer].seconds, timings[base].seconds, strict=True)]
    return statistics.median(pairs), *_quartiles(pairs)


def spread(seconds: Sequence[float]) -> float:
    """Return the distance of the quartiles as a share of the median."""
    low, high = _quartiles(seconds)
    return (high - low) / statistics.median(seconds)


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), [0.25, 0.75])
    return float(low), float(high)
