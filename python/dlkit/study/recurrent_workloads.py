"""What is compared in the recurrent chapter: LSTM, GRU and simple recurrent layers over whole sequences.

Plain data, inputs from a seed, and answers in float64 by NumPy, as in `dlkit.study.workloads`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

KINDS = {"recurrent_forward": "forward", "recurrent_step": "forward and backward"}
#: Pre-activations of a unit.
GATES = {"lstm": 4, "gru": 3, "tanh": 1}
#: Of a layer in one direction, in PyTorch's order.
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
#: Those of an LSTM with layer normalisation beside them: gains of the products, gain and shift of the cell state.
NORMS = ("norm_ih", "norm_hh", "norm_c", "norm_c_bias")
EPS = 1e-5


@dataclass(frozen=True)
class Shape:
    """Steps, sequences, features of a step, units; layers, and directions of each."""

    cell: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    layers: int = 1
    directions: int = 1
    layer_norm: bool = False  # of LSTMs

    @property
    def name(self) -> str:
        """What a table calls it."""
        label = {"lstm": "LSTM", "gru": "GRU", "tanh": "tanh RNN"}[self.cell]
        text = f"{label} {self.steps}×{self.batch}, {self.inputs} → {self.hidden}"
        text += f", {self.layers} layers" if self.layers > 1 else ""
        text += ", both directions" if self.directions > 1 else ""
        return text + (", layer norm" if self.layer_norm else "")


# Language models after Zaremba et al. (2014), taggers, rows of images, a single sequence.
_SIZES = [
    (35, 20, 200, 200),
    (35, 20, 650, 650),
    (35, 20, 1500, 1500),
    (50, 32, 100, 128),
    (28, 128, 28, 128),
    (100, 1, 128, 128),
]
SHAPES = [
    *(Shape(cell, *size) for cell in GATES for size in _SIZES),
    *(Shape(cell, 50, 32, 100, 200, 2, 2) for cell in ("lstm", "gru")),
    *(Shape("lstm", *size, layer_norm=True) for size in [*_SIZES[:2], _SIZES[3]]),
]
# Next to them: no cliff.
ODD_SHAPES = [
    Shape(cell, *size)
    for cell in GATES
    for size in [
        (33, 19, 199, 201),
        (20, 7, 300, 333),
        (60, 3, 50, 75),
        (10, 64, 512, 512),
        (200, 1, 64, 300),
        (25, 100, 40, 50),
    ]
]
QUICK = [
    Shape("lstm", 5, 3, 4, 6),
    Shape("gru", 4, 1, 5, 7, 2, 2),
    Shape("tanh", 3, 2, 4, 9),
    Shape("lstm", 4, 3, 5, 6, layer_norm=True),
]


def names(p: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Return layer, direction and suffix of each set of weights, in PyTorch's order."""
    return [
        (layer, d, f"_l{layer}" + ("_reverse" if d else ""))
        for layer in range(p["layers"])
        for d in range(p["directions"])
    ]


def parts_of(p: dict[str, Any]) -> tuple[str, ...]:
    """Return what each layer and direction has, in the order in which `layer_forward` takes it."""
    return PARTS + NORMS if p.get("layer_norm") else PARTS


def inputs_of(p: dict[str, Any], layer: int) -> int:
    """Return how many features a layer reads."""
    return int(p["inputs"] if layer == 0 else p["directions"] * p["hidden"])


def costs(kind: str, p: dict[str, Any]) -> tuple[float, float]:
    """Return FLOPs, and bytes of float32 that must be moved."""
    rows, width = p["steps"] * p["batch"], GATES[p["cell"]] * p["hidden"]
    products = sum(p["directions"] * width * (inputs_of(p, i) + p["hidden"]) for i in range(p["layers"]))
    passes = 1 if kind == "recurrent_forward" else 3
    outputs = rows * (p["inputs"] + p["directions"] * p["hidden"])
    return 2.0 * passes * rows * products, 4.0 * passes * (products + outputs)


def tolerance(p: dict[str, Any]) -> float:
    """Return the largest relative error that passes.

    States of layer-normalised steps part fast: inputs and weights rounded once to float32 take the gradients of 50
    steps 1.3e-5 away. A dozen such roundings pass.
    """
    return 1.6e-4 if p.get("layer_norm") else 1e-5


