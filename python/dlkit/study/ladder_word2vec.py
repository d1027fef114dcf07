"""The ladder of the word2vec chapter: what each step up is worth for the four updates.

``python -m dlkit.study ladder word2vec --threads 1 --json bench/results`` measures it for docs/word2vec.md. Words come
from a vocabulary of 1,000, whose rows stay in the second-level cache: it is the arithmetic that is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import dlkit.kernels as K
from dlkit import _cpu
from dlkit.study.own import medians
from dlkit.study.results import header

_VOCABULARY = 1000


class Shape(NamedTuple):
    """A word's update: the operation, how many words are around it, how many rows it is told from, their size."""

    operation: str
    contexts: int
    outputs: int
    dim: int

    @property
    def name(self) -> str:
        """As the table's head has it."""
        return f"{self.operation}, {self.contexts} contexts, {self.outputs} outputs, {self.dim}"

    @property
    def flops(self) -> float:
        """Operations of a word's update."""
        rows = 1 if self.operation.startswith("cbow") else self.contexts
        bag = 2.0 * self.contexts * self.dim if self.operation.startswith("cbow") else 0.0
        return 6.0 * rows * self.outputs * self.dim + bag


#: Windows of 5 have 6 words on average; 5 negatives and the word itself; a path in a tree of 70,000 leaves.
SHAPES = (
    Shape("sgns_update", 6, 6, 100),
    Shape("sgns_update", 6, 6, 300),
    Shape("sghs_update", 6, 14, 100),
    Shape("cbow_update", 6, 6, 100),
    Shape("cbow_update", 6, 6, 300),
    Shape("cbow_hs_update", 6, 14, 100),
)


def measure(
    *,
    shapes: Sequence[Shape] | None = None,
    threads: int = 1,
    rounds: int = 7,
    words: int = 2000,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time every variant of the updates.

    Parameters
    ----------
    shapes : sequence of Shape, optional
        Default: `SHAPES`.
    threads : int
        For the record: an update has one.
    rounds : int
        Turns of each variant.
    words : int
        Updated in one call.
    progress : callable, optional
        Called with one line before each shape.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record: ``machine``, ``ceiling``, ``shapes`` and ``rows`` of ``name``, ``idea``, and at each shape
        ``nanoseconds`` of a word and ``flops`` a second.
    """
    wanted = list(shapes or SHAPES)
    steps = K.variants("sgns_update")
    seconds: dict[str, list[float]] = {step.name: [] for step in steps}
    peak = K.measure_peak(1)
    for shape in wanted:
        if progress is not None:
            progress(f"word2vec ladder, {shape.name}")
        runs = {step.name: _run(shape, words, step.name) for step in steps}
        for name, taken in medians(runs, rounds=rounds).items():
            seconds[name].append(taken / words)
    return {
        **header("ladder-word2vec", threads, command or "python -m dlkit.study ladder word2vec"),
        "ceiling": {"peak": max(peak, K.measure_peak(1)), "bandwidth": K.measure_bandwidth(1)},
        "shapes": [shape.name for shape in wanted],
        "rows": [
            {
                "name": step.name,
                "idea": step.idea,
                "nanoseconds": [1e9 * each for each in seconds[step.name]],
                "flops": [shape.flops / each for shape, each in zip(wanted, seconds[step.name], strict=True)],
            }
            for step in steps
        ],
    }


def _run(shape: Shape, words: int, variant: str) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    w_in = (rng.random((_VOCABULARY, shape.dim), np.float32) - np.float32(0.5)) / shape.dim
    w_out = rng.standard_normal((_VOCABULARY, shape.dim), np.float32) / np.float32(shape.dim)
    inputs = rng.integers(0, _VOCABULARY, (words, shape.contexts))
    outputs = rng.integers(0, _VOCABULARY, (words, shape.outputs))
    labels = np.zeros(outputs.shape, np.uint8)
    labels[:, 0] = 1
    cbow = shape.operation.startswith("cbow")
    # Without the loss, which the engine asks of one word in 32.
    return partial(
        _cpu.update_words,
        shape.operation,
        inputs,
        outputs,
        labels,
        w_in,
        w_out,
        0.01,
        cbow,
        True,
        False,
        False,
        variant,
    )


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["variant", "idea", *record["shapes"]]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table as text: nanoseconds of a word, and GFLOP/s."""
    return [
        [
            row["name"],
            row["idea"],
            *(
                f"{time:,.0f} ({flops / 1e9:.3g})"
                for time, flops in zip(row["nanoseconds"], row["flops"], strict=True)
            ),
        ]
        for row in record["rows"]
    ]
