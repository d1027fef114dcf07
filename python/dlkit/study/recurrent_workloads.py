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

    @property
    def name(self) -> str:
        """What a table calls it."""
        label = {"lstm": "LSTM", "gru": "GRU", "tanh": "tanh RNN"}[self.cell]
        text = f"{label} {self.steps}×{self.batch}, {self.inputs} → {self.hidden}"
        text += f", {self.layers} layers" if self.layers > 1 else ""
        return text + (", both directions" if self.directions > 1 else "")


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
QUICK = [Shape("lstm", 5, 3, 4, 6), Shape("gru", 4, 1, 5, 7, 2, 2), Shape("tanh", 3, 2, 4, 9)]


def names(p: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Return layer, direction and suffix of each set of weights, in PyTorch's order."""
    return [
        (layer, d, f"_l{layer}" + ("_reverse" if d else ""))
        for layer in range(p["layers"])
        for d in range(p["directions"])
    ]


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


def make_inputs(kind: str, p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return input, weights, and for a training step the gradient by the output."""
    shape = (p["steps"], p["batch"])
    arrays: Arrays = {"x": rng.standard_normal((*shape, p["inputs"]), dtype=np.float32)}
    width, limit = GATES[p["cell"]] * p["hidden"], p["hidden"] ** -0.5
    for layer, _, suffix in names(p):
        sizes = ((width, inputs_of(p, layer)), (width, p["hidden"]), (width,), (width,))
        for part, size in zip(PARTS, sizes, strict=True):
            arrays[part + suffix] = rng.uniform(-limit, limit, size).astype(np.float32)
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
            y, tape = layer_forward(p["cell"], x[::-1] if d else x, [a[part + suffix] for part in PARTS])
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
                [a[part + suffix] for part in PARTS],
                tape,
                dy[::-1] if d else dy,
            )
            by_input += dx[::-1] if d else dx
            found.update({f"by_{part}{suffix}": g for part, g in zip(PARTS, by_weights, strict=True)})
        grad = by_input
    return {**found, "by_x": grad}


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def layer_forward(
    cell: str, x: NDArray[Any], weights: list[NDArray[Any]], state: Any = None
) -> tuple[NDArray[Any], list[Any]]:
    """Return the states of a layer in one direction, from `state` on, and what `layer_backward` wants of each step."""
    w, u, b, v = weights
    h, c = (np.zeros((x.shape[1], u.shape[1])),) * 2 if state is None else state
    outputs: list[Any] = []
    tape: list[Any] = []
    for row in x:
        left, right = row @ w.T + b, h @ u.T + v
        before = (h, c)
        if cell == "tanh":
            h = np.tanh(left + right)
            tape.append((before, (h,)))
        elif cell == "lstm":
            i, f, g, o = np.split(left + right, 4, axis=1)
            i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
            c = f * c + i * g
            h = o * np.tanh(c)
            tape.append((before, (i, f, g, o, c)))
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
    w, u, _, _ = weights
    totals = [np.zeros_like(weight) for weight in weights]
    dx = np.zeros_like(x)
    dh = dc = np.zeros_like(dy[0])
    for t in reversed(range(len(x))):
        (h, c), kept = tape[t]
        dh = dh + dy[t]
        on: Any = 0.0
        if cell == "tanh":
            left = right = dh * (1 - kept[0] ** 2)
        elif cell == "lstm":
            i, f, g, o, new_c = kept
            dc = dc + dh * o * (1 - np.tanh(new_c) ** 2)
            do = dh * np.tanh(new_c) * o * (1 - o)
            parts = (dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), do)
            left = right = np.concatenate(parts, axis=1)
            dc = dc * f
        else:
            r, z, n, hn = kept
            dn = dh * (1 - z) * (1 - n**2)
            dz, dr = dh * (h - n) * z * (1 - z), dn * hn * r * (1 - r)
            left, right = np.concatenate((dr, dz, dn), axis=1), np.concatenate((dr, dz, dn * r), axis=1)
            on = dh * z
        for total, share in zip(totals, (left.T @ x[t], right.T @ h, left.sum(0), right.sum(0)), strict=True):
            total += share
        dx[t] = left @ w
        dh = right @ u + on
    return dx, totals
