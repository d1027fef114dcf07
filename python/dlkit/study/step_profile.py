"""Where the time of one training step goes: each kernel, and what Python adds.

The step is that of the comparison: the network 784-512-512-10, a batch of 64, Adam. Every kernel call of a step is
timed where it happens, with the caches as the step leaves them; the step itself is timed without those clocks.
What is left when the kernels are taken from the step is Python: the graph, the optimizer's bookkeeping, the calls.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dlkit.kernels as K
from dlkit.study.libraries import dlkit_peer
from dlkit.study.machine import describe
from dlkit.study.results import header
from dlkit.study.workloads import Workload, make_inputs, mlp_step

#: The kernels that a step of a multi-layer perceptron calls.
_KERNELS = ("matmul", "activation_backward", "column_sum", "cross_entropy", "adam_step")
#: A step so small that all of its time is Python's and that of the calls.
_TINY = (1, 1, 1, 1)

Call = tuple[str, float, float]
"""What was called, how many floating-point operations it was (0: not counted), and its seconds."""


def measure(
    *,
    sizes: Sequence[int] = (784, 512, 512, 10),
    batch: int = 64,
    threads: int = 1,
    rounds: int = 300,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time a step, and each kernel within it.

    Parameters
    ----------
    sizes : sequence of int
        Units of each layer, inputs first.
    batch : int
    threads : int
    rounds : int
        Steps timed, alternately with and without a clock around each kernel.
    progress : callable, optional
        Called with one line before each part.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record: ``machine``, ``ceiling``, ``step_seconds``, ``python_seconds`` (the step without its kernels),
        ``tiny_step_seconds`` (a step of a 1-1-1-1 network on one sample: the calls and Python alone), ``limit_seconds``
        (the step's multiply-adds at the measured peak) and ``rows`` of ``name``, ``calls``, ``flops``,
        ``seconds``. All are medians.
    """
    say = progress or (lambda line: None)
    before = K.get_num_threads()
    K.set_num_threads(threads)
    try:
        workload = mlp_step(sizes, batch)
        say(f"step of {workload.name}")
        machine, peak = describe(), K.measure_peak(threads)
        plain, calls = _time_steps(_runner(workload, threads), rounds)
        say("step of a network of single units")
        tiny, _ = _time_steps(_runner(mlp_step(_TINY, 1), threads), rounds)
        peak, bandwidth = max(peak, K.measure_peak(threads)), K.measure_bandwidth(threads)
    finally:
        K.set_num_threads(before)
    rows = _rows(calls)
    return {
        **header(
            "step-profile",
            threads,
            command or f"python -m dlkit.study step-profile --threads {threads}",
            machine,
        ),
        "ceiling": {"peak": peak, "bandwidth": bandwidth},
        "workload": workload.to_json(),
        "rounds": rounds,
        "step_seconds": plain,
        "python_seconds": plain - sum(row["seconds"] for row in rows),
        "tiny_step_seconds": tiny,
        "limit_seconds": workload.flops / peak,
        "rows": rows,
    }


def _runner(workload: Workload, threads: int) -> Callable[[], Any]:
    return dlkit_peer.prepare(workload, make_inputs(workload), {"threads": threads}).run


def _time_steps(step: Callable[[], Any], rounds: int) -> tuple[float, list[list[Call]]]:
    """Return the median seconds of a step, and the calls of each step that was timed call by call."""
    for _ in range(max(3, rounds // 10)):
        step()
    plain: list[float] = []
    traced: list[list[Call]] = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        plain.append(time.perf_counter() - start)
        with _clocks() as calls:
            step()
        traced.append(calls)
    return statistics.median(plain), traced


@contextmanager
def _clocks() -> Iterator[list[Call]]:
    """Put a clock around each kernel, and collect what it says."""
    calls: list[Call] = []
    kept = {name: getattr(K, name) for name in _KERNELS}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            seconds = time.perf_counter() - start
            calls.append((*_describe(name, args, kwargs), seconds))
            return result

        return call

    for name, function in kept.items():
        setattr(K, name, timed(name, function))
    try:
        yield calls
    finally:
        for name, function in kept.items():
            setattr(K, name, function)


def _describe(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, float]:
    """Return what a call is in words, and its floating-point operations."""
    if name == "matmul":
        a, b = args[0].shape, args[1].shape
        m, k = (a[1], a[0]) if kwargs.get("trans_a") else a
        n = b[0] if kwargs.get("trans_b") else b[1]
        what = f"{m}×{k}×{n}"
        if kwargs.get("trans_a"):
            what = f"backward, weight: {what}"
        elif kwargs.get("trans_b"):
            parts = [
                part for part in ("bias" * (kwargs.get("bias") is not None), kwargs.get("activation")) if part
            ]
            what = f"forward: {' + '.join([what, *parts])}"
        else:
            what = f"backward, input: {what}"
        return what, 2.0 * m * k * n
    size = "×".join(map(str, getattr(args[0], "shape", ())))
    words = {
        "activation_backward": f"backward, {args[1] if len(args) > 1 else 'activation'}: {size}",
        "column_sum": f"backward, bias: column sum of {size}",
        "cross_entropy": f"loss and its gradient: softmax cross-entropy, {size}",
        "adam_step": "update: Adam",
    }
    return words[name], 0.0


def _rows(steps: list[list[Call]]) -> list[dict[str, Any]]:
    """Return a row for each kind of call, in the order of the step: the median of its seconds a step."""
    names = list(dict.fromkeys(call[0] for call in steps[0]))
    found = []
    for name in names:
        flops = sum(call[1] for call in steps[0] if call[0] == name)
        totals = [sum(call[2] for call in calls if call[0] == name) for calls in steps]
        count = sum(call[0] == name for call in steps[0])
        found.append({"name": name, "calls": count, "flops": flops, "seconds": statistics.median(totals)})
    return found


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["part of the step", "calls", "ms", "% of the step", "GFLOP/s", "% of FMA peak"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, as text: the kernels, Python, and what they are to be held against."""
    step, peak = record["step_seconds"], record["ceiling"]["peak"]

    def line(name: str, calls: str, seconds: float, flops: float = 0.0) -> list[str]:
        rate = flops / seconds if seconds > 0 else 0.0
        speed = [f"{rate / 1e9:.0f}", f"{100 * rate / peak:.0f} %"] if flops else ["", ""]
        return [name, calls, f"{1e3 * seconds:.3f}", f"{100 * seconds / step:.1f} %", *speed]

    products = [row for row in record["rows"] if row["flops"]]
    flops = sum(row["flops"] for row in products)
    return [
        *(line(row["name"], str(row["calls"]), row["seconds"], row["flops"]) for row in record["rows"]),
        line("Python: graph, optimizer, calls", "", record["python_seconds"]),
        line("**the step**", "", step, flops),
        line("of it all matrix products", "", sum(row["seconds"] for row in products), flops),
        line("FMA limit: the products at peak", "", record["limit_seconds"], flops),
        line("a step of 1-1-1-1 on one sample: Python and calls alone", "", record["tiny_step_seconds"]),
    ]


__all__ = ["columns", "measure", "rows"]
