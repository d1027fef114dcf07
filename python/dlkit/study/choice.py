"""The choice by shape: what each candidate reaches on either side of the limits in csrc/matmul/best.cpp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dlkit.kernels as K
from dlkit.study.ladder import time_steps
from dlkit.study.machine import describe
from dlkit.study.results import header
from dlkit.study.workloads import matmul, parse_shape

#: What the default picks among, on one thread.
CANDIDATES = ("fused", "direct", "swapped", "dot", "matvec")

#: Either side of each limit: one row, few rows, many; few columns; a transposed second operand; rows of the second
#: operand a power of two apart.
SHAPES = (
    "1x512x512",
    "2x512x512",
    "14x512x512",
    "15x512x512",
    "64x512x500",
    "128x512x500",
    "129x512x500",
    "64x1024x1024",
    "128x1024x1024",
    "64x512x8",
    "64x512x12",
    "64x512x13",
    "64x512x16",
    "64x32x10",
    "1x512x512nt",
    "4x512x512nt",
    "8x512x512nt",
    "17x512x512nt",
    "32x512x512nt",
    "64x784x512nt",
    "256x512x512nt",
    "784x64x512tn",
)


def measure(
    shapes: Sequence[str] | None = None,
    *,
    threads: int = 1,
    rounds: int = 7,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time the default and each of its candidates.

    Parameters
    ----------
    shapes : sequence of str, optional
        As `dlkit.study.workloads.parse_shape` reads them.
    threads : int
        What the default may use. The candidates have one thread each.
    rounds : int
        Turns of each candidate.
    progress : callable, optional
        Called with one line before each shape.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record with ``rows`` of ``name`` and ``flops`` (FLOP/s by candidate, and of ``default``).
    """
    wanted = [matmul(*parse_shape(text)) for text in shapes or SHAPES]
    before = K.get_num_threads()
    K.set_num_threads(threads)
    rows = []
    try:
        machine, peak = describe(), K.measure_peak(threads)
        for workload in wanted:
            if progress is not None:
                progress(f"choice, {workload.name}")
            seconds = time_steps(workload, CANDIDATES, rounds)
            rows.append({"name": workload.name, "flops": {k: workload.flops / s for k, s in seconds.items()}})
        ceiling = {"peak": max(peak, K.measure_peak(threads)), "bandwidth": K.measure_bandwidth(threads)}
    finally:
        K.set_num_threads(before)
    return {
        **header(
            "choice-matmul", threads, command or f"python -m dlkit.study choice --threads {threads}", machine
        ),
        "ceiling": ceiling,
        "rows": rows,
    }


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["workload", *CANDIDATES, "default", "% of the fastest"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, GFLOP/s, as text."""
    found = []
    for row in record["rows"]:
        flops = row["flops"]
        cells = [f"{flops[name] / 1e9:.1f}" if name in flops else "–" for name in (*CANDIDATES, "default")]
        fastest = max(flops[name] for name in CANDIDATES if name in flops)
        found.append([row["name"], *cells, f"{100 * flops['default'] / fastest:.0f} %"])
    return found
