"""What is compared: the workloads of each chapter, their inputs, their answers in float64, their cost.

A workload is plain data, so that it travels to a worker process as JSON; its inputs come from a seed, so that
every worker builds the same ones.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlkit.study import (
    cnn_workloads,
    conv_workloads,
    layer_workloads,
    lm_workloads,
    mlp_workloads,
    nnlm_workloads,
    recurrent_workloads,
    tagger_workloads,
    text_workloads,
    window_workloads,
)

Arrays = dict[str, NDArray[Any]]
Bound = Literal["flops", "bytes", "call"]

CHAPTERS = ("matmul", "layers", "conv", "recurrent", "models")

_SHAPE = re.compile(r"^(\d+)x(\d+)x(\d+)([tn]{2})?$")


@dataclass(frozen=True)
class Workload:
    """One thing to time.

    Parameters
    ----------
    name : str
        What a table calls it.
    kind : str
        Which operation: the name a library module looks up.
    params : dict
        Sizes and settings of the operation.
    unit : {"GFLOP/s", "ms", "us", "samples/s", "tokens/s"}
        What a table shows.
    flops, bytes : float
        Floating-point operations, and bytes that must be moved at least (each operand and each result once).
    bound : {"flops", "bytes", "call"}
        Which ceiling it is held against; ``call`` has none: it is the overhead of calling.
    samples : int
        Training samples or tokens handled by one run, for ``samples/s`` and ``tokens/s``.
    tolerance : float
        The largest ‖out − ref‖ / ‖ref‖ with which a peer passes.
    """

    name: str
    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    unit: str = "ms"
    flops: float = 0.0
    bytes: float = 0.0
    bound: Bound = "bytes"
    samples: int = 0
    tolerance: float = 1e-5

    def to_json(self) -> dict[str, Any]:
        """Return the workload as a dict of plain values."""
        return asdict(self)

    def value(self, seconds: float) -> float:
        """Return what `seconds` a run amount to, in `unit`."""
        if self.unit == "GFLOP/s":
            return self.flops / seconds / 1e9
        if self.unit in ("samples/s", "tokens/s"):
            return self.samples / seconds
        return seconds * (1e3 if self.unit == "ms" else 1e6)


def parse_shape(text: str) -> tuple[int, int, int, bool, bool]:
    """Read a shape as people write it: ``MxKxN``, with ``tn``, ``nt`` or ``tt`` appended if transposed.

    Examples
    --------
    >>> parse_shape("64x784x512")
    (64, 784, 512, False, False)
    >>> parse_shape("784x64x512tn")
    (784, 64, 512, True, False)

    Raises
    ------
    ValueError
        If the text is no such shape, or a dimension is zero.
    """
    match = _SHAPE.match(text.strip().lower().replace("×", "x"))
    if match is None or any(int(match[i]) == 0 for i in (1, 2, 3)):
        raise ValueError(
            f"bench: shape is {text!r}; expected MxKxN with whole numbers from 1, such as 64x784x512 or "
            "784x64x512tn (first operand transposed)"
        )
    m, k, n = (int(match[i]) for i in (1, 2, 3))
    letters = match[4] or "nn"
    return m, k, n, letters[0] == "t", letters[1] == "t"


def matmul(m: int, k: int, n: int, trans_a: bool = False, trans_b: bool = False) -> Workload:
    """Return the product of an M×K with a K×N matrix in float32."""
    name = f"{m}×{k}×{n}"
    if trans_a or trans_b:
        name += {(True, False): ", first transposed", (False, True): ", second transposed"}.get(
            (trans_a, trans_b), ", both transposed"
        )
    tiny = m * k * n <= 64
    return Workload(
        name=name + (" (one call)" if tiny else ""),
        kind="matmul",
        params={"m": m, "k": k, "n": n, "trans_a": trans_a, "trans_b": trans_b},
        unit="us" if tiny else "GFLOP/s",
        flops=2.0 * m * k * n,
        bytes=4.0 * (m * k + k * n + m * n),
        bound="call" if tiny else "flops",
        tolerance=1e-5,
    )


# The shapes that the layers of the course's models are made of, and squares.
_MATMUL_SHAPES = [
    "2x2x2",
    "32x32x32",
    "64x64x64",
    "128x128x128",
    "512x512x512",
    "1024x1024x1024",
    "2048x2048x2048",
    "64x784x512",
    "64x512x10",
    "1x512x2048",
    "20x200x800",
    "20x650x2600",
    "20x1500x6000",
    "700x200x10000",
    "784x64x512tn",
    "64x512x784nt",
    "20x2600x650nt",
]


def _elementwise(kind: str, count: int, flops: float) -> Workload:
    millions = f"{count // 1_000_000} M" if count % 1_000_000 == 0 else f"{count}"
    return Workload(
        name=f"{kind}, {millions} values",
        kind=kind,
        params={"count": count},
        flops=flops * count,
        bytes=8.0 * count,
        tolerance=1e-6,
    )


def _cross_entropy(rows: int, classes: int, kind: str = "cross_entropy") -> Workload:
    through = " through autograd" if kind == "cross_entropy_autograd" else ""
    return Workload(
        name=f"softmax cross-entropy{through}, forward + backward, {rows}×{classes}",
        kind=kind,
        params={"rows": rows, "classes": classes},
        flops=6.0 * rows * classes,
        bytes=8.0 * rows * classes,
        tolerance=1e-5,
    )


def _norm(kind: str, shape: Sequence[int]) -> Workload:
    size = float(np.prod(shape))
    return Workload(
        name=f"{kind.replace('_', ' ')}, forward + backward, {'×'.join(map(str, shape))}",
        kind=kind,
        params={"shape": list(shape)},
        flops=22.0 * size,
        bytes=20.0 * size,
        tolerance=1e-5,
    )


def _adam(count: int) -> Workload:
    return Workload(
        name=f"Adam step, {count / 1e6:g} M parameters",
        kind="adam",
        params={"count": count, "lr": 1e-3},
        flops=15.0 * count,
        bytes=28.0 * count,
        tolerance=1e-3,  # the change of a parameter near 1 by thousandths keeps four digits in float32
    )


def _linear(m: int, k: int, n: int) -> Workload:
    return Workload(
        name=f"linear + bias + ReLU, {m}×{k}×{n}",
        kind="linear_relu",
        params={"m": m, "k": k, "n": n},
        flops=2.0 * m * k * n,
        bytes=4.0 * (m * k + k * n + n + m * n),
        bound="flops",
    )


def mlp_step(sizes: Sequence[int], batch: int) -> Workload:
    """Return one training step of a multi-layer perceptron: forward, loss, backward, Adam."""
    products = sum(i * o for i, o in itertools.pairwise(sizes))
    # Forward, gradient of the weights, and gradient of the inputs: none for the data itself.
    flops = 2.0 * batch * (3 * products - sizes[0] * sizes[1])
    parameters = products + sum(sizes[1:])
    return Workload(
        name=f"MLP {'-'.join(map(str, sizes))}, batch {batch}, Adam: one training step",
        kind="mlp_step",
        params={"sizes": list(sizes), "batch": batch, "batches": 16, "lr": 1e-3},
        unit="samples/s",
        flops=flops,
        bytes=28.0 * parameters,
        bound="flops",
        samples=batch,
        tolerance=2e-2,
    )


def cnn_step(
    filters: Sequence[int],
    hidden: Sequence[int],
    batch: int,
    *,
    kernel: int = 5,
    padding: int = 0,
    side: int = 28,
    title: str = "CNN",
) -> Workload:
    """Return one training step of a CNN on grey images: convolutions with ReLU and 2×2 max-pooling, linear layers.

    Only the first convolution is padded.
    """
    channels, size, count, parameters = 1, side, 0, 0
    flops = 0.0
    for i, maps in enumerate(filters):
        size = size + 2 * (padding if i == 0 else 0) - kernel + 1
        products = maps * channels * kernel**2
        # Forward, gradient of the weights, and gradient of the inputs: none for the data itself.
        flops += 2.0 * batch * products * size**2 * (2 if i == 0 else 3)
        parameters += products + maps
        channels, size, count = maps, size // 2, maps * (size // 2) ** 2
    sizes = [count, *hidden, 10]
    for fan_in, fan_out in itertools.pairwise(sizes):
        flops += 6.0 * batch * fan_in * fan_out
        parameters += fan_in * fan_out + fan_out
    return Workload(
        name=f"{title} {'-'.join(map(str, (*filters, *hidden)))}, batch {batch}, Adam: one training step",
        kind="cnn_step",
        params={
            "filters": list(filters),
            "sizes": sizes,
            "kernel": kernel,
            "padding": padding,
            "side": side,
            "batch": batch,
            "batches": 16,
            "lr": 1e-3,
        },
        unit="samples/s",
        flops=flops,
        bytes=28.0 * parameters,
        bound="flops",
        samples=batch,
        tolerance=2e-2,
    )


def text_cnn_step(
    words: int = 18_000,
    dimensions: int = 300,
    filters: int = 100,
    regions: Sequence[int] = (3, 4, 5),
    batch: int = 50,
    length: int = 56,
) -> Workload:
    """Return one training step of Kim's network for sentences, word vectors trained: forward, loss, backward, Adam."""
    # The products of the forward pass; backward needs no more than one window of each sentence.
    forward = sum(2.0 * batch * (length - r + 1) * filters * r * dimensions for r in regions)
    backward = sum(4.0 * batch * filters * r * dimensions for r in regions)
    parameters = words * dimensions + sum(regions) * dimensions * filters
    return Workload(
        name=f"TextCNN {filters}×{','.join(map(str, regions))}, {words} words of {dimensions}, batch {batch}×{length}, "
        f"Adam: one training step",
        kind="text_cnn_step",
        params={
            "words": words,
            "dimensions": dimensions,
            "filters": filters,
            "regions": list(regions),
            "batch": batch,
            "batches": 8,
            "length": length,
            "lr": 1e-3,
        },
        unit="samples/s",
        flops=forward + backward,
        bytes=28.0 * parameters,
        bound="flops",
        samples=batch,
        tolerance=2e-2,
    )


