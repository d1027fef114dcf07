"""The ladders of the conv chapter: what each step up is worth, forward and for both gradients.

``python -m dlkit.study ladder conv --threads 1,2 --json bench/results`` measures them for docs/conv.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import dlkit.kernels as K
from dlkit.study.conv_workloads import PARTS, SHAPES, Shape, conv_params, costs, make_inputs
from dlkit.study.libraries import dlkit_conv
from dlkit.study.own import calibrate, medians
from dlkit.study.results import header

OPERATIONS = {
    "forward": "conv2d",
    "input": "conv2d_backward_input",
    "weight": "conv2d_backward_weight",
}
_LADDER = [SHAPES[i] for i in (0, 1, 3, 5, 6, 7, 8, 9, 12)]
_SLOW = 1.0  # seconds: a step that takes longer is timed once


def measure(
    *,
    shapes: Sequence[Shape] | None = None,
    threads: int = 1,
    rounds: int = 5,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time every variant of the three operations on a few shapes.

    Parameters
    ----------
    shapes : sequence of Shape, optional
        Default: nine of `SHAPES`.
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
        A record: ``machine``, ``ceiling``, ``shapes`` and ``rows`` of ``operation``, ``name``, ``idea``, and at each
        shape ``flops`` a second (None where a step does not take it).
    """
    before = K.get_num_threads()
    K.set_num_threads(threads)
    wanted = list(shapes or _LADDER)
    reached: dict[tuple[str, str], list[float | None]] = {}
    try:
        peak = K.measure_peak(threads)
        for number, shape in enumerate(wanted):
            for part, operation in OPERATIONS.items():
                if progress is not None:
                    progress(f"conv ladder, {shape.name}: {PARTS[part]}")
                params = conv_params(shape, part)
                seconds = _time(part, params, operation, rounds)
                for name, taken in seconds.items():
                    row = reached.setdefault((operation, name), [None] * len(wanted))
                    row[number] = costs(params)[0] / taken
        ceiling = {"peak": max(peak, K.measure_peak(threads)), "bandwidth": K.measure_bandwidth(threads)}
    finally:
        K.set_num_threads(before)
    rows = []
    for operation in OPERATIONS.values():
        ideas = {step.name: step.idea for step in K.variants(operation)}
        ideas["default"] = "the one that the shape gets"
        rows += [
            {"operation": operation, "name": name, "idea": idea, "flops": reached[operation, name]}
            for name, idea in ideas.items()
            if (operation, name) in reached
        ]
    return {
        **header("ladder-conv", threads, command or f"python -m dlkit.study ladder conv --threads {threads}"),
        "ceiling": ceiling,
        "shapes": [shape.name for shape in wanted],
        "rows": rows,
    }


def _time(part: str, params: dict[str, Any], operation: str, rounds: int) -> dict[str, float]:
    kind = f"conv_{part}"
    inputs = make_inputs(kind, params, np.random.default_rng(0))
    runs: dict[str, Callable[[], Any]] = {}
    once: dict[str, float] = {}
    for name in ["default", *(step.name for step in K.variants(operation))]:
        run = dlkit_conv.prepare(kind, params, inputs, None if name == "default" else name).run
        try:
            _, seconds = calibrate(run, 1e-9)
        except ValueError:
            continue  # the step does not take the shape
        if seconds > _SLOW:
            once[name] = seconds
        else:
            runs[name] = run
    return {**once, **medians(runs, rounds=rounds)}


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["operation: variant", "idea", *record["shapes"]]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, GFLOP/s, as text."""
    return [
        [
            f"{row['operation']}: {row['name']}",
            row["idea"],
            *("–" if f is None else f"{f / 1e9:.3g}" for f in row["flops"]),
        ]
        for row in record["rows"]
    ]