def make_inputs(kind: str, p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return input, weights, and for a training step the gradient by the output."""
    shape = (p["steps"], p["batch"])
    arrays: Arrays = {"x": rng.standard_normal((*shape, p["inputs"]), dtype=np.float32)}
    width, limit = GATES[p["cell"]] * p["hidden"], p["hidden"] ** -0.5
    for layer, _, suffix in names(p):
        sizes = ((width, inputs_of(p, layer)), (width, p["hidden"]), (width,), (width,))
        for part, size in zip(PARTS, sizes, strict=True):
            arrays[part + suffix] = rng.uniform(-limit, limit, size).astype(np.float32)
        for part in parts_of(p)[len(PARTS) :]:
            length = p["hidden"] if part.startswith("norm_c") else width
            around = 0.0 if part == "norm_c_bias" else 1.0
            arrays[part + suffix] = rng.normal(around, 0.1, length).astype(np.float32)
    if kind == "recurrent_step":
        arrays["grad"] = rng.standard_normal((*shape, p["directions"] * p["hidden"]), dtype=np.float32)
    return arrays


def reference(kind: str, p: dict[str, Any], a: Arrays) -> Arrays:
    """Return the answers in float64, given the inputs in float64."""
    x, tapes = a["x"], []
    for layer in range(p["layers"]):
        outputs = []
        for at, d, suffix in names(p):
            if at != layer:
                continue
            y, tape = layer_forward(
                p["cell"], x[::-1] if d else x, [a[part + suffix] for part in parts_of(p)]
            )
            outputs.append(y[::-1] if d else y)
            tapes.append((layer, d, suffix, x, tape))
        x = np.concatenate(outputs, axis=2)
    if kind == "recurrent_forward":
        return {"out": x}
    found: Arrays = {"out": x}
    grad = a["grad"]
    hidden = p["hidden"]
    for layer in reversed(range(p["layers"])):
        by_input = np.zeros((*grad.shape[:2], inputs_of(p, layer)))
        for at, d, suffix, seen, tape in tapes:
            if at != layer:
                continue
            dy = grad[..., d * hidden : (d + 1) * hidden]
            dx, by_weights = layer_backward(
                p["cell"],
                seen[::-1] if d else seen,
                [a[part + suffix] for part in parts_of(p)],
                tape,
                dy[::-1] if d else dy,
            )
            by_input += dx[::-1] if d else dx
            found.update({f"by_{part}{suffix}": g for part, g in zip(parts_of(p), by_weights, strict=True)})
        grad = by_input
    return {**found, "by_x": grad}


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _normal(a: NDArray[Any], hidden: int) -> tuple[Any, Any]:
    # Each run of `hidden` numbers of a row normalised, and what it was multiplied with.
    runs = a.reshape(len(a), -1, hidden)
    rstd = 1 / np.sqrt(runs.var(-1, keepdims=True) + EPS)
    return ((runs - runs.mean(-1, keepdims=True)) * rstd).reshape(a.shape), rstd


def _by_normal(d: Any, normal: Any, rstd: Any) -> Any:
    # The gradient by what `_normal` got, from that by what it returned.
    d, n = d.reshape(len(d), *rstd.shape[1:2], -1), normal.reshape(len(d), *rstd.shape[1:2], -1)
    by = rstd * (d - d.mean(-1, keepdims=True) - n * (d * n).mean(-1, keepdims=True))
    return by.reshape(normal.shape)


def layer_forward(
    cell: str, x: NDArray[Any], weights: list[NDArray[Any]], state: Any = None
) -> tuple[NDArray[Any], list[Any]]:
    """Return the states of a layer in one direction, from `state` on, and what `layer_backward` wants of each step."""
    w, u, b, v, *norms = weights
    h, c = (np.zeros((x.shape[1], u.shape[1])),) * 2 if state is None else state
    outputs: list[Any] = []
    tape: list[Any] = []
    for row in x:
        left, right = row @ w.T, h @ u.T
        normals: list[Any] = []
        if norms:
            normals = [_normal(side, u.shape[1]) for side in (left, right)]
            left, right = (n * gain for (n, _), gain in zip(normals, norms[:2], strict=True))
        left, right = left + b, right + v
        before = (h, c)
        if cell == "tanh":
            h = np.tanh(left + right)
            tape.append((before, (h,)))
        elif cell == "lstm":
            i, f, g, o = np.split(left + right, 4, axis=1)
            i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
            c = f * c + i * g
            shown = c
            if norms:
                normals.append(_normal(c, u.shape[1]))
                shown = normals[2][0] * norms[2] + norms[3]
            h = o * np.tanh(shown)
            tape.append((before, (i, f, g, o, shown, normals)))
        else:
            (xr, xz, xn), (hr, hz, hn) = np.split(left, 3, axis=1), np.split(right, 3, axis=1)
            r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
            n = np.tanh(xn + r * hn)
            h = (1 - z) * n + z * h
            tape.append((before, (r, z, n, hn)))
        outputs.append(h)
    return np.stack(outputs), tape


def layer_backward(
    cell: str, x: NDArray[Any], weights: list[NDArray[Any]], tape: list[Any], dy: NDArray[Any]
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return the gradients by input and weights of `layer_forward`, from that by the states."""
    w, u, _, _, *norms = weights
    totals = [np.zeros_like(weight) for weight in weights]
    dx = np.zeros_like(x)
    dh = dc = np.zeros_like(dy[0])
    for t in reversed(range(len(x))):
        (h, c), kept = tape[t]
        dh = dh + dy[t]
        on: Any = 0.0
        normals: list[Any] = []
        by_norms: list[Any] = []
        if cell == "tanh":
            left = right = dh * (1 - kept[0] ** 2)
        elif cell == "lstm":
            i, f, g, o, shown, normals = kept
            by_shown = dh * o * (1 - np.tanh(shown) ** 2)
            if norms:
                by_norms = [(by_shown * normals[2][0]).sum(0), by_shown.sum(0)]
                by_shown = _by_normal(by_shown * norms[2], *normals[2])
            dc = dc + by_shown
            do = dh * np.tanh(shown) * o * (1 - o)
            parts = (dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), do)
            left = right = np.concatenate(parts, axis=1)
            dc = dc * f
        else:
            r, z, n, hn = kept
            dn = dh * (1 - z) * (1 - n**2)
            dz, dr = dh * (h - n) * z * (1 - z), dn * hn * r * (1 - r)
            left, right = np.concatenate((dr, dz, dn), axis=1), np.concatenate((dr, dz, dn * r), axis=1)
            on = dh * z
        by_biases = [left.sum(0), right.sum(0)]
        if norms:
            sides = [*zip((left, right), normals[:2], norms[:2], strict=True)]
            by_norms = [*((d * n).sum(0) for d, (n, _), _ in sides), *by_norms]
            left, right = (_by_normal(d * gain, *normal) for d, normal, gain in sides)
        shares = (left.T @ x[t], right.T @ h, *by_biases, *by_norms)
        for total, share in zip(totals, shares, strict=True):
            total += share
        dx[t] = left @ w
        dh = right @ u + on
    return dx, totals
