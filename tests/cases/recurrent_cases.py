"""Recurrent layers to compute, for the tests of the CPU, of layer normalisation and of devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import dlkit.kernels as K
from dlkit.kernels import CELLS, RecurrentWeights


class Case(NamedTuple):
    x: Any
    weights: list[RecurrentWeights]
    sizes: list[int]
    h0: Any
    c0: Any
    settings: dict[str, Any]
    dy: Any
    dhn: Any
    dcn: Any


def make(
    cell: str,
    lengths: list[int],
    inputs: int,
    hidden: int,
    *,
    dtype: Any = np.float64,
    directions: int = 2,
    bias: bool = True,
    states: bool = True,
    mask: bool = False,
    new_z: bool = False,
    norms: bool = False,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng(seed)
    lengths = sorted(lengths, reverse=True)
    sizes = [sum(n > t for n in lengths) for t in range(lengths[0])]
    rows, batch, traits = sum(sizes), len(lengths), CELLS[cell]

    def some(*shape: int) -> Any:
        return (rng.uniform(-1, 1, shape) / max(shape[-1], 4) ** 0.5).astype(dtype)

    width = traits.gates * hidden
    weights = [
        RecurrentWeights(
            some(width, inputs),
            some(width, hidden),
            some(width) if bias else None,
            some(width) if bias else None,
            some(3, hidden) if traits.has_c else None,
        )
        for _ in range(directions)
    ]

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(dtype)

    if norms:
        shapes = (width,), (width,), *([(hidden,), (hidden,)] if traits.has_c else [])
        weights = [
            RecurrentWeights(*w[:5], *(dtype(i < 3) + dtype(0.3) * normal(*s) for i, s in enumerate(shapes)))
            for w in weights
        ]
    state = (directions, batch, hidden)
    settings = {"cell": cell, "new_z": new_z and cell.startswith("gru")}
    if mask:
        settings["mask"] = ((rng.random(state) > 0.3) / 0.7).astype(dtype)
    return Case(
        normal(rows, inputs),
        weights,
        sizes,
        normal(*state) if states else None,
        normal(*state) if states and traits.has_c else None,
        settings,
        normal(rows, directions * hidden),
        normal(*state),
        normal(*state) if traits.has_c else None,
    )


def changed(case: Case, change: Callable[[Any], Any]) -> Case:
    """A case with all of its arrays changed."""

    def of(value: Any) -> Any:
        return None if value is None else change(value)

    return case._replace(
        x=of(case.x),
        weights=[RecurrentWeights(*map(of, w)) for w in case.weights],
        h0=of(case.h0),
        c0=of(case.c0),
        settings={k: of(v) if k == "mask" else v for k, v in case.settings.items()},
        dy=of(case.dy),
        dhn=of(case.dhn),
        dcn=of(case.dcn),
    )


def single(case: Case) -> Case:
    """The case in float32."""
    return changed(case, np.float32)


def everything(case: Case, variant: str | None, backward_variant: str | None = None) -> list[Any]:
    """Outputs, last states and all gradients."""
    x, weights, sizes, h0, c0, settings, dy, dhn, dcn = case
    y, hn, cn, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, variant=variant, **settings)
    dx, dh0, dc0, dweights = K.recurrent_backward(
        saved, x, weights, sizes, y, dy, dhn, dcn, variant=backward_variant or variant, **settings
    )
    found = [y, hn, cn, dx, dh0, dc0, *(g for w in dweights for g in w)]
    return [a for a in found if a is not None]


def assert_close(found: list[Any], expected: list[Any], tolerance: float) -> None:
    assert len(found) == len(expected)
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape
        scale = np.linalg.norm(b) + 1e-30
        assert np.linalg.norm(a - b) <= tolerance * scale, i


def check_by_finite_differences(case: Case) -> None:
    """That the definition's gradients are the slopes of its outputs, one random direction for each array."""
    x, weights, sizes, h0, c0, settings, dy, dhn, dcn = case

    def loss(values: dict[str, Any]) -> float:
        y, hn, cn, _ = K.recurrent(
            values["x"], values["weights"], sizes, values["h0"], values["c0"], variant="naive", **settings
        )
        total = float((y * dy).sum() + (hn * dhn).sum())
        return total if cn is None else total + float((cn * dcn).sum())

    y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, variant="naive", **settings)
    dx, dh0, dc0, dweights = K.recurrent_backward(
        saved, x, weights, sizes, y, dy, dhn, dcn, variant="naive", **settings
    )
    start = {"x": x, "h0": h0, "c0": c0, "weights": weights}
    rng = np.random.default_rng(1)
    step = 1e-6

    def check(label: str, value: Any, gradient: Any, changed: Any) -> None:
        direction = rng.standard_normal(value.shape)
        up = loss({**start, **changed(value + step * direction)})
        down = loss({**start, **changed(value - step * direction)})
        assert (up - down) / (2 * step) == pytest.approx(
            float((gradient * direction).sum()), rel=2e-6, abs=1e-7
        ), label

    for name, gradient in (("x", dx), ("h0", dh0), ("c0", dc0)):
        if gradient is not None:
            check(name, start[name], gradient, lambda v, name=name: {name: v})
    for d in range(len(weights)):
        for part in RecurrentWeights._fields:
            value = getattr(weights[d], part)
            if value is None:
                continue

            def changed(v: Any, d: int = d, part: str = part) -> dict[str, Any]:
                return {"weights": [w._replace(**{part: v}) if i == d else w for i, w in enumerate(weights)]}

            check(f"{part} of {d}", value, getattr(dweights[d], part), changed)


