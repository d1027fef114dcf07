"""How much work a training run was, and how fast the machine did it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from dlkit import kernels


def work_of(history: Iterable[Mapping[str, Any]], device: str = "cpu") -> dict[str, float]:
    """Sum up the records of a training run, and measure the processor's ceiling to compare with.

    Returns
    -------
    dict
        ``train_seconds`` (the training loop alone, without validation), ``samples_per_s``, ``gflops`` (10^9
        operations of matrix products per second of training), ``peak_gflops`` (fused multiply-adds on
        registers, measured now), ``percent_of_peak``; the last two only for the CPU.
    """
    records = list(history)
    seconds = sum(float(record["seconds"]) for record in records)
    samples = sum(float(record["samples_per_s"]) * float(record["seconds"]) for record in records)
    operations = sum(float(record["gflops"]) * float(record["seconds"]) for record in records)
    gflops = operations / seconds if seconds > 0 else 0.0
    work = {
        "train_seconds": seconds,
        "samples_per_s": samples / seconds if seconds > 0 else 0.0,
        "gflops": gflops,
    }
    if device == "cpu":
        work["peak_gflops"] = peak = kernels.measure_peak() / 1e9
        work["percent_of_peak"] = 100 * gflops / peak
    return work


def peak_memory() -> int | None:
    """The most memory that this process has had, in bytes, or None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(used) if sys.platform == "darwin" else int(used) * 1024


def work_lines(metrics: Mapping[str, Any], epochs: int) -> list[tuple[str, str]]:
    """The same for a reader."""
    threads = kernels.get_num_threads()
    plural = "" if threads == 1 else "s"
    each = "" if epochs == 1 else "s"
    arithmetic = f"{metrics['gflops']:.1f} GFLOP/s"
    if "peak_gflops" in metrics:
        arithmetic += (
            f", {metrics['percent_of_peak']:.1f}% of the FMA peak "
            f"({metrics['peak_gflops']:.0f} GFLOP/s on {threads} thread{plural})"
        )
    lines = [
        ("training", f"{epochs} epoch{each} in {metrics['train_seconds']:.2f} s"),
        ("throughput", f"{metrics['samples_per_s']:,.0f} samples/s"),
        ("arithmetic", arithmetic),
    ]
    if metrics.get("peak_memory"):
        lines.append(("peak memory", f"{metrics['peak_memory'] / 1e6:.0f} MB"))
    return lines
