"""The ladder of an operation: what each step up is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

import dlkit.kernels as K
from dlkit.study.machine import describe
from dlkit.study.own import medians
from dlkit.study.results import header
from dlkit.study.workloads import Workload, make_inputs, matmul, parse_shape

#: From caches' comfort to memory's; then a layer of a network, forward and one row.
SHAPES = ("64x64x64", "256x256x256", "1024x1024x1024", "64x784x512", "64x512x784nt", "1x512x2048")


def measure_ladder(
    operation: str = "matmul",
    *,
    shapes: Sequence[str] | None = None,
    threads: int = 1,
    rounds: int = 7,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time every variant of an operation on a few shapes.

    Parameters
    ----------
    operation : {"matmul"}
    shapes : sequence of str, optional
        As `dlkit.study.workloads.parse_shape` reads them.
    threads : int
    rounds : int
        Turns of each variant.
    progress : callable, optional
        Called with one line before each shape.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record: ``machine``, ``ceiling``, ``shapes`` and, for each variant, ``name``, ``idea``, ``needs``
        and ``flops`` a second at each shape (None where a step is not for the shape).

    Raises
    ------
    ValueError
        If the operation has no ladder, or a shape cannot be read.
    """
    steps = K.variants(operation)
    if operation != "matmul":
        raise ValueError(f"study: the ladder of {operation!r} has no workloads; expected 'matmul'")
    wanted = [matmul(*parse_shape(text)) for text in shapes or SHAPES]
    before = K.get_num_threads()
    K.set_num_threads(threads)
    try:
        machine, peak = describe(), K.measure_peak(threads)
        reached: dict[str, list[float | None]] = {step.name: [] for step in steps}
        reached["default"] = []
        for workload in wanted:
            if progress is not None:
                progress(f"{operation} ladder, {workload.name}")
            seconds = time_steps(workload, [step.name for step in steps], rounds)
            for name, speeds in reached.items():
                speeds.append(workload.flops / seconds[name] if name in seconds else None)
        peak = max(peak, K.measure_peak(threads))
        bandwidth = K.measure_bandwidth(threads)
    finally:
        K.set_num_threads(before)
    ideas = {step.name: (step.idea, step.needs) for step in steps}
    ideas["default"] = ("the fastest of them for the shape", "")
    return {
        **header(
            f"ladder-{operation}",
            threads,
            command or f"python -m dlkit.study ladder {operation} --threads {threads}",
            machine,
        ),
        "ceiling": {"peak": peak, "bandwidth": bandwidth},
        "shapes": [workload.name for workload in wanted],
        "rows": [
            {"name": name, "idea": ideas[name][0], "needs": ideas[name][1], "flops": speeds}
            for name, speeds in reached.items()
        ],
    }


def time_steps(workload: Workload, names: Sequence[str], rounds: int) -> dict[str, float]:
    """Return seconds a run of each step that is for the shape."""
    p, inputs = workload.params, make_inputs(workload)
    out = np.empty((p["m"], p["n"]), np.float32)
    call = partial(K.matmul, inputs["a"], inputs["b"], out=out, trans_a=p["trans_a"], trans_b=p["trans_b"])
    runs: dict[str, Callable[[], Any]] = {"default": call}
    for name in names:
        try:
            call(variant=name)
        except ValueError:
            continue  # the step is not for this shape
        runs[name] = partial(call, variant=name)
    return medians(runs, rounds=rounds)


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of a ladder's table."""
    short = {", first transposed": "tn", ", second transposed": "nt", ", both transposed": "tt"}
    shapes = [reduce(lambda text, words: text.replace(*words), short.items(), s) for s in record["shapes"]]
    return ["variant", "idea", *shapes, "% of peak, at best"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of a ladder's table, GFLOP/s, as text."""
    found = []
    for row in record["rows"]:
        speeds = [speed for speed in row["flops"] if speed is not None]
        best = f"{100 * max(speeds) / record['ceiling']['peak']:.0f} %" if speeds else "–"
        cells = [
            "–" if s is None else f"{s / 1e9:.1f}" if s < 1e11 else f"{s / 1e9:.0f}" for s in row["flops"]
        ]
        found.append([row["name"], row["idea"], *cells, best])
    return found