def errors() -> list[tuple[str, type[Exception], dict[str, Any], str]]:
    weights = make("lstm", [1], 3, 4, directions=1).weights
    w = weights[0]
    return [
        ("sizes that do not add up", ValueError, {"batch_sizes": [2, 1]}, "add up to 3; expected the rows of x, 4"),
        ("sizes that add up to more", ValueError, {"batch_sizes": [4, 4]}, r"\[1\] add up to 8; expected the rows"),
        ("sizes that increase", ValueError, {"batch_sizes": [1, 3]}, r"batch_sizes\[1\] is 3 after 1"),
        ("a size of zero", ValueError, {"batch_sizes": [4, 0]}, r"batch_sizes\[1\] is 0; expected at least 1"),
        ("no steps", ValueError, {"x": np.zeros((0, 3)), "batch_sizes": []}, "at least one"),
        ("sizes that are no integers", TypeError, {"batch_sizes": ["a"]}, "expected an integer"),
        ("sizes that are no sequence", TypeError, {"batch_sizes": 3}, "batch_sizes"),
        ("an unknown cell", ValueError, {"cell": "lstmm"}, "cell is 'lstmm'; expected one of tanh"),
        ("an unknown variant", ValueError, {"variant": "pakced"}, "did you mean 'packed'"),
        ("input of another width", ValueError, {"x": np.zeros((4, 5))}, r"weight_ih is \(16, 3\); expected \(16, 5\)"),
        ("three dimensions", ValueError, {"x": np.zeros((2, 2, 3))}, "expected \\(rows, inputs\\)"),
        ("weights of another cell", ValueError, {"cell": "gru"}, "weight_hh is"),
        ("peepholes of a cell without", ValueError, {"cell": "input_gate", "weights": [
            RecurrentWeights(w.ih[:12], w.hh[:12], None, None, w.peepholes)]}, "peepholes are given"),
        ("another dtype", TypeError, {"weights": [w._replace(ih=np.float32(w.ih))]}, "float32"),
        ("integers", TypeError, {"x": np.zeros((4, 3), np.int64)}, "x"),
        ("a bias of another length", ValueError, {"weights": [w._replace(hh_bias=np.zeros(3))]}, "bias_hh is"),
        ("a state of another batch", ValueError, {"h0": np.zeros((1, 3, 4))}, r"h0 is \(3, 4\); expected \(2, 4\)"),
        ("too few dimensions", ValueError, {"h0": np.zeros((2, 4))}, r"h0 is \(2, 4\); expected \(1, B, H\)"),
        ("too many states", ValueError, {"h0": np.zeros((5, 2, 4))}, r"h0 is \(5, 2, 4\); expected \(1, B"),
        ("too many cell states", ValueError, {"c0": np.zeros((2, 2, 4))}, r"c0 is \(2, 2, 4\); expected \(1"),
        ("too few states", ValueError, {"weights": [w, w], "h0": np.zeros((1, 2, 4))}, r"expected \(2, B, H\)"),
        ("too many masks", ValueError, {"mask": np.zeros((2, 2, 4))}, r"mask is \(2, 2, 4\); expected \(1, B"),
        ("a cell state of a cell without", ValueError, {"cell": "input_gate", "c0": np.zeros((1, 2, 4)), "weights": [
            RecurrentWeights(w.ih[:12], w.hh[:12])]}, "c0 is given but the cell is input_gate; expected an LSTM"),
        ("new_z of another cell", ValueError, {"new_z": True}, "new_z is True but the cell is lstm; expected a GRU"),
        ("weights without names", TypeError, {"weights": [tuple(w)]}, "holds a tuple; expected RecurrentWeights"),
        ("no direction", ValueError, {"weights": []}, "weights has 0 directions"),
        ("a mask of another shape", ValueError, {"mask": np.zeros((1, 2, 9))}, "mask is"),
    ]  # fmt: skip
