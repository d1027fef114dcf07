"""What distorting a batch of images costs a training step.

The step is that of the comparison: the CNN 20-50-500, a batch of 64 MNIST-sized images, Adam. Batches with and without
distortions and the step alternate; the same distortions by SciPy, image by image, stand beside them where it is
installed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

import dlkit.kernels as K
from dlkit.data import Augment, Batches
from dlkit.study.libraries import dlkit_peer
from dlkit.study.machine import describe
from dlkit.study.own import medians
from dlkit.study.results import header
from dlkit.study.workloads import cnn_step, make_inputs

_SHAPE = (1, 28, 28)
_BATCH = 64

#: What is measured, and its settings.
SETTINGS: dict[str, dict[str, float]] = {
    "batch alone, gathered": {},
    "shift, rotation, scale": {"shift": 2, "rotation": 8, "scale": 0.1},
    "and elastic, smoothed at 4 pixels": {"shift": 2, "rotation": 8, "scale": 0.1, "elastic": 24},
}


def measure(
    *,
    threads: int = 1,
    rounds: int = 50,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time batches and the training step.

    Parameters
    ----------
    threads : int
    rounds : int
        Turns of each.
    progress : callable, optional
        Called with one line before each part.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record: ``machine``, ``ceiling``, ``step_seconds``, ``scipy_seconds`` (the last of the settings by SciPy, a
        batch; None without it) and ``rows`` of ``name`` and ``seconds``. All are medians, for a batch of 64.
    """
    say = progress or (lambda line: None)
    before = K.get_num_threads()
    K.set_num_threads(threads)
    try:
        workload = cnn_step((20, 50), (500,), _BATCH)
        machine, peak, bandwidth = describe(), K.measure_peak(threads), K.measure_bandwidth(threads)
        runs: dict[str, Callable[[], Any]] = {
            "step": dlkit_peer.prepare(workload, make_inputs(workload), {"threads": threads}).run
        }
        x = np.random.default_rng(0).random((6400, 784), dtype=np.float32)
        for name, settings in SETTINGS.items():
            augment = Augment(_SHAPE, **settings) if settings else None  # type: ignore[arg-type]
            batches = Batches(x, np.zeros(len(x), np.int64), batch_size=_BATCH, transform=augment)
            # Each pass draws the matrices of its images anew, as an epoch does.
            endless = (batch for _ in cycle([None]) for batch in batches)
            runs[name] = partial(next, endless)
        by_scipy = _scipy(x[:_BATCH])
        if by_scipy is not None:
            runs["scipy"] = by_scipy
        say(f"batches of {_BATCH}, beside the step of {workload.name}")
        seconds = medians(runs, rounds=rounds)
    finally:
        K.set_num_threads(before)
    return {
        **header(
            "augment", threads, command or f"python -m dlkit.study augment --threads {threads}", machine
        ),
        "ceiling": {"peak": peak, "bandwidth": bandwidth},
        "rounds": rounds,
        "step_seconds": seconds["step"],
        "scipy_seconds": seconds.get("scipy"),
        "rows": [{"name": name, "seconds": seconds[name]} for name in SETTINGS],
    }


def _scipy(x: Any) -> Callable[[], Any] | None:
    """The last of the settings, by SciPy, or None where it is not installed."""
    try:
        from scipy import ndimage
    except ImportError:
        return None
    rng = np.random.default_rng(0)
    images = x.reshape(-1, 28, 28)
    down, across = np.mgrid[:28, :28].astype(np.float32)

    def run() -> None:
        for image in images:
            u, v = (
                24
                * ndimage.gaussian_filter(
                    rng.uniform(-1, 1, (28, 28)).astype(np.float32), 4, mode="constant", truncate=3
                )
                for _ in range(2)
            )
            places = np.stack([1.1 * down + 0.1 * across - 2 + v, 1.1 * across - 0.1 * down + 1 + u])
            ndimage.map_coordinates(image, places, order=1, mode="constant")

    return run


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["a batch of 64", "ms", "samples/s", "% of a training step"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, as text: the batches, the step that they feed, and SciPy."""
    step = record["step_seconds"]

    def line(name: str, seconds: float) -> list[str]:
        return [name, f"{1e3 * seconds:.3f}", f"{_BATCH / seconds:,.0f}", f"{100 * seconds / step:.1f} %"]

    lines = [line(row["name"], row["seconds"]) for row in record["rows"]]
    lines.append(line("**the step**: 20-50-500, Adam", step))
    if record["scipy_seconds"] is not None:
        lines.append(line("the last distortions by SciPy, on one thread", record["scipy_seconds"]))
    return lines


__all__ = ["columns", "measure", "rows"]