def window_step(
    words: int = 15_000,
    tags: int = 17,
    dimensions: int = 100,
    window: int = 5,
    hidden: int = 300,
    batch: int = 32,
    length: int = 25,
) -> Workload:
    """Return one training step of a window tagger: forward, loss, backward, Adam."""
    layers = window * dimensions * hidden + hidden * tags
    return Workload(
        name=f"window tagger, {window}×{dimensions} → {hidden}, {words} words, batch {batch}×{length}, Adam: one "
        f"training step",
        kind="window_step",
        params={
            "words": words,
            "tags": tags,
            "dimensions": dimensions,
            "window": window,
            "hidden": hidden,
            "batch": batch,
            "batches": 8,
            "length": length,
            "lr": 1e-3,
        },
        unit="samples/s",
        flops=6.0 * batch * length * layers,
        bytes=28.0 * (words * dimensions + layers),
        bound="flops",
        samples=batch,
        tolerance=2e-2,
    )


def tagger_step(
    words: int = 5_000,
    tags: int = 17,
    dimensions: int = 100,
    hidden: int = 128,
    batch: int = 32,
    length: int = 25,
) -> Workload:
    """Return one training step of a tagger of one LSTM layer that reads both ways: forward, loss, backward, Adam."""
    layer = 2 * 4 * hidden * (dimensions + hidden)
    parameters = words * dimensions + layer + 2 * hidden * tags
    return Workload(
        name=f"tagger, LSTM {dimensions} → 2×{hidden}, {words} words, batch {batch}×{length}, Adam: one training step",
        kind="tagger_step",
        params={
            "words": words,
            "tags": tags,
            "dimensions": dimensions,
            "hidden": hidden,
            "batch": batch,
            "batches": 8,
            "length": length,
            "lr": 1e-3,
        },
        unit="samples/s",
        flops=6.0 * batch * length * (layer + 2 * hidden * tags),
        bytes=28.0 * parameters,
        bound="flops",
        samples=batch,
        tolerance=2e-2,
    )


