"""dlkit against its peers: one chapter, one table for each thread count."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlkit.study import results
from dlkit.study.alternate import Timing, alternate, ratio, spread
from dlkit.study.machine import describe
from dlkit.study.peers import (
    PEERS,
    AbsentError,
    Company,
    PeerError,
    busy_seconds,
    find_peers,
    removed_variables,
    used_seconds,
)
from dlkit.study.results import today
from dlkit.study.workloads import Workload, workloads

_TURN = 0.004


def compare(
    chapter: str = "matmul",
    *,
    shapes: Sequence[str] | None = None,
    threads: Sequence[int] = (1,),
    peers: Sequence[str] | None = None,
    rounds: int | None = None,
    json_path: str | Path | None = None,
    quick: bool = False,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> list[dict[str, Any]]:
    """Time dlkit and its peers side by side.

    Parameters
    ----------
    chapter : {"matmul", "layers", "conv", "recurrent", "models"}
    shapes : sequence of str, optional
        For matmul, shapes such as ``64x784x512`` or ``784x64x512tn``; else parts of workload names.
    threads : sequence of int
        Thread counts; each gives a table.
    peers : sequence of str, optional
        Some of ``numpy``, ``numpy-best``, ``torch``, ``torch-best``, ``jax``, ``onnx``; by default all that do
        the chapter's workloads.
    rounds : int, optional
        Turns of each peer; 21 by default, 3 where `quick`.
    json_path : path, optional
        Where to write the results: a file for one thread count, a folder for any number.
    quick : bool
        Small workloads, few rounds.
    progress : callable, optional
        Called with one line before each workload.
    command : str
        The command that asked, for the record.

    Returns
    -------
    list of dict
        One record for each thread count, as `dlkit.study.results` describes it.

    Raises
    ------
    ValueError
        If a chapter, shape, peer, thread count or number of rounds is none.
    PeerError
        If dlkit or a peer computed something wrong.
    """
    chosen, wanted = find_peers(peers, chapter), workloads(chapter, shapes, quick=quick)
    if rounds is not None and rounds < 1:
        raise ValueError(f"bench: rounds is {rounds}; expected at least 1")
    for count in threads:
        if count < 1:
            raise ValueError(f"bench: threads is {count}; expected at least 1")
    if json_path is not None and len(threads) > 1 and Path(json_path).suffix == ".json":
        raise ValueError(f"bench: json_path {str(json_path)!r} is one file for {len(threads)} thread counts")
    if json_path is not None:
        results.check(json_path)
    records = []
    for count in threads:
        with Company(chosen, count) as company:
            session = Session(company, chapter, rounds=rounds or (3 if quick else 21), command=command)
            for number, workload in enumerate(wanted, 1):
                if progress is not None:
                    at = f"{number}/{len(wanted)}"
                    progress(f"{chapter}, {count} thread{'s' * (count > 1)}, {at}: {workload.name}")
                session.add(workload)
            records.append(session.record())
        if json_path is not None:
            results.write(records[-1], json_path)
    return records


class Session:
    """The comparisons of one chapter at one thread count, workload by workload.

    Parameters
    ----------
    company : Company
    chapter : str
    rounds : int
    command : str
        For the record.
    """

    def __init__(
        self, company: Company, chapter: str, *, rounds: int, turn: float = _TURN, command: str = ""
    ) -> None:
        if "dlkit" not in company.processes:
            raise PeerError(
                f"bench: dlkit itself cannot run: {company.absent.get('dlkit', 'not among the peers')}"
            )
        self.company, self.chapter, self.rounds, self.turn = company, chapter, rounds, turn
        self._machine, self._command = {**describe(), "dlkit_isa": os.environ.get("DLKIT_ISA", "")}, command
        self._rows: list[dict[str, Any]] = []
        self._peaks: list[float] = []
        self._bandwidths: list[float] = []
        self._before = self._work()
        self._measure_ceiling()

    def _work(self) -> tuple[float, float] | None:
        """Return processor seconds that others have worked so far, and the time."""
        busy = busy_seconds()
        if busy is None:
            return None
        own = sum(used_seconds(process.pid) for process in self.company.processes.values())
        return busy - own - used_seconds(os.getpid()), time.monotonic()

    def _others_share(self) -> float | None:
        """Return how many processors others kept busy during the comparison."""
        after = self._work()
        if after is None or self._before is None:
            return None
        return max(0.0, (after[0] - self._before[0]) / max(after[1] - self._before[1], 1e-9))

    def _measure_ceiling(self) -> None:
        own = self.company.processes["dlkit"]
        found = own.ask("ceiling", threads=self.company.threads)
        own.settle()
        self._peaks.append(found["peak"])
        self._bandwidths.append(found["bandwidth"])

    @property
    def started(self) -> bool:
        """Whether there is a row."""
        return bool(self._rows)

    def add(self, workload: Workload) -> dict[str, Any]:
        """Time a workload with every peer and return its row."""
        timings = alternate(self.company, workload, rounds=self.rounds, turn=self.turn)
        row = _row(workload, timings, self.company)
        self._rows.append(row)
        return row

    def record(self) -> dict[str, Any]:
        """Return the record of all rows so far; the ceiling is the best of before and after."""
        self._measure_ceiling()
        ceiling = {"peak": max(self._peaks), "bandwidth": max(self._bandwidths)}
        for row in self._rows:
            row["percent_of_ceiling"] = _percent(row, ceiling)
        processes, absent = self.company.processes, self.company.absent
        return {
            "chapter": self.chapter,
            "threads": self.company.threads,
            "date": today(),
            "command": self._command or f"dlkit bench {self.chapter} --threads {self.company.threads}",
            "machine": self._machine,
            "ceiling": ceiling,
            "protocol": {
                "rounds": self.rounds,
                "turn_seconds": self.turn,
                "others_cores": self._others_share(),
                "variables_removed": removed_variables(),
            },
            "peers": [
                {
                    "name": peer.name,
                    "label": peer.label,
                    "configured": peer.configured,
                    "how": peer.how,
                    "versions": processes[peer.name].versions if peer.name in processes else {},
                    "absent": absent.get(peer.name, ""),
                }
                for peer in PEERS
                if peer.name in processes or peer.name in absent
            ],
            "rows": self._rows,
        }


def _row(workload: Workload, timings: dict[str, Timing], company: Company) -> dict[str, Any]:
    own = timings["dlkit"]
    entries: dict[str, Any] = {}
    for name, timing in timings.items():
        if timing.absent:
            entries[name] = {"absent": timing.absent}
            continue
        entries[name] = {
            "seconds": timing.median,
            "fastest_seconds": min(timing.seconds),
            "spread": spread(timing.seconds),
            "value": workload.value(timing.median),
            "relative_error": timing.error,
            "cores": timing.cores,
            "runs_a_turn": timing.inner,
        }
        if name != "dlkit" and not own.absent:
            entries[name]["ratio"], low, high = ratio(timings, name)
            entries[name]["ratio_quartiles"] = [low, high]
    row: dict[str, Any] = {"workload": workload.to_json(), "peers": entries}
    for key, also_configured in (("against_default", False), ("against_best", True)):
        rivals = [
            process.peer.name
            for process in company.processes.values()
            if process.peer.name != "dlkit"
            and (also_configured or not process.peer.configured)
            and "ratio" in entries[process.peer.name]
        ]
        best = min(rivals, key=lambda name: timings[name].median, default=None)
        row[key] = {"peer": best, "ratio": entries[best]["ratio"]} if best else None
    return row


def _percent(row: dict[str, Any], ceiling: dict[str, float]) -> float | None:
    entry, workload = row["peers"]["dlkit"], row["workload"]
    if entry.get("absent") or workload["bound"] == "call":
        return None
    if workload["bound"] == "flops":
        found = workload["flops"] / entry["seconds"] / ceiling["peak"]
    else:
        found = workload["bytes"] / entry["seconds"] / ceiling["bandwidth"]
    return 100 * found if math.isfinite(found) else None


__all__ = ["AbsentError", "PeerError", "Session", "compare"]
