"""Every matmul variant against cuBLAS, through PyTorch and CuPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from device import DTYPES, Device, main, relative_error
from record import Record
from timing import Contender, Deadline, compare, input_sets

COURSE = [
    (64, 784, 512),
    (20, 650, 2600),
    (700, 650, 10000),
]  # m, k, n: a layer, a cell's gates, an output layer
CUBES = [1024, 2048, 4096, 8192]
SLOW_SECONDS = 0.05  # a variant that is predicted to take longer for one product is left out

# dtype, precision of the module API, name
MODES = [
    (torch.float32, 0, "float32"),
    (torch.float32, 1, "tf32"),
    (torch.bfloat16, 0, "bfloat16"),
    (torch.float16, 0, "float16"),
]


def shapes(mode: str, dry_run: bool) -> list[tuple[int, int, int, str]]:
    """Return (m, k, n, layout), the ones that matter most first. Layout: nn, nt, tn as BLAS writes it, of row-major."""
    if dry_run:
        return [(33, 40, 48, "nn"), (33, 40, 48, "nt")]
    layouts = {"float32": ["nn"], "tf32": ["nt", "nn"], "bfloat16": ["nn", "nt", "tn"], "float16": ["nn"]}[
        mode
    ]
    big = [(side, side, side, layout) for side in (4096, 8192) for layout in layouts]
    course = [(m, k, n, layouts[0]) for m, k, n in COURSE]
    small = [(side, side, side, layouts[0]) for side in (1024, 2048)]
    return [*big, *course, *small]


def operand(device: Device, rows: int, cols: int, dtype: torch.dtype, turned: bool) -> torch.Tensor:
    """Return a rows x cols matrix, of which the columns are contiguous where it is `turned`."""
    return device.random(cols, rows, dtype=dtype).T if turned else device.random(rows, cols, dtype=dtype)


def kernel_call(
    device: Device, variant: str | None, precision: int, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> Callable[[], None]:
    """Return a call of the module's matmul with everything but the stream filled in."""
    (m, k), n = a.shape, b.shape[1]
    dtype = DTYPES[a.dtype]
    strides = (a.stride(0), a.stride(1), b.stride(0), b.stride(1))
    needed = device.module.matmul_workspace(dtype, dtype, variant, precision, m, n, k, 1, *strides)
    workspace = device.bytes(needed)

    def call() -> None:
        device.module.matmul(
            device.stream(), dtype, dtype, variant, precision, m, n, k, 1,
            a.data_ptr(), a.stride(0), a.stride(1), 0,
            b.data_ptr(), b.stride(0), b.stride(1), 0,
            c.data_ptr(), c.stride(0), 0,
            0, 0, False, workspace.data_ptr() if needed else 0, needed,
        )  # fmt: skip

    return call


def cupy_calls(sets: list[tuple[torch.Tensor, ...]], tf32: bool) -> list[Callable[[], object]]:
    """Return CuPy's products of the same memory; without bfloat16, which CuPy has no type for."""
    import cupy

    if sets[0][0].dtype == torch.bfloat16 or not sets[0][0].is_cuda:
        raise TypeError("CuPy has no such arrays")
    if tf32:
        raise TypeError("CuPy takes TF32 from an environment variable alone")
    calls = []
    for a, b, c in sets:
        x, y, out = (cupy.from_dlpack(t.detach()) for t in (a, b, c))

        def call(x: Any = x, y: Any = y, out: Any = out) -> object:
            with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
                return cupy.matmul(x, y, out=out)

        calls.append(call)
    return calls


def row_error(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> float:
    """Return the error of some rows of c = a b, against float64; a NaN left in any row gives NaN."""
    if not bool(torch.isfinite(c).all()):
        return float("nan")
    some = torch.randperm(a.shape[0], device=a.device)[:64]
    return relative_error(c[some], a[some].double() @ b.double())


def measure(device: Device, deadline: Deadline, record: Record) -> None:
    """Record a row for each shape and type."""
    rate: dict[tuple[str, str], float] = {}  # operations a second, from earlier rows
    work = [(shape, mode) for mode in MODES for shape in shapes(mode[2], device.dry_run)]
    # Modes take turns, so that where time runs out each has had its first shapes.
    work.sort(key=lambda item: shapes(item[1][2], device.dry_run).index(item[0]))
    for (m, k, n, layout), (dtype, precision, mode) in work:
        with record.row(
            f"{mode} {layout} {m}x{k}x{n}", mode=mode, layout=layout, m=m, k=k, n=n, flops=2 * m * n * k
        ) as row:
            if deadline.left() == 0:
                row["failure"] = "no time left"
                continue
            _measure_row(device, deadline, record, row, dtype, precision, rate)


def _measure_row(
    device: Device, deadline: Deadline, record: Record, row: dict[str, Any], dtype: torch.dtype, precision: int,
    rate: dict[tuple[str, str], float],
) -> None:  # fmt: skip
    mode, layout, m, k, n = (row[key] for key in ("mode", "layout", "m", "k", "n"))
    size = (m * k + k * n + m * n) * dtype.itemsize
    sets = [
        (
            operand(device, m, k, dtype, layout[0] == "t"),
            operand(device, k, n, dtype, layout[1] == "t"),
            device.empty(m, n, dtype=dtype),
        )
        for _ in range(input_sets(size, device.cache_bytes, most=2 if device.dry_run else 32))
    ]
    a, b, c = sets[0]
    torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"

    def check() -> float:
        error = row_error(a, b, c)
        c.fill_(float("nan"))
        return error

    contenders = [
        Contender("torch", [lambda s=s: torch.matmul(s[0], s[1], out=s[2]) for s in sets], check),  # type: ignore[misc]
    ]
    try:
        contenders.append(Contender("cupy", cupy_calls(sets, mode == "tf32"), check))
    except Exception as error:
        row["cupy"] = f"{type(error).__name__}: {error}"[:200]
    strides = (a.stride(0), a.stride(1), b.stride(0), b.stride(1))
    number = DTYPES[dtype]
    row["choice"] = device.module.matmul_choice(number, number, precision, m, n, k, 1, *strides)
    row["left_out"] = {}
    for variant in [None, *(name for name, *_ in device.module.matmul_variants())]:
        name = "automatic" if variant is None else variant
        known = rate.get((mode, name))
        if known is not None and row["flops"] / known > SLOW_SECONDS:
            row["left_out"][name] = "slow"
            continue
        try:
            calls = [kernel_call(device, variant, precision, *s) for s in sets]
        except Exception as error:
            row["left_out"][name] = f"{type(error).__name__}: {error}"[:200]
            continue
        contenders.append(Contender(name, calls, check))
    results = compare(contenders, device.clock, deadline, record.start, rounds=2 if device.dry_run else 7)
    row["results"] = [result.record() for result in results]
    for entry in row["results"]:
        if "seconds" in entry:
            rate[mode, entry["name"]] = row["flops"] / entry["seconds"]


if __name__ == "__main__":
    main("matmul", measure)
