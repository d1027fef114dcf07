"""The memory of recurrent training passes, beside PyTorch's: by how much a fresh process grows at most.

``python -m dlkit.study memory --threads 1 --json bench/results`` measures it for docs/recurrent.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dlkit.study.peers import Company, find_peers
from dlkit.study.recurrent_workloads import ODD_SHAPES
from dlkit.study.results import header
from dlkit.study.workloads import Workload, workloads

_PEER = "torch"
#: A layer of the same cell, so small that only what a library loads with its first call is left of it.
_SMALL = {"steps": 2, "batch": 2, "inputs": 3, "hidden": 4}
_RUNS = 3  # of which the first makes the gradients


def measure(
    *,
    shapes: Sequence[str] | None = None,
    threads: int = 1,
    rounds: int = 3,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Measure by how much processes grow during training steps of recurrent layers.

    Weights, inputs and the gradient by the output are there before; what is kept for backward, results, gradients and
    scratch memory count.

    Parameters
    ----------
    shapes : sequence of str, optional
        Parts of names of `dlkit bench recurrent`'s workloads. Default: all but the odd sizes.
    threads : int
    rounds : int
        Fresh processes for each; medians count.
    progress : callable, optional
        Called with one line before each layer.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record with ``rows`` of ``name``, and ``dlkit`` and ``torch`` in bytes (None where PyTorch is not there or has
        no such layer).

    Raises
    ------
    ValueError
        If no workload has such a name.
    PeerError
        If a process fails: elsewhere than on Linux, too.
    """
    odd = {shape.name for shape in ODD_SHAPES}
    wanted = [
        w
        for w in workloads("recurrent", shapes)
        if w.kind == "recurrent_step" and (shapes or w.name.rpartition(":")[0] not in odd)
    ]
    rows = []
    for workload in wanted:
        if progress is not None:
            progress(f"memory, {workload.name}")
        found: dict[str, list[int]] = {"dlkit": [], _PEER: []}
        for _ in range(rounds):
            for name, size in _grown(workload, threads).items():
                found[name].append(size)
        rows.append(
            {
                "name": workload.name.rpartition(":")[0],
                **{name: statistics.median(sizes) if sizes else None for name, sizes in found.items()},
            }
        )
    return {
        **header("memory-recurrent", threads, command or f"python -m dlkit.study memory --threads {threads}"),
        "rows": rows,
    }


def _grown(workload: Workload, threads: int) -> dict[str, int]:
    small = replace(workload, params={**workload.params, **_SMALL})
    with Company(find_peers([_PEER]), threads) as company:
        return {
            name: process.ask(
                "memory",
                workload=workload.to_json(),
                small=small.to_json(),
                seed=0,
                options={**process.peer.options, "threads": threads},
                runs=_RUNS,
            )["bytes"]
            for name, process in company.processes.items()
        }


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["training step", "dlkit", "PyTorch", "dlkit / PyTorch"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, megabytes, as text."""
    return [
        [row["name"], _megabytes(row["dlkit"]), _megabytes(row[_PEER]), _share(row["dlkit"], row[_PEER])]
        for row in record["rows"]
    ]


def _megabytes(size: float | None) -> str:
    return "–" if size is None else f"{size / 1e6:.1f}"


def _share(own: float, other: float | None) -> str:
    return "–" if not other else f"{own / other:.2f}"
