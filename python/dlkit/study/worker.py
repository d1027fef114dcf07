"""The process one peer lives in: reads commands as lines of JSON, answers each with a line of JSON.

Started by `dlkit.study.peers` as ``python -m dlkit.study.worker LIBRARY`` with the peer's environment.
Between commands it is blocked on the pipe.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from dlkit.study.libraries import Prepared, UnsupportedError
from dlkit.study.workloads import CHECKED_RUNS, Workload, make_inputs


class Worker:
    """The commands, one method each; each returns what goes into the answer."""

    def __init__(self, library: str) -> None:
        self.library = importlib.import_module(f"dlkit.study.libraries.{library}_peer")
        self.prepared: Prepared | None = None

    def hello(self) -> dict[str, Any]:
        """Return the versions in use."""
        return {"versions": self.library.versions()}

    def setup(
        self, workload: dict[str, Any], seed: int, options: dict[str, Any], save: str
    ) -> dict[str, Any]:
        """Build inputs, run what is checked, and write the answers to the file `save`."""
        self.prepared = None
        wanted = Workload(**workload)
        self.prepared = self.library.prepare(wanted, make_inputs(wanted, seed), options)
        for _ in range(CHECKED_RUNS.get(wanted.kind, 1)):
            self.prepared.run()
        np.savez(save, **self.prepared.result())
        return {}

    def calibrate(self, target: float) -> dict[str, Any]:
        """Return how many runs take about `target` seconds."""
        count, spent = 1, self._measure(1)[0]
        while spent < target / 2 and count < 1 << 24:
            count = max(count + 1, min(count * 8, int(count * target / max(spent, 1e-9))))
            spent = self._measure(count)[0]
        return {"inner": max(1, round(count * target / spent))}

    def time(self, inner: int, warm: int) -> dict[str, Any]:
        """Run `warm` times untimed, then `inner` times; return seconds a run, and cores used by all of them.

        The system counts other threads' processor time late, by milliseconds: over a short span it would be
        found to be too much.
        """
        wall_before, processor_before = self._measure(warm) if warm else (0.0, 0.0)
        wall, processor = self._measure(inner)
        span = wall_before + wall
        return {"seconds": wall / inner, "cores": (processor_before + processor) / span if span else 0.0}

    def memory(
        self, workload: dict[str, Any], small: dict[str, Any], seed: int, options: dict[str, Any], runs: int
    ) -> dict[str, Any]:
        """Return by how many bytes the process grows at most in the first runs of a workload.

        The small one runs before: what the library loads with its first call, and keeps, does not count.
        """
        for described in (small, workload):
            wanted = Workload(**described)
            self.prepared = self.library.prepare(wanted, make_inputs(wanted, seed), options)
            before = _reset_peak()
            for _ in range(runs):
                self.prepared.run()
        return {"bytes": _resident("VmHWM") - before}

    def release(self) -> dict[str, Any]:
        """Forget the workload and its arrays."""
        self.prepared = None
        return {}

    def ceiling(self, threads: int) -> dict[str, Any]:
        """Measure the FMA peak (FLOP/s) and the memory bandwidth (bytes/s); dlkit's worker alone can."""
        import dlkit.kernels as K

        return {"peak": K.measure_peak(threads), "bandwidth": K.measure_bandwidth(threads)}

    def machine(self) -> dict[str, Any]:
        """Return what dlkit knows of the machine; dlkit's worker alone can."""
        import dlkit.kernels as K

        return {"config": K.config()}

    def _measure(self, count: int) -> tuple[float, float]:
        if self.prepared is None:
            raise RuntimeError("nothing is set up")
        run = self.prepared.run
        processor, start = time.process_time(), time.perf_counter()
        for _ in itertools.repeat(None, count):
            run()
        end = time.perf_counter()
        return end - start, time.process_time() - processor


def _reset_peak() -> int:
    """Let the peak of the process's memory be what it has now; return that, in bytes (Linux alone)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        raise RuntimeError(f"memory is measured on Linux alone: {error}") from error
    return _resident("VmRSS")


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    (line,) = (line for line in lines if line.startswith(field + ":"))
    return 1024 * int(line.split()[1])


def serve(library: str, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until the pipe is closed."""

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        worker = Worker(library)
    except ImportError as error:
        answer(ok=False, absent=f"not installed: {error}")
        return
    answer(ok=True)
    for line in commands:
        request = json.loads(line)
        try:
            answer(ok=True, **getattr(worker, request.pop("command"))(**request))
        except UnsupportedError as reason:
            answer(ok=False, absent=str(reason))
        except Exception as error:  # the parent decides what it means
            answer(ok=False, error=f"{type(error).__name__}: {error}")


def main() -> None:
    """Serve on standard input and output; whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.argv[1], sys.stdin, answers)


if __name__ == "__main__":
    main()