def lm_step(
    title: str, words: int = 10_000, hidden: int = 200, layers: int = 2, steps: int = 35, batch: int = 20
) -> Workload:
    """Return one training step of a language model of LSTM layers (Zaremba et al. 2014): forward, loss, backward, SGD.

    Gradients are clipped by their norm before they are followed.
    """
    products = layers * 8 * hidden * hidden + hidden * words
    parameters = products + layers * 8 * hidden + words + words * hidden
    return Workload(
        name=f"language model, {title}: LSTM {layers}×{hidden}, {words} words, batch {batch}×{steps}, SGD: "
        "one training step",
        kind="lm_step",
        params={
            "words": words,
            "hidden": hidden,
            "layers": layers,
            "steps": steps,
            "batch": batch,
            "batches": 4,
            "lr": 1.0,
            "clip_norm": 0.25,
        },
        unit="tokens/s",
        flops=6.0 * batch * steps * products,
        bytes=12.0 * parameters,
        bound="flops",
        samples=batch * steps,
        tolerance=2e-2,
    )


def nnlm_step(
    words: int = 10_000, order: int = 5, dimensions: int = 60, hidden: int = 100, batch: int = 128
) -> Workload:
    """Return one training step of a feed-forward language model (Bengio et al. 2003): forward, loss, backward, SGD."""
    seen = (order - 1) * dimensions
    products = seen * hidden + hidden * words
    parameters = products + hidden + words + words * dimensions
    return Workload(
        name=f"feed-forward language model, {order - 1}×{dimensions} → {hidden}, {words} words, batch {batch}, SGD: "
        "one training step",
        kind="nnlm_step",
        params={
            "words": words,
            "order": order,
            "dimensions": dimensions,
            "hidden": hidden,
            "batch": batch,
            "batches": 8,
            "lr": 0.1,
        },
        unit="samples/s",
        flops=6.0 * batch * products,
        bytes=12.0 * parameters,
        bound="flops",
        samples=batch,
        tolerance=2e-2,
    )


