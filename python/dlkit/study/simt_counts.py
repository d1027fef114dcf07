"""The CUDA ladders on the SIMT machine: what each step does, counted, on any processor and without a GPU.

``dlkit study matmul --backend simt`` prints it; ``python -m dlkit.study simt matmul --json bench/results`` keeps it
for docs/matmul.md. Counts are no times: they are the same wherever dlkit was built by the same compiler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import dlkit
import dlkit.kernels as K
from dlkit.kernels import simt
from dlkit.kernels.backend import backend_named, to_host
from dlkit.study.ladder_layers import cases
from dlkit.study.results import today
from dlkit.study.workloads import make_inputs, matmul, parse_shape

OPERATIONS = ("matmul", "layers", "conv", "recurrent")

SHAPE = "256x256x256"
COUNT = 20_000
CONV = "2x32x14x14-64x3"
RECURRENT = "12x4x96-96"

#: Tiles by name, beside what the library chooses for the shape; each follows the step that it belongs to.
TILES = ("warp_tiled/128x128", "warp_tiled/256x128", "mma_tf32/128x256", "mma_16bit/128x256")

# Counts of a launch that say how it was launched, not what it did.
_LAUNCH = ("operation", "kernel", "grid", "block", "shared_bytes")


class Count(NamedTuple):
    """A column: its head, and what it shows of a row."""

    head: str
    cell: Callable[[dict[str, Any]], str]


def measure(
    operation: str = "matmul",
    *,
    size: str | None = None,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Run every step of the CUDA ladders on the SIMT machine, and count what each does.

    Parameters
    ----------
    operation : {"matmul", "layers", "conv", "recurrent"}
    size : str, optional
        Of ``matmul`` a shape as `dlkit.study.workloads.parse_shape` reads it, or one number for a square; of
        ``layers`` how many elements the arrays have, about; of ``conv`` images, filters and the extent of the kernel,
        NxCxHxW-FxK (images that are pooled have the next multiples of 4 as extents); of ``recurrent`` steps, sequences,
        inputs and units, TxBxI-H.
    progress : callable, optional
        Called with one line before each step.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record: ``size`` and, for each step, ``name``, ``idea``, ``kernels``, ``launches``, ``counts`` (those of
        ``dlkit._simt.counters()``, added up over the launches), what follows from them, and ``error``: the largest
        ‖out − out₆₄‖ / ‖out₆₄‖ against the CPU in float64. ``absent`` names what the machine cannot run.

    Raises
    ------
    ValueError
        If there is no such operation, or the size cannot be read.
    DeviceUnavailableError
        If this build has no SIMT machine.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"study: operation is {operation!r}; expected one of {', '.join(OPERATIONS)}")
    say = progress or (lambda line: None)
    machine = backend_named("simt").library
    before = machine.get_mode()
    machine.set_mode("count")
    try:
        if operation == "matmul":
            name, rows, absent = _matmul(machine, size or SHAPE, say)
        elif operation == "conv":
            name, rows, absent = _conv(machine, size or CONV, say)
        elif operation == "recurrent":
            name, rows, absent = _recurrent(machine, size or RECURRENT, say)
        else:
            name, rows, absent = _layers(machine, size or str(COUNT), say)
    finally:
        machine.reset_counters()
        machine.set_mode(before)
    return {
        "chapter": f"simt-{operation}",
        "threads": 1,
        "date": today(),
        "command": command or f"python -m dlkit.study simt {operation}",
        "machine": {"device": "simt"},
        "version": dlkit.__version__,
        "size": name,
        "absent": absent,
        "rows": rows,
    }


def _matmul(
    machine: Any, size: str, say: Callable[[str], None]
) -> tuple[str, list[dict[str, Any]], list[str]]:
    workload = matmul(*parse_shape("x".join([size] * 3) if size.isdecimal() else size))
    p, inputs = workload.params, make_inputs(workload)
    turns = {"trans_a": p["trans_a"], "trans_b": p["trans_b"]}
    exact = K.matmul(*(inputs[key].astype(np.float64) for key in "ab"), **turns)
    rows: list[dict[str, Any]] = []
    absent: list[str] = []
    for step in K.variants("matmul", "simt"):
        if "Hopper" in step.needs:  # wgmma and the copy engine are not emulated
            absent.append(step.name)
            continue
        half, tf32 = step.name.endswith("_16bit"), step.name.endswith("_tf32")
        operands = [simt.array(inputs[key], np.float16 if half else np.float32) for key in "ab"]
        for name in (step.name, *(tile for tile in TILES if tile.startswith(f"{step.name}/"))):
            say(f"matmul on the SIMT machine, {workload.name}, {name}")
            run: Callable[[], Any] = partial(
                K.matmul, *operands, **turns, variant=name, precision="tf32" if tf32 else "float32"
            )
            # The error is against the product of the numbers in float32: rounding them counts.
            row = _counted(machine, run, exact)
            rows.append({"name": name, "idea": step.idea, "dtype": operands[0].dtype.name, **row})
    return workload.name, rows, absent


def _layers(
    machine: Any, size: str, say: Callable[[str], None]
) -> tuple[str, list[dict[str, Any]], list[str]]:
    if not size.isdecimal() or int(size) == 0:
        raise ValueError(f"study: size is {size!r}; expected a number of elements from 1, such as {COUNT}")
    # Optimizers change what they are given: the exact run of a case takes the same steps as that on the machine.
    on_machine, exact = cases(int(size), put=simt.array), cases(int(size), put=_exact)
    rows: list[dict[str, Any]] = []
    absent: list[str] = []
    for case, reference in zip(on_machine, exact, strict=True):
        for step in K.variants(case.operation, "simt"):
            say(f"layers on the SIMT machine, {case.name}, {step.name}")
            try:
                row = _counted(machine, partial(case.run, variant=step.name), reference.run())
            except TypeError as error:
                if "is on simt" not in str(error):
                    raise
                # A function that takes no arrays of devices.
                absent += [case.operation] if case.operation not in absent else []
                break
            rows.append({"name": f"{case.name}: {step.name}", "idea": step.idea, "dtype": "float32", **row})
    return f"about {int(size):,} elements", rows, absent


def _conv(machine: Any, size: str, say: Callable[[str], None]) -> tuple[str, list[dict[str, Any]], list[str]]:
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)x(\d+)-(\d+)x(\d+)", size)
    numbers = [int(text) for text in found.groups()] if found else [0]
    if min(numbers) < 1:
        raise ValueError(f"study: size is {size!r}; expected NxCxHxW-FxK of numbers from 1, such as {CONV}")
    n, channels, height, width, filters, kernel = numbers
    if kernel > min(height, width):
        raise ValueError(f"study: size is {size!r}; expected a kernel that fits in the image")
    rng = np.random.default_rng(0)
    pad = kernel // 2
    rows: list[dict[str, Any]] = []
    for groups, outputs in ((1, filters), (channels, channels)):
        x = rng.standard_normal((n, channels, height, width)).astype(np.float32)
        weight = rng.standard_normal((outputs, channels // groups, kernel, kernel)).astype(np.float32)
        grad = K.conv2d(x, weight, padding=pad, groups=groups)
        settings: dict[str, Any] = {"padding": pad, "groups": groups}
        for operation, call, first, second, extra in (
            ("conv2d", K.conv2d, x, weight, ()),
            ("conv2d_backward_input", K.conv2d_backward_input, grad, weight, ((height, width),)),
            ("conv2d_backward_weight", K.conv2d_backward_weight, grad, x, ((kernel, kernel),)),
        ):
            exact = call(first.astype(np.float64), second.astype(np.float64), *extra, **settings)
            operands = simt.array(first), simt.array(second)
            for step in K.variants(operation, "simt"):
                unfit = (step.name == "winograd" and kernel != 3) or (groups > 1) != (
                    step.name == "depthwise"
                )
                if unfit and step.name != "naive":
                    continue
                what = operation + (", depthwise" if groups > 1 else "")
                say(f"conv on the SIMT machine, {size}, {what}, {step.name}")
                row = _counted(
                    machine, partial(call, *operands, *extra, **settings, variant=step.name), exact
                )
                tile = next((name for name in row["kernels"] if name.startswith(f"{step.name}/")), step.name)
                rows.append({"name": f"{what}: {tile}", "idea": step.idea, "dtype": "float32", **row})
    wide = -(-height // 4) * 4, -(-width // 4) * 4  # so that planes have rows of 16 bytes
    rows += _pool(machine, rng.standard_normal((n, channels, *wide)), say)
    return f"{n}×{channels}×{height}×{width} → {filters}, {kernel}×{kernel}", rows, []


def _pool(machine: Any, images: Any, say: Callable[[str], None]) -> list[dict[str, Any]]:
    # Pooling of images: windows of 2×2, whole planes, planes as sequences, pairs of channels.
    rows: list[dict[str, Any]] = []
    single = np.maximum(images, 0).astype(np.float32)  # as after ReLU, which drawing is for

    def both(x: Any) -> Iterator[tuple[str, str, Callable[..., Any]]]:
        n, channels, height, width = x.shape
        size = height, width
        y, places = K.max_pool2d(x, 2, return_indices="places")
        yield "max_pool2d", "2×2", partial(K.max_pool2d, x, 2, return_indices="places")
        yield "max_pool2d_backward", "2×2", partial(K.max_pool2d_backward, y, places, size, 2)
        yield "avg_pool2d", "2×2", partial(K.avg_pool2d, x, 2)
        yield "avg_pool2d_backward", "2×2", partial(K.avg_pool2d_backward, y, size, 2)
        yield "stochastic_pool2d", "2×2", partial(K.stochastic_pool2d, x, 2, seed=0, offset=0)
        yield "stochastic_average2d", "2×2", partial(K.stochastic_average2d, x, 2)
        yield "stochastic_average2d_backward", "2×2", partial(K.stochastic_average2d_backward, y, x, 2)
        y = K.adaptive_avg_pool2d(x, 1)
        yield "adaptive_avg_pool2d", "global", partial(K.adaptive_avg_pool2d, x, 1)
        yield "adaptive_avg_pool2d_backward", "global", partial(K.adaptive_avg_pool2d_backward, y, size)
        yield "adaptive_max_pool2d", "global", partial(K.adaptive_max_pool2d, x, 1)
        lines = x.reshape(n, channels, height * width)
        yield "max_over_time", f"{height * width} steps", partial(K.max_over_time, lines)
        yield "k_max_pool1d", f"3 of {height * width}", partial(K.k_max_pool1d, lines, 3)
        if channels % 2 == 0:
            yield "maxout", "pairs", partial(K.maxout, x, 2, return_indices="places")

    for (operation, what, call), (_, _, exact) in zip(
        both(simt.array(single)), both(single.astype(np.float64)), strict=True
    ):
        reference = exact()
        for step in K.variants(operation, "simt"):
            say(f"conv on the SIMT machine, {operation}, {what}, {step.name}")
            try:
                row = _counted(machine, partial(call, variant=step.name), reference)
            except ValueError as error:
                if f"variant '{step.name}' needs" not in str(error):
                    raise
                continue
            name = f"{operation}, {what}: {step.name}"
            rows.append({"name": name, "idea": step.idea, "dtype": "float32", **row})
    return rows


def _recurrent(
    machine: Any, size: str, say: Callable[[str], None]
) -> tuple[str, list[dict[str, Any]], list[str]]:
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)-(\d+)", size)
    numbers = [int(text) for text in found.groups()] if found else [0]
    if min(numbers) < 1:
        raise ValueError(
            f"study: size is {size!r}; expected TxBxI-H of numbers from 1, such as {RECURRENT}: steps, sequences, "
            "inputs, units"
        )
    steps, batch, inputs, hidden = numbers
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for cell, directions in (("tanh", 1), ("gru", 1), ("lstm", 1), ("lstm", 2)):
        gates, bound = K.CELLS[cell].gates, hidden**-0.5
        shapes = (gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,)
        arrays = [rng.standard_normal((steps * batch, size)) for size in (inputs, directions * hidden)]
        arrays += [rng.uniform(-bound, bound, shape) for shape in directions * shapes]

        def both(put: Callable[[Any], Any], cell: str, variant: str | None, given: list[Any]) -> Any:
            # Returns the two passes, so that each can be counted alone.
            x, dy, *parts = map(put, given)
            layer = [K.RecurrentWeights(*parts[at : at + 4]) for at in range(0, len(parts), 4)]
            sizes = [batch] * steps
            settings: dict[str, Any] = {"cell": cell, "variant": variant}
            kept: list[Any] = []

            def forward() -> Any:
                y, hn, _, saved = K.recurrent(x, layer, sizes, keep=True, **settings)
                kept[:] = saved, y
                return y, hn

            def backward() -> Any:
                saved, y = kept
                return K.recurrent_backward(saved, x, layer, sizes, y, dy, **settings)

            return forward, backward

        exact = [run() for run in both(np.asarray, cell, "naive", arrays)]
        single = [array.astype(np.float32) for array in arrays]
        for step in K.variants("recurrent", "simt"):
            say(f"recurrent on the SIMT machine, {size}, {cell}, {step.name}")
            passes = both(simt.array, cell, step.name, single)
            of = cell + ", both directions" * (directions - 1)
            for run, reference, what in zip(passes, exact, ("", ", backward"), strict=True):
                row = _counted(machine, run, reference)
                name = f"{of}{what}: {step.name}"
                rows.append({"name": name, "idea": step.idea, "dtype": "float32", **row})
    return f"{steps} steps of {batch} sequences, {inputs} → {hidden}", rows, []


def _exact(array: Any) -> Any:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _counted(machine: Any, run: Callable[[], Any], exact: Any) -> dict[str, Any]:
    machine.reset_counters()
    result = run()
    launches = machine.counters()
    counts: dict[str, int] = {}
    for launch in launches:
        for name, value in launch.items():
            if name not in _LAUNCH:
                counts[name] = counts.get(name, 0) + value
    moved = 32 * sum(counts[f"global_{kind}_sectors"] for kind in ("load", "store", "atomic"))
    return {
        "kernels": [launch["kernel"] for launch in launches],
        "launches": len(launches),
        "counts": counts,
        "load_efficiency": _share(counts["global_load_bytes"], 32 * counts["global_load_sectors"]),
        "store_efficiency": _share(counts["global_store_bytes"], 32 * counts["global_store_sectors"]),
        "bytes_moved": moved,
        "flops_per_byte": _share(counts["flops"] + counts["tensor_flops"], moved),
        "lane_efficiency": _share(counts["active_lanes"], 32 * counts["basic_blocks"]),
        "error": _error(result, exact),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _error(result: Any, exact: Any) -> float:
    found = 0.0
    for one, other in zip(_arrays(result), _arrays(exact), strict=True):
        size = float(np.linalg.norm(other))
        away = float(np.linalg.norm(one.astype(np.float64) - other))
        found = max(found, away / size if size else away)
    return found


def _arrays(result: Any) -> list[Any]:
    if isinstance(result, (list, tuple)):
        return [array for item in result for array in _arrays(item)]
    return [] if result is None else [np.asarray(to_host(result)).ravel()]


def _sum(*names: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: _whole(sum(row["counts"][name] for name in names))


def _whole(value: int) -> str:
    return f"{value:,}" if value else "–"


def _percent(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "–" if row[name] is None else f"{100 * row[name]:.3g} %"


def _number(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "–" if row[name] is None else f"{row[name]:.2g}"


_SHARED = ("load", "store", "atomic")
_FLOPS = Count("FLOPs", _sum("flops"))
_TENSOR = Count("tensor FLOPs", _sum("tensor_flops"))
_LOADS = Count("load sectors", _sum("global_load_sectors"))
_INTENSITY = Count("FLOP/byte", _number("flops_per_byte"))
_SPECIAL = Count("special functions", _sum("special"))
_BARRIERS = Count("barriers", _sum("barriers"))
_ERROR = Count("relative error", lambda row: f"{row['error']:.1e}")

_ALL = (
    Count("launches", lambda row: str(row["launches"])),
    _FLOPS,
    _TENSOR,
    _SPECIAL,
    _LOADS,
    Count("used", _percent("load_efficiency")),
    Count("store sectors", _sum("global_store_sectors")),
    Count("used", _percent("store_efficiency")),
    _INTENSITY,
    Count("shared wavefronts", _sum(*(f"shared_{kind}_wavefronts" for kind in _SHARED))),
    Count("bank conflicts", _sum(*(f"shared_{kind}_conflicts" for kind in _SHARED))),
    Count("divergent branches", _sum("divergent_branches")),
    Count("lanes", _percent("lane_efficiency")),
    _BARRIERS,
    _ERROR,
)
# What a page has room for.
_FEW = (
    Count("load requests", _sum("global_load_requests")),
    _LOADS,
    Count("used", _percent("load_efficiency")),
    _INTENSITY,
    Count("shared loads", _sum("shared_load_requests")),
    Count("their wavefronts", _sum("shared_load_wavefronts")),
    _BARRIERS,
    _ERROR,
)


def head(record: dict[str, Any]) -> str:
    """Return the line that says what was counted, and how."""
    absent = f"without {', '.join(record['absent'])}; " if record["absent"] else ""
    return (
        f"Counts of the SIMT machine, {record['size']}; {absent}dlkit {record['version']}; {record['date']}; "
        f"`{record['command']}`"
    )


def _shown(record: dict[str, Any], summary: bool) -> list[Count]:
    # Without the kinds of arithmetic that no row has.
    return [
        count
        for count in (_FEW if summary else _ALL)
        if count not in (_TENSOR, _SPECIAL) or any(count.cell(row) != "–" for row in record["rows"])
    ]


def columns(record: dict[str, Any], summary: bool = False) -> list[str]:
    """Return the column heads of the table; with `summary` of fewer columns."""
    return ["variant", *(count.head for count in _shown(record, summary))]


def rows(record: dict[str, Any], summary: bool = False) -> list[list[str]]:
    """Return the cells of the table, as text."""
    shown = _shown(record, summary)
    return [[_label(row), *(count.cell(row) for count in shown)] for row in record["rows"]]


def _label(row: dict[str, Any]) -> str:
    # The tile that the library chose is in the kernel's name.
    chosen = next((name for name in row["kernels"] if name.startswith(f"{row['name']}/")), row["name"])
    return f"{chosen}{'' if row['dtype'] == 'float32' else ', ' + row['dtype']}"
