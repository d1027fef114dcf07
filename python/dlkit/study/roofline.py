"""The roofline: what bounds a product, multiply-adds or memory, and how close dlkit comes.

Williams, Waterman & Patterson, "Roofline: An Insightful Visual Performance Model", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import dlkit.kernels as K
from dlkit.study.machine import describe
from dlkit.study.own import medians
from dlkit.study.results import header
from dlkit.study.workloads import Workload, make_inputs, workloads


class Bound(NamedTuple):
    """What a workload can reach at most.

    ``intensity`` is FLOP per byte, ``limit`` FLOP/s, ``by`` names the roof: ``"peak"`` or ``"memory"``.
    """

    intensity: float
    limit: float
    by: str


def bound(workload: Workload, peak: float, bandwidth: float) -> Bound:
    """Return the roof over a workload whose arrays lie in memory.

    Parameters
    ----------
    workload : Workload
        Its ``bytes`` count each operand and each result once.
    peak : float
        FLOP/s of the multiply-add units.
    bandwidth : float
        Bytes/s from memory. Arrays that fit a cache come faster, so a product may stand above this roof.
    """
    intensity = workload.flops / workload.bytes
    if intensity * bandwidth < peak:
        return Bound(intensity, intensity * bandwidth, "memory")
    return Bound(intensity, peak, "peak")


def measure_roofline(
    shapes: Sequence[str] | None = None,
    *,
    threads: int = 1,
    rounds: int = 7,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Measure both ceilings and where matrix products stand beneath them.

    Parameters
    ----------
    shapes : sequence of str, optional
        As `dlkit.study.workloads.parse_shape` reads them; the chapter's own by default.
    threads : int
    rounds : int
        Turns of each shape.
    progress : callable, optional
        Called with one line before the measurement.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record with ``machine``, ``ceiling`` and ``rows``: each with the workload, ``intensity``
        (FLOP/byte), ``limit`` and ``flops`` (FLOP/s), and ``by``.
    """
    wanted = [workload for workload in workloads("matmul", shapes) if workload.bound == "flops"]
    before = K.get_num_threads()
    K.set_num_threads(threads)
    try:
        machine = describe()
        ceiling = {"peak": K.measure_peak(threads), "bandwidth": K.measure_bandwidth(threads)}
        reached = [(workload, workload.flops / _seconds(workload, rounds)) for workload in wanted]
        ceiling["peak"] = max(ceiling["peak"], K.measure_peak(threads))
        ceiling["bandwidth"] = max(ceiling["bandwidth"], K.measure_bandwidth(threads))
    finally:
        K.set_num_threads(before)
    return {
        **header(
            "roofline-matmul",
            threads,
            command or f"python -m dlkit.study roofline --threads {threads}",
            machine,
        ),
        "ceiling": ceiling,
        "rows": [
            {
                "workload": workload.to_json(),
                "flops": flops,
                **bound(workload, ceiling["peak"], ceiling["bandwidth"])._asdict(),
            }
            for workload, flops in reached
        ],
    }


def _seconds(workload: Workload, rounds: int) -> float:
    p, inputs = workload.params, make_inputs(workload)
    out = np.empty((p["m"], p["n"]), np.float32)
    run = partial(K.matmul, inputs["a"], inputs["b"], out=out, trans_a=p["trans_a"], trans_b=p["trans_b"])
    return medians({"dlkit": run}, rounds=rounds)["dlkit"]


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of a roofline's table."""
    return [
        "workload",
        "MFLOP",
        "MB",
        "FLOP/byte",
        "bound by",
        "GFLOP/s at most",
        "GFLOP/s",
        "% of the bound",
    ]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of a roofline's table, as text."""
    return [
        [
            row["workload"]["name"],
            _three_digits(row["workload"]["flops"] / 1e6),
            _three_digits(row["workload"]["bytes"] / 1e6),
            f"{row['intensity']:.3g}",
            row["by"],
            f"{row['limit'] / 1e9:.0f}",
            f"{row['flops'] / 1e9:.0f}",
            f"{100 * row['flops'] / row['limit']:.0f} %",
        ]
        for row in record["rows"]
    ]


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot(record: dict[str, Any], path: str | Path) -> Path:
    """Draw a record as a roofline and write it to `path`, a PNG.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('study: the roofline plot needs matplotlib: pip install "dlkit[cli]"') from error
    peak, bandwidth = record["ceiling"]["peak"] / 1e9, record["ceiling"]["bandwidth"] / 1e9
    intensities = [row["intensity"] for row in record["rows"]]
    ridge = peak / bandwidth
    left, right = min([*intensities, ridge]) / 2, max([*intensities, ridge]) * 2
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([left, ridge, right], [left * bandwidth, peak, peak], color="black", linewidth=1.5)
    axes.annotate(
        f"multiply-add peak {peak:.0f} GFLOP/s",
        (right, peak),
        (-4, 5),
        textcoords="offset points",
        ha="right",
    )
    axes.annotate(
        f"memory {bandwidth:.0f} GB/s",
        (left, left * bandwidth),
        (8, -2),
        textcoords="offset points",
        va="top",
    )
    for number, row in enumerate(record["rows"], 1):
        point = (row["intensity"], row["flops"] / 1e9)
        axes.plot(*point, "o", label=f"{number}  {row['workload']['name']}")
        axes.annotate(str(number), point, (4, -9), textcoords="offset points", fontsize=8)
    count = record["threads"]
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(left, right),
        xlabel="arithmetic intensity, FLOP/byte",
        ylabel="GFLOP/s",
        title=f"{record['machine']['cpu']}, {record['isa']}, {count} thread{'s' * (count > 1)}",
    )
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    return target