def _conv(quick: bool) -> list[Workload]:
    found = []
    shapes = conv_workloads.QUICK if quick else conv_workloads.SHAPES + conv_workloads.ODD_SHAPES
    for shape in shapes:
        for part, text in conv_workloads.PARTS.items():
            params = conv_workloads.conv_params(shape, part)
            flops, moved = conv_workloads.costs(params)
            found.append(
                Workload(
                    name=f"{shape.name}: {text}",
                    kind=f"conv_{part}",
                    params=params,
                    flops=flops,
                    bytes=moved,
                    bound="bytes" if shape.groups > 1 else "flops",
                )
            )
    for size in [(2, 3, 7, 8)] if quick else conv_workloads.POOLS:
        values = float(np.prod(size))
        for kind, text in conv_workloads.POOL_KINDS.items():
            name = f"2×2 max-pool, {'×'.join(map(str, size))}: {text}"
            found.append(Workload(name=name, kind=kind, params={"size": list(size)}, bytes=5.0 * values))
    return found


def _recurrent(quick: bool) -> list[Workload]:
    found = []
    shapes = (
        recurrent_workloads.QUICK if quick else recurrent_workloads.SHAPES + recurrent_workloads.ODD_SHAPES
    )
    for shape in shapes:
        for kind, text in recurrent_workloads.KINDS.items():
            params = asdict(shape)
            flops, moved = recurrent_workloads.costs(kind, params)
            found.append(
                Workload(
                    name=f"{shape.name}: {text}",
                    kind=kind,
                    params=params,
                    flops=flops,
                    bytes=moved,
                    bound="flops",
                    tolerance=recurrent_workloads.tolerance(params),
                )
            )
    return found


def workloads(chapter: str, shapes: Sequence[str] | None = None, *, quick: bool = False) -> list[Workload]:
    """Return the workloads of a chapter.

    Parameters
    ----------
    chapter : {"matmul", "layers", "conv", "recurrent", "models"}
    shapes : sequence of str, optional
        For matmul: shapes as `parse_shape` reads them instead of the chapter's own. For the other chapters:
        keep the workloads whose name contains one of these.
    quick : bool
        Small sizes only, for a smoke test.

    Raises
    ------
    ValueError
        If the chapter is unknown, a shape cannot be read, or nothing is left.
    """
    if chapter not in CHAPTERS:
        raise ValueError(f"bench: chapter is {chapter!r}; expected one of {', '.join(CHAPTERS)}")
    if chapter == "matmul":
        texts = (
            list(shapes) if shapes else (["2x2x2", "32x32x32", "64x512x784nt"] if quick else _MATMUL_SHAPES)
        )
        return [matmul(*parse_shape(text)) for text in texts]
    if chapter == "layers":
        count, rows, classes = (10_000, 20, 50) if quick else (1_000_000, 700, 10_000)
        found = [
            _adam(count),
            _cross_entropy(rows, classes),
            _cross_entropy(rows, classes, "cross_entropy_autograd"),
            _norm("layer_norm", (20, 50) if quick else (1024, 768)),
            _norm("batch_norm", (4, 3, 5, 5) if quick else (32, 64, 28, 28)),
            _elementwise("relu", count, 1),
            _elementwise("sigmoid", count, 20),
            _elementwise("tanh", count, 20),
            _linear(64, 784, 512),
        ]
    elif chapter == "conv":
        found = _conv(quick)
    elif chapter == "recurrent":
        found = _recurrent(quick)
    else:
        if quick:
            found = [
                mlp_step((20, 16, 4), 8),
                cnn_step((3, 5), (12,), 8, kernel=3, side=12),
                text_cnn_step(40, 6, 5, (2, 3), 4, 9),
                tagger_step(30, 4, 6, 5, 3, 4),
                nnlm_step(30, 4, 5, 6, 8),
                window_step(30, 4, 6, 5, 7, 3, 4),
                lm_step("small", 30, 6, 2, 5, 3),
            ]
        else:
            found = [
                mlp_step((784, 512, 512, 10), 64),
                cnn_step((6, 16), (120, 84), 64, padding=2, title="LeNet-5"),
                cnn_step((20, 50), (500,), 64),
                text_cnn_step(),
                tagger_step(),
                nnlm_step(),
                window_step(),
                lm_step("small"),
                lm_step("medium", hidden=650),
            ]
    if shapes:
        kept = [w for w in found if any(_plain(text) in _plain(w.name) for text in shapes)]
        if not kept:
            heads = dict.fromkeys(w.name.rpartition(": ")[0] or w.name for w in found)
            raise ValueError(
                f"bench: no workload of {chapter} is named like {', '.join(map(repr, shapes))}; there are "
                + "; ".join(heads)
            )
        return kept
    return found


