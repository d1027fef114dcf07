"""The ladder of the recurrent chapter: what each step up is worth, from a loop in Python to packed weights.

``python -m dlkit.study ladder recurrent --threads 1,2 --json bench/results`` measures it for docs/recurrent.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import dlkit as dl
import dlkit.kernels as K
from dlkit.kernels import RecurrentWeights
from dlkit.nn.recurrent_steps import recurrent_steps
from dlkit.study.own import medians
from dlkit.study.recurrent_workloads import PARTS, Shape, costs, make_inputs, parts_of
from dlkit.study.results import header


class Operation(NamedTuple):
    """What of a layer is timed."""

    name: str
    kind: str  # of `dlkit.study.recurrent_workloads.KINDS`
    cell: str
    layer_norm: bool = False


OPERATIONS = (
    Operation("LSTM, forward", "recurrent_forward", "lstm"),
    Operation("LSTM, training step", "recurrent_step", "lstm"),
    Operation("the same, layer norm", "recurrent_step", "lstm", True),
    Operation("GRU, training step", "recurrent_step", "gru"),
)
#: Steps, sequences, features, units: language models, a tagger, a single sequence.
SIZES = ((35, 20, 200, 200), (35, 20, 650, 650), (50, 32, 100, 128), (100, 1, 128, 128))
LOOP = "python"
_IDEAS = {
    LOOP: "a loop over steps in Python: each some twenty operations of the graph",
    **{step.name: step.idea for step in K.variants("recurrent")},
    "default": "the one that the shape gets",
}


def measure(
    *,
    shapes: Sequence[Sequence[int]] | None = None,
    threads: int = 1,
    rounds: int = 7,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time every variant of a few layers, and the loop in Python that they replace.

    Parameters
    ----------
    shapes : sequence of (T, B, I, H), optional
        Default: `SIZES`.
    threads : int
    rounds : int
        Turns of each variant.
    progress : callable, optional
        Called with one line before each operation at each shape.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record: ``machine``, ``ceiling``, ``shapes`` and ``rows`` of ``operation``, ``name``, ``idea``, and at each
        shape ``seconds`` and ``flops`` a second.
    """
    wanted = [tuple(shape) for shape in shapes or SIZES]
    before = K.get_num_threads()
    K.set_num_threads(threads)
    rows: dict[tuple[str, str], dict[str, Any]] = {
        (operation.name, name): {
            "operation": operation.name,
            "name": name,
            "idea": idea,
            "seconds": [],
            "flops": [],
        }
        for operation in OPERATIONS
        for name, idea in _IDEAS.items()
    }
    try:
        peak = K.measure_peak(threads)
        for size in wanted:
            for operation in OPERATIONS:
                steps, batch, inputs, hidden = size
                shape = Shape(operation.cell, steps, batch, inputs, hidden, layer_norm=operation.layer_norm)
                if progress is not None:
                    progress(f"recurrent ladder, {_size_name(size)}: {operation.name}")
                flops = costs(operation.kind, vars(shape))[0]
                for name, seconds in medians(_runs(operation.kind, shape), rounds=rounds).items():
                    row = rows[operation.name, name]
                    row["seconds"].append(seconds)
                    row["flops"].append(flops / seconds)
        ceiling = {"peak": max(peak, K.measure_peak(threads)), "bandwidth": K.measure_bandwidth(threads)}
    finally:
        K.set_num_threads(before)
    return {
        **header(
            "ladder-recurrent",
            threads,
            command or f"python -m dlkit.study ladder recurrent --threads {threads}",
        ),
        "ceiling": ceiling,
        "shapes": [_size_name(size) for size in wanted],
        "rows": list(rows.values()),
    }


def _size_name(size: Sequence[int]) -> str:
    steps, batch, inputs, hidden = size
    return f"{steps}×{batch}, {inputs} → {hidden}"


def _runs(kind: str, shape: Shape) -> dict[str, Callable[[], Any]]:
    """The loop and every variant, ready to run on the same numbers."""
    p = vars(shape)
    arrays = make_inputs(kind, p, np.random.default_rng(0))
    x = arrays["x"].reshape(-1, shape.inputs)
    grad = arrays["grad"].reshape(len(x), shape.hidden) if kind == "recurrent_step" else None
    plain = RecurrentWeights(*(arrays[part + "_l0"] for part in PARTS))
    weights = plain._replace(**{part: arrays[part + "_l0"] for part in parts_of(p)[len(PARTS) :]})
    sizes = [shape.batch] * shape.steps
    runs: dict[str, Callable[[], Any]] = {LOOP: _loop(shape.cell, x, weights, sizes, grad)}
    for name in _IDEAS:
        if name != LOOP:
            variant = None if name == "default" else name
            runs[name] = _kernel(shape.cell, x, weights, sizes, grad, variant)
    return runs


def _kernel(
    cell: str, x: Any, weights: RecurrentWeights, sizes: list[int], grad: Any, variant: str | None
) -> Callable[[], Any]:
    out = [RecurrentWeights(*(None if w is None else np.empty_like(w) for w in weights))]

    def run() -> Any:
        y, _, _, saved = K.recurrent(x, [weights], sizes, cell=cell, keep=grad is not None, variant=variant)
        if saved is None:
            return y
        return K.recurrent_backward(
            saved, x, [weights], sizes, y, grad, cell=cell, by_state=False, out=out, variant=variant
        )

    return run


def _loop(cell: str, x: Any, weights: RecurrentWeights, sizes: list[int], grad: Any) -> Callable[[], Any]:
    leaves = [dl.tensor(x, requires_grad=grad is not None)]
    tensors = [None if w is None else dl.tensor(w, requires_grad=grad is not None) for w in weights]
    leaves += [t for t in tensors if t is not None]
    given: Any = RecurrentWeights(*tensors)

    def run() -> Any:
        if grad is None:
            with dl.no_grad():
                return recurrent_steps(leaves[0], [given], sizes, cell=cell).output
        for leaf in leaves:
            leaf.zero_grad()
        recurrent_steps(leaves[0], [given], sizes, cell=cell).output.backward(grad)
        return leaves

    return run


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["layer: variant", *record["shapes"]]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table as text: milliseconds, and GFLOP/s."""
    return [
        [
            f"{row['operation']}: {row['name']}",
            *(
                f"{_milliseconds(seconds)} ({flops / 1e9:.3g})"
                for seconds, flops in zip(row["seconds"], row["flops"], strict=True)
            ),
        ]
        for row in record["rows"]
    ]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"
