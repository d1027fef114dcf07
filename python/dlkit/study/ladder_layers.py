"""The ladders of the layers chapter: what each step up is worth, in time and in bytes a second.

``python -m dlkit.study ladder layers --threads 1,2 --json bench/results`` measures them for docs/layers.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import dlkit.kernels as K
from dlkit.study.own import medians
from dlkit.study.results import header


class Case(NamedTuple):
    """One operation on one size: `run` takes a variant's name; `bytes` counts each element moved once."""

    operation: str
    name: str
    bytes: float
    run: Callable[..., Any]


def _as_it_is(array: Any) -> Any:
    return array


def cases(count: int = 1_000_000, put: Callable[[Any], Any] = _as_it_is) -> list[Case]:
    """Return the operations that have ladders, on about `count` elements of float32.

    Parameters
    ----------
    count : int
    put : callable, optional
        Given each array of NumPy, returns what to compute with: the array on a device, or of another dtype.
    """
    rng = np.random.default_rng(0)
    x, grad, out = (put(rng.standard_normal(count, dtype=np.float32)) for _ in range(3))
    size = f"{count / 1e6:g} M values"
    rows, classes = max(count * 7 // 10_000, 1), min(10_000, count)
    logits = put(rng.standard_normal((rows, classes), dtype=np.float32))
    labels = put(rng.integers(0, classes, rows))
    by_logit = np.empty_like(logits)
    batch = put(rng.standard_normal((64, max(count // 1000, 1)), dtype=np.float32))
    sums = put(np.empty(batch.shape[1], np.float32))
    table = put(rng.standard_normal((max(count // 100, 1), 200), dtype=np.float32))
    # As words are spread in a text: the k-th most common one has a share of about 1 / k.
    words = put(np.minimum(rng.zipf(1.2, max(count // 200, 1)), len(table)) - 1)
    vectors = put(rng.standard_normal((len(words), 200), dtype=np.float32))
    by_table = np.empty_like(table)
    rows_of = rng.standard_normal((max(count // 768, 1), 768), dtype=np.float32)
    images = rng.standard_normal((max(count // (64 * 28 * 28), 2), 64, 28, 28), dtype=np.float32)
    state = [[put(rng.standard_normal(count, dtype=np.float32))] for _ in range(3)]
    np.square(state[2][0], out=state[2][0])

    def adam(variant: str | None = None) -> Any:
        K.adam_step(state[0], [grad], state[1], state[2], step=10, lr=1e-6, variant=variant)
        return state

    def sgd(variant: str | None = None) -> Any:
        K.sgd_step(state[0], [grad], state[1], lr=1e-6, momentum=0.9, variant=variant)
        return state[:2]

    def embedding_backward(variant: str | None = None) -> Any:
        return K.embedding_backward(vectors, words, len(table), out=by_table, variant=variant)

    return [
        Case("activation", f"sigmoid, {size}", 8.0 * count, partial(K.activation, x, "sigmoid", out=out)),
        Case("activation", f"tanh, {size}", 8.0 * count, partial(K.activation, x, "tanh", out=out)),
        Case(
            "softmax",
            f"softmax, {rows}×{classes}",
            8.0 * logits.size,
            partial(K.softmax, logits, out=by_logit),
        ),
        Case(
            "cross_entropy",
            f"softmax cross-entropy and gradient, {rows}×{classes}",
            8.0 * logits.size,
            partial(K.cross_entropy, logits, labels, out=by_logit),
        ),
        Case(
            "dropout", f"dropout, {size}", 8.0 * count, partial(K.dropout, x, 0.5, seed=1, offset=0, out=out)
        ),
        Case(
            "column_sum",
            f"column sum, {batch.shape[0]}×{batch.shape[1]}",
            4.0 * batch.size,
            partial(K.column_sum, batch, out=sums),
        ),
        Case(
            "embedding",
            f"embedding, {len(words)} rows of {table.shape[0]}×{table.shape[1]}",
            8.0 * vectors.size,
            partial(K.embedding, table, words, out=vectors.copy()),
        ),
        Case(
            "embedding",
            f"embedding, gradient, {len(words)} rows of {table.shape[0]}×{table.shape[1]}",
            12.0 * vectors.size + 4.0 * table.size,
            embedding_backward,
        ),
        *_normalisation("layer_norm", "layer norm", rows_of, put, K.layer_norm, K.layer_norm_backward),
        *_normalisation("batch_norm", "batch norm", images, put, K.batch_norm, K.batch_norm_backward),
        Case("sgd_step", f"SGD with momentum, {size}", 20.0 * count, sgd),
        Case("adam_step", f"Adam, {size}", 28.0 * count, adam),
    ]


def tagging_cases(tags: int = 17, batch: int = 32, steps: int = 25) -> list[Case]:
    """Return the operations of conditional random fields, on sequences of one length: parts of speech by default."""
    rng = np.random.default_rng(0)
    emissions = rng.standard_normal((batch * steps, tags), dtype=np.float32)
    transitions = rng.standard_normal((tags, tags), dtype=np.float32)
    labels, sizes = rng.integers(0, tags, batch * steps), [batch] * steps
    size = f"{batch}×{steps}, {tags} tags"
    return [
        Case(
            "crf",
            f"conditional random field, loss and gradients, {size}",
            8.0 * emissions.size,
            partial(K.crf_loss_and_gradients, emissions, labels, sizes, transitions),
        ),
        Case(
            "crf",
            f"conditional random field, best sequences, {size}",
            4.0 * emissions.size + 8.0 * len(labels),
            partial(K.crf_decode, emissions, sizes, transitions),
        ),
    ]


def _normalisation(
    operation: str, name: str, x: Any, put: Callable[[Any], Any], forward: Any, backward: Any
) -> list[Case]:
    size = x.shape[-1 if operation == "layer_norm" else 1]
    shape = "×".join(map(str, x.shape))
    weight, bias = np.ones(size, np.float32), np.zeros(size, np.float32)
    _, *saved = forward(x, weight, bias)
    grad = np.ascontiguousarray(x[..., ::-1])  # not x: what is along it cancels
    grad, x, weight, bias, mean, rstd = (put(array) for array in (grad, x, weight, bias, *saved))
    out = np.empty_like(x)
    return [
        Case(operation, f"{name}, {shape}", 8.0 * x.size, partial(forward, x, weight, bias, out=out)),
        Case(
            operation,
            f"{name}, gradient, {shape}",
            12.0 * x.size,
            partial(backward, grad, x, mean, rstd, weight),
        ),
    ]


def measure(
    *,
    count: int = 1_000_000,
    threads: int = 1,
    rounds: int = 9,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Time every variant of every operation of the chapter.

    Parameters
    ----------
    count : int
        Elements of the arrays, about.
    threads : int
    rounds : int
        Turns of each variant.
    progress : callable, optional
        Called with one line before each operation.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record: ``machine``, ``ceiling`` and ``rows`` of ``name``, ``variant``, ``idea``, ``seconds`` and
        ``bytes``.
    """
    before = K.get_num_threads()
    K.set_num_threads(threads)
    rows = []
    try:
        for case in [*cases(count), *tagging_cases()]:
            if progress is not None:
                progress(f"ladder, {case.name}")
            steps = K.variants(case.operation)
            seconds = medians({s.name: partial(case.run, variant=s.name) for s in steps}, rounds=rounds)
            rows += [
                {
                    "name": case.name,
                    "variant": s.name,
                    "idea": s.idea,
                    "seconds": seconds[s.name],
                    "bytes": case.bytes,
                }
                for s in steps
            ]
        ceiling = {"peak": K.measure_peak(threads), "bandwidth": K.measure_bandwidth(threads)}
    finally:
        K.set_num_threads(before)
    return {
        **header(
            "ladder-layers", threads, command or f"python -m dlkit.study ladder layers --threads {threads}"
        ),
        "ceiling": ceiling,
        "rows": rows,
    }


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["operation: variant", "idea", "ms", "GB/s"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, as text."""
    return [
        [
            f"{row['name']}: {row['variant']}",
            row["idea"],
            f"{row['seconds'] * 1e3:.3g}",
            f"{row['bytes'] / row['seconds'] / 1e9:.3g}",
        ]
        for row in record["rows"]
    ]