def _plain(name: str) -> str:
    # As people type it: 35x20.
    return re.sub(r"(?<=\d)×(?=\d)", "x", name.lower())


# The files that have the inputs and answers of a kind.
_CHAPTER_OF: dict[str, Any] = {
    kind: chapter
    for chapter in (layer_workloads, conv_workloads, recurrent_workloads)
    for kind in chapter.KINDS
}
_STEPS: dict[str, Any] = {
    "mlp_step": mlp_workloads,
    "cnn_step": cnn_workloads,
    "text_cnn_step": text_workloads,
    "tagger_step": tagger_workloads,
    "nnlm_step": nnlm_workloads,
    "window_step": window_workloads,
    "lm_step": lm_workloads,
}

#: After how many runs a workload that changes its own state is checked.
CHECKED_RUNS = {"adam": layer_workloads.RUNS, **{kind: step.RUNS for kind, step in _STEPS.items()}}


def make_inputs(workload: Workload, seed: int = 0) -> Arrays:
    """Return the arrays a workload starts from; the same for the same seed, in every process."""
    rng = np.random.Generator(np.random.Philox(seed))
    p, kind = workload.params, workload.kind
    if kind == "matmul":
        a_shape = (p["k"], p["m"]) if p["trans_a"] else (p["m"], p["k"])
        b_shape = (p["n"], p["k"]) if p["trans_b"] else (p["k"], p["n"])
        a, b = (rng.standard_normal(shape, dtype=np.float32) for shape in (a_shape, b_shape))
        return {"a": a, "b": b}
    arrays: Arrays
    if kind in _CHAPTER_OF:
        arrays = _CHAPTER_OF[kind].make_inputs(kind, p, rng)
    elif kind in _STEPS:
        arrays = _STEPS[kind].make_inputs(p, rng)
    else:
        raise ValueError(f"bench: no inputs for workload kind {kind!r}")
    return arrays


def reference(workload: Workload, inputs: Arrays) -> Arrays:
    """Return the answers in float64: of one run, or of `CHECKED_RUNS` runs where each changes the state."""
    p, kind = workload.params, workload.kind
    x = {k: (v.astype(np.float64) if v.dtype == np.float32 else v) for k, v in inputs.items()}
    if kind == "matmul":
        a, b = x["a"], x["b"]
        return {"out": (a.T if p["trans_a"] else a) @ (b.T if p["trans_b"] else b)}
    answers: Arrays
    if kind in _CHAPTER_OF:
        answers = _CHAPTER_OF[kind].reference(kind, p, x)
    elif kind in _STEPS:
        answers = _STEPS[kind].reference(p, x)
    else:
        raise ValueError(f"bench: no reference for workload kind {kind!r}")
    return answers


def relative_error(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return ‖got − expected‖ / ‖expected‖, infinite where shapes differ or a value is not finite."""
    if got.shape != expected.shape or not np.all(np.isfinite(got)):
        return float("inf")
    norm = float(np.linalg.norm(expected.ravel()))
    difference = float(np.linalg.norm((got.astype(np.float64) - expected).ravel()))
    return difference / norm if norm else difference
