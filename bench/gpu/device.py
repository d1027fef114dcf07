"""Where kernels run: the GPU, by PyTorch's memory and clock; or, to try the scripts, the SIMT machine on the CPU."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from record import DeviceLostError, Record
from timing import Call, Deadline

DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}


def capture(body: Callable[[], None]) -> Callable[[], object] | None:
    """Return the replay of what `body` launches, or None where that cannot be captured."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(torch.cuda.Stream()):
        graph.capture_begin()
        try:
            body()
        except Exception:
            with contextlib.suppress(Exception):
                graph.capture_end()
            return None
        try:
            graph.capture_end()
        except Exception:
            return None
    torch.cuda.synchronize()
    return graph.replay


class EventClock:
    """CUDA events around calls that were captured into a graph, so that their launches cost nothing."""

    def prepare(self, calls: Sequence[Call], count: int) -> Callable[[], float]:
        """Return what runs `count` calls, round and round, and returns the seconds each took."""

        def eager() -> None:
            for i in range(count):
                calls[i % len(calls)]()

        run: Callable[[], object] = eager
        if count > 1:
            run = capture(eager) or eager  # what cannot be captured is launched call by call
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def measure() -> float:
            begin.record()
            run()
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / 1e3 / count

        return measure

    def lost(self) -> bool:
        """Return whether waiting for the device fails."""
        try:
            torch.cuda.synchronize()
        except Exception:
            return True
        return False


class HostClock:
    """The host's clock, for the machine whose calls return when they are done."""

    def prepare(self, calls: Sequence[Call], count: int) -> Callable[[], float]:
        """Return what runs a call and returns its seconds."""

        def measure() -> float:
            begin = time.perf_counter()
            calls[0]()
            return time.perf_counter() - begin

        return measure

    def lost(self) -> bool:
        """Return False: it is this process."""
        return False


class Device:
    """The module of kernels, and how to give it memory."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.module: Any = importlib.import_module("dlkit._simt" if dry_run else "dlkit._cuda")
        self.torch = torch.device("cpu" if dry_run else "cuda")
        self.clock = HostClock() if dry_run else EventClock()
        self.cache_bytes = 1 if dry_run else torch.cuda.get_device_properties(0).L2_cache_size

    def stream(self) -> int:
        """Return the current stream: while a graph is captured, the one it is captured from."""
        return 0 if self.dry_run else torch.cuda.current_stream().cuda_stream

    def random(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return normally distributed numbers."""
        return torch.randn(*shape, device=self.torch).to(dtype)

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return memory filled with NaN, so that what nobody writes shows."""
        return torch.full(shape, float("nan"), device=self.torch, dtype=dtype)

    def bytes(self, count: int) -> torch.Tensor:
        """Return scratch memory."""
        return torch.empty(max(count, 1), dtype=torch.uint8, device=self.torch)


def relative_error(out: torch.Tensor, reference: torch.Tensor) -> float:
    """Return the norm of the difference over that of the reference, in float64."""
    reference = reference.double()
    return float((out.double() - reference).norm() / reference.norm().clamp_min(1e-300))


Body = Callable[[Device, Deadline, Record], None]


def main(name: str, body: Body) -> None:
    """Run a script of this folder: NAME.json into --out, anew after each row, a line on the terminal at the end."""
    parser = argparse.ArgumentParser(description=f"Measure {name} on a GPU.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--until", type=float, default=math.inf, help="begin nothing after it (seconds since 1970)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tiny, on the SIMT machine: times mean nothing"
    )
    arguments = parser.parse_args()
    path = arguments.out / f"{name}.json"
    device = Device(arguments.dry_run)
    record = Record(path, device.clock.lost, dry_run=arguments.dry_run)
    record.save()
    try:
        body(device, Deadline(arguments.until), record)
    except (DeviceLostError, KeyboardInterrupt) as error:
        traceback.print_exc()
        why = "the device is lost" if isinstance(error, DeviceLostError) else "interrupted"
        print(
            f"{name}: {why}, {record.entries['running']}; {len(record.rows)} rows into {path}",
            file=sys.stderr,
        )
        sys.stderr.flush()
        os._exit(1)  # what ends with the process speaks last otherwise, or waits for the device
    print(
        f"{name}: {len(record.rows)} rows, {record.failures()} failures in them, into {path}", file=sys.stderr
    )
