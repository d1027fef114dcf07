"""Threads, work counters, and what the machine can do."""

from __future__ import annotations

import operator
import sys
from typing import Any

from dlkit import _cpu
from dlkit.kernels.backend import built_backends, why_not

_MOST_THREADS = 1024


def _checked(count: Any, operation: str, argument: str) -> int:
    expected = f"expected an integer from 1 to {_MOST_THREADS}"
    try:
        number = operator.index(count)
    except TypeError:
        number = None
    if number is None or isinstance(count, bool):
        raise TypeError(f"{operation}: {argument} is a {type(count).__name__}; {expected}")
    if not 1 <= number <= _MOST_THREADS:
        raise ValueError(f"{operation}: {argument} is {number}; {expected}")
    return number


def get_num_threads() -> int:
    """Return how many threads kernels may use, the caller's included."""
    return _cpu.num_threads()


def set_num_threads(count: int) -> None:
    """Set how many threads kernels may use; overrides ``DLKIT_NUM_THREADS`` and the CPU affinity mask.

    Raises
    ------
    TypeError, ValueError
        If `count` is no integer from 1 to 1024.
    """
    _cpu.set_num_threads(_checked(count, "set_num_threads", "count"))


def config() -> dict[str, Any]:
    """Return processor, instruction sets, threads, cache sizes in bytes, compiler and backends of this build.

    ``backends`` are those whose kernels were built; ``cuda`` says whether a GPU can be used here, or why not.
    """
    return {**_cpu.config(), "backends": built_backends(), "cuda": why_not("cuda") or "can be used"}


def show_config() -> None:
    """Print `config()`, a line for each entry."""
    for key, value in config().items():
        print(f"{key}: {value}")


def counters() -> dict[str, int]:
    """Return the work of matrix products since `reset_counters`: ``flops``, ``bytes`` and ``calls``.

    A multiply-add is two operations; bytes count each operand and each result once. Products on devices are counted
    when they are launched, those of a recorded graph when it is recorded.
    """
    counts = _cpu.counters()
    devices = sys.modules.get("dlkit.kernels.device_matmul")
    if devices is not None:
        counts = {name: count + devices.counters().get(name, 0) for name, count in counts.items()}
    return counts


def reset_counters() -> None:
    """Set the work counters to zero."""
    _cpu.reset_counters()
    devices = sys.modules.get("dlkit.kernels.device_matmul")
    if devices is not None:
        devices.reset_counters()


def kept_memory() -> int:
    """Return how many bytes of freed results wait for new ones: at most `most_kept_memory`."""
    return _cpu.kept_memory()


def most_kept_memory() -> int:
    """Return how many bytes of freed results may wait for new ones: a 64th of the machine's, from 128 to 512 MB."""
    return _cpu.most_kept_memory()


def release_memory() -> None:
    """Give the memory of freed results back to the system."""
    _cpu.release_kept_memory()


def measure_peak(threads: int | None = None, dtype: str = "float32") -> float:
    """Measure the FLOP/s of fused multiply-adds on registers, the ceiling of every kernel that multiplies.

    Parameters
    ----------
    threads : int, optional
        How many threads run at once; `get_num_threads()` by default.
    dtype : {"float32", "float64"}

    Returns
    -------
    float
        Operations a second, the best of a dozen runs of some milliseconds.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f"measure_peak: dtype is {dtype!r}; expected 'float32' or 'float64'")
    count = 0 if threads is None else _checked(threads, "measure_peak", "threads")
    return _cpu.measure_peak(count, dtype == "float64")


def measure_bandwidth(threads: int | None = None) -> float:
    """Measure the bytes a second that `threads` threads read from memory together, far past the caches."""
    return _cpu.measure_bandwidth(0 if threads is None else _checked(threads, "measure_bandwidth", "threads"))
