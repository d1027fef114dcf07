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

Arrays = dict[str, NDArray[Any]]
Bound = Literal["flops", "bytes", "call"]

CHAPTERS = ("matmul", "layers", "models")

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
    unit : {"GFLOP/s", "ms", "us", "samples/s"}
        What a table shows.
    flops, bytes : float
        Floating-point operations, and bytes that must be moved at least (each operand and each result once).
    bound : {"flops", "bytes", "call"}
        Which ceiling it is held against; ``call`` has none: it is the overhead of calling.
    samples : int
        Training samples handled by one run, for ``samples/s``.
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
        if self.unit == "samples/s":
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


def workloads(chapter: str, shapes: Sequence[str] | None = None, *, quick: bool = False) -> list[Workload]:
    """Return the workloads of a chapter.

    Parameters
    ----------
    chapter : {"matmul", "layers", "models"}
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
    else:
        found = [
            mlp_step((20, 16, 4) if quick else (784, 512, 512, 10), 8 if quick else 64),
            text_cnn_step(40, 6, 5, (2, 3), 4, 9) if quick else text_cnn_step(),
        ]
    if shapes:
        kept = [w for w in found if any(text.lower() in w.name.lower() for text in shapes)]
        if not kept:
            raise ValueError(
                f"bench: no workload of {chapter} is named like {', '.join(map(repr, shapes))}; there are "
                + "; ".join(w.name for w in found)
            )
        return kept
    return found


def make_inputs(workload: Workload, seed: int = 0) -> Arrays:
    """Return the arrays a workload starts from; the same for the same seed, in every process."""
    rng = np.random.Generator(np.random.Philox(seed))
    p = workload.params

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    kind = workload.kind
    if kind == "matmul":
        a_shape = (p["k"], p["m"]) if p["trans_a"] else (p["m"], p["k"])
        b_shape = (p["n"], p["k"]) if p["trans_b"] else (p["k"], p["n"])
        return {"a": normal(*a_shape), "b": normal(*b_shape)}
    if kind in ("relu", "sigmoid", "tanh"):
        return {"x": normal(p["count"])}
    if kind in ("cross_entropy", "cross_entropy_autograd"):
        return {"logits": normal(p["rows"], p["classes"]), "labels": rng.integers(0, p["classes"], p["rows"])}
    if kind in ("layer_norm", "batch_norm"):
        channels = p["shape"][-1 if kind == "layer_norm" else 1]
        return {
            "x": normal(*p["shape"]),
            "grad": normal(*p["shape"]),
            "weight": normal(channels),
            "bias": normal(channels),
        }
    if kind == "adam":
        return {"param": normal(p["count"]), "grad": normal(p["count"])}
    if kind == "linear_relu":
        return {"x": normal(p["m"], p["k"]), "weight": normal(p["n"], p["k"]), "bias": normal(p["n"])}
    if kind == "mlp_step":
        sizes, total = p["sizes"], p["batch"] * p["batches"]
        arrays: Arrays = {
            "x": rng.random((total, sizes[0]), dtype=np.float32),
            "y": rng.integers(0, sizes[-1], total),
        }
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            limit = 1 / np.sqrt(fan_in)
            arrays[f"weight{i}"] = rng.uniform(-limit, limit, (fan_out, fan_in)).astype(np.float32)
            arrays[f"bias{i}"] = rng.uniform(-limit, limit, fan_out).astype(np.float32)
        return arrays
    if kind == "text_cnn_step":
        total = p["batch"] * p["batches"]
        arrays = {
            "x": rng.integers(1, p["words"], (total, p["length"])),
            "y": rng.integers(0, 2, total),
            "embedding": rng.uniform(-0.25, 0.25, (p["words"], p["dimensions"])).astype(np.float32),
        }
        arrays["embedding"][0] = 0
        features = len(p["regions"]) * p["filters"]
        shapes = {f"conv{i}": (p["filters"], p["dimensions"], r) for i, r in enumerate(p["regions"])}
        for name, shape in {**shapes, "output": (2, features)}.items():
            limit = 1 / np.sqrt(np.prod(shape[1:]))
            arrays[f"{name}.weight"] = rng.uniform(-limit, limit, shape).astype(np.float32)
            arrays[f"{name}.bias"] = rng.uniform(-limit, limit, shape[0]).astype(np.float32)
        return arrays
    raise ValueError(f"bench: no inputs for workload kind {kind!r}")


#: After how many runs a workload that changes its own state is checked.
CHECKED_RUNS = {"adam": 3, "mlp_step": 5, "text_cnn_step": 3}


def reference(workload: Workload, inputs: Arrays) -> Arrays:
    """Return the answers in float64: of one run, or of `CHECKED_RUNS` runs where each changes the state."""
    p, kind = workload.params, workload.kind
    x = {k: (v.astype(np.float64) if v.dtype == np.float32 else v) for k, v in inputs.items()}
    if kind == "matmul":
        a, b = x["a"], x["b"]
        return {"out": (a.T if p["trans_a"] else a) @ (b.T if p["trans_b"] else b)}
    if kind == "relu":
        return {"out": np.maximum(x["x"], 0)}
    if kind == "sigmoid":
        return {"out": 1 / (1 + np.exp(-x["x"]))}
    if kind == "tanh":
        return {"out": np.tanh(x["x"])}
    if kind in ("cross_entropy", "cross_entropy_autograd"):
        loss, grad = _softmax_loss(x["logits"], x["labels"])
        return {"loss": np.array(loss), "grad": grad}
    if kind in ("layer_norm", "batch_norm"):
        return _norm_reference(kind, x)
    if kind == "adam":
        state = _AdamReference([x["param"]], p["lr"])
        for _ in range(CHECKED_RUNS["adam"]):
            state.step([x["grad"]])
        return {"change": state.params[0] - inputs["param"]}
    if kind == "linear_relu":
        return {"out": np.maximum(x["x"] @ x["weight"].T + x["bias"], 0)}
    if kind == "mlp_step":
        return _mlp_reference(p, x)
    if kind == "text_cnn_step":
        return _text_cnn_reference(p, x)
    raise ValueError(f"bench: no reference for workload kind {kind!r}")


def _softmax_loss(logits: NDArray[Any], labels: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    grad = np.exp(shifted)
    total = grad.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.mean(np.log(total[:, 0]) - shifted[rows, labels]))
    grad /= total
    grad[rows, labels] -= 1
    return loss, grad / len(labels)


def _norm_reference(kind: str, a: Arrays) -> Arrays:
    x, grad = a["x"], a["grad"]
    every = tuple(range(x.ndim))
    of_parameters = every[:-1] if kind == "layer_norm" else (0, *every[2:])
    axes = every[-1:] if kind == "layer_norm" else of_parameters
    weight, bias = (np.expand_dims(a[name], of_parameters) for name in ("weight", "bias"))
    rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    normal = (x - x.mean(axes, keepdims=True)) * rstd
    g = grad * weight
    mean, slope = g.mean(axes, keepdims=True), (g * normal).mean(axes, keepdims=True)
    return {
        "out": normal * weight + bias,
        "by_x": rstd * (g - mean - normal * slope),
        "by_weight": (grad * normal).sum(of_parameters),
        "by_bias": grad.sum(of_parameters),
    }


class _AdamReference:
    """Adam as Kingma & Ba (2015), algorithm 1, write it, with PyTorch's place for epsilon."""

    def __init__(self, params: list[NDArray[Any]], lr: float) -> None:
        self.params = [p.copy() for p in params]
        self.lr, self.t = lr, 0
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, grads: list[NDArray[Any]]) -> None:
        self.t += 1
        for p, g, m, v in zip(self.params, grads, self.m, self.v, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= self.lr * (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8)


def _mlp_reference(p: dict[str, Any], x: Arrays) -> Arrays:
    layers = len(p["sizes"]) - 1
    names = [f"{kind}{i}" for i in range(layers) for kind in ("weight", "bias")]
    state = _AdamReference([x[name] for name in names], p["lr"])
    losses = []
    for step in range(CHECKED_RUNS["mlp_step"]):
        rows = slice((step % p["batches"]) * p["batch"], (step % p["batches"] + 1) * p["batch"])
        hidden = [x["x"][rows]]
        for i in range(layers):
            z = hidden[-1] @ state.params[2 * i].T + state.params[2 * i + 1]
            hidden.append(np.maximum(z, 0) if i < layers - 1 else z)
        loss, grad = _softmax_loss(hidden[-1], x["y"][rows])
        losses.append(loss)
        grads: list[NDArray[Any]] = [np.empty(0)] * len(names)
        for i in reversed(range(layers)):
            grads[2 * i], grads[2 * i + 1] = grad.T @ hidden[i], grad.sum(axis=0)
            if i:
                grad = (grad @ state.params[2 * i]) * (hidden[i] > 0)
        state.step(grads)
    change = np.concatenate([(a - x[name]).ravel() for a, name in zip(state.params, names, strict=True)])
    return {"losses": np.array(losses), "change": change}


def text_cnn_names(p: dict[str, Any]) -> list[str]:
    """The parameters of `text_cnn_step`, as its inputs name them, in the order of the models' own."""
    layers = [*(f"conv{i}" for i in range(len(p["regions"]))), "output"]
    return ["embedding", *(f"{name}.{part}" for name in layers for part in ("weight", "bias"))]


def _text_cnn_reference(p: dict[str, Any], a: Arrays) -> Arrays:
    names, count = text_cnn_names(p), len(p["regions"])
    state = _AdamReference([a[name] for name in names], p["lr"])
    losses = []
    for step in range(CHECKED_RUNS["text_cnn_step"]):
        rows = slice(step % p["batches"] * p["batch"], (step % p["batches"] + 1) * p["batch"])
        v = dict(zip(names, state.params, strict=True))
        numbers = a["x"][rows]
        vectors = v["embedding"][numbers]
        pooled, places = [], []
        for i, region in enumerate(p["regions"]):
            windows = np.lib.stride_tricks.sliding_window_view(vectors, region, axis=1)
            answers = np.einsum("ntcj,fcj->ntf", windows, v[f"conv{i}.weight"], optimize=True)
            places.append(answers.argmax(axis=1))
            pooled.append(answers.max(axis=1) + v[f"conv{i}.bias"])
        features = np.concatenate(pooled, axis=1)
        active = np.maximum(features, 0)
        loss, grad = _softmax_loss(active @ v["output.weight"].T + v["output.bias"], a["y"][rows])
        losses.append(loss)
        g = {name: np.zeros_like(value) for name, value in v.items()}
        g["output.weight"], g["output.bias"] = grad.T @ active, grad.sum(axis=0)
        by_features = (grad @ v["output.weight"]) * (features > 0)
        by_vectors = np.zeros_like(vectors)
        for i, by_filters in enumerate(np.split(by_features, count, axis=1)):
            g[f"conv{i}.bias"] = by_filters.sum(axis=0)
            for n, f in np.ndindex(*by_filters.shape):
                at = slice(places[i][n, f], places[i][n, f] + p["regions"][i])
                by_vectors[n, at] += by_filters[n, f] * v[f"conv{i}.weight"][f].T
                g[f"conv{i}.weight"][f] += by_filters[n, f] * vectors[n, at].T
        np.add.at(g["embedding"], numbers, by_vectors)
        g["embedding"][0] = 0
        state.step([g[name] for name in names])
    change = np.concatenate([(b - a[name]).ravel() for b, name in zip(state.params, names, strict=True)])
    return {"losses": np.array(losses), "change": change}


def relative_error(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return ‖got − expected‖ / ‖expected‖, infinite where shapes differ or a value is not finite."""
    if got.shape != expected.shape or not np.all(np.isfinite(got)):
        return float("inf")
    norm = float(np.linalg.norm(expected.ravel()))
    difference = float(np.linalg.norm((got.astype(np.float64) - expected).ravel()))
    return difference / norm if norm else difference
