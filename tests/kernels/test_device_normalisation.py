"""python/dlkit/kernels/device_normalisation.py: what the CPU's kernels compute, of any layout, with its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

SHAPES = {
    "layer_norm": [(5,), (3, 7), (2, 3, 4), (0, 4), (3, 0), (2, 0, 3)],
    "batch_norm": [(5, 3), (4, 2, 3), (3, 2, 2, 4), (0, 3), (3, 0), (2, 3, 0)],
}
CASES = [(name, shape) for name, shapes in SHAPES.items() for shape in shapes]


def _same(got: Any, expected: Any) -> None:
    if expected is None:
        assert got is None
        return
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    bound = {"rtol": 2e-5, "atol": 2e-5} if expected.dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(got.get(), expected, **bound)


def _all_same(got: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    for one, other in zip(got, expected, strict=True):
        _same(one, other)


@pytest.fixture
def draw(rng: np.random.Generator, dtype: Any) -> Callable[..., Any]:
    return lambda *shape: (1 + np.asarray(rng.normal(size=shape))).astype(dtype)


def _vectors(name: str, x: Any) -> int:
    return int(x.shape[-1 if name == "layer_norm" else 1])


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize("affine", [False, True])
def test_both_ways(simt: Any, draw: Any, name: str, shape: Any, affine: bool) -> None:
    forward, backward = getattr(K, name), getattr(K, f"{name}_backward")
    x, grad = draw(*shape), draw(*shape)
    size = _vectors(name, x)
    weight, bias = (draw(size), draw(size)) if affine else (None, None)
    w, b = (simt.array(weight), simt.array(bias)) if affine else (None, None)
    out, mean, rstd = forward(x, weight, bias, 1e-3)
    for variant in (None, "naive", "fused"):
        _all_same(forward(simt.array(x), w, b, 1e-3, variant=variant), (out, mean, rstd))
        for need in ((True, True), (False, True), (False, False)):
            needed = {"need_weight": need[0], "need_bias": need[1]}
            there = [simt.array(array) for array in (grad, x, mean, rstd)]
            got = backward(*there, w, variant=variant, **needed)
            _all_same(got, backward(grad, x, mean, rstd, weight, **needed))
    in_place = simt.array(x)
    assert forward(in_place, w, b, 1e-3, out=in_place)[0] is in_place
    _same(in_place, out)


@pytest.mark.parametrize("shape", SHAPES["batch_norm"])
def test_apply(simt: Any, draw: Any, shape: Any) -> None:
    x = draw(*shape)
    mean, var, weight, bias = (abs(draw(shape[1])) for _ in range(4))
    there = [simt.array(array) for array in (x, mean, var, weight, bias)]
    _same(K.batch_norm_apply(*there), K.batch_norm_apply(x, mean, var, weight, bias))
    _same(K.batch_norm_apply(*there[:3], eps=0.1), K.batch_norm_apply(x, mean, var, eps=0.1))
    assert K.batch_norm_apply(*there, out=there[0], variant="naive") is there[0]
    _same(there[0], K.batch_norm_apply(x, mean, var, weight, bias))


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm"])
def test_layouts(simt: Any, draw: Any, name: str) -> None:
    forward, backward = getattr(K, name), getattr(K, f"{name}_backward")
    x, grad, vectors = draw(6, 6), draw(6, 6), draw(6, 2)
    for view in (lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::2], lambda a: a[1:, 1:]):
        size = view(x).shape[1]
        weight, bias = vectors[:size, 0], vectors[:size, 1]
        w, b = simt.array(vectors)[:size, 0], simt.array(vectors)[:size, 1]
        expected = forward(view(x), weight, bias)
        _all_same(forward(view(simt.array(x)), w, b), expected)
        there = [simt.array(array) for array in expected[1:]]
        got = backward(view(simt.array(grad)), view(simt.array(x)), *there, w)
        _all_same(got, backward(view(grad), view(x), *expected[1:], weight))
        out = simt.zeros((6, 12), x.dtype)
        place = out[: view(x).shape[0], ::2][:, :size]
        assert forward(view(simt.array(x)), w, b, out=place)[0] is place
        _same(place, expected[0])


def test_errors(simt: Any) -> None:
    x, w, f = simt.ones((4, 3)), simt.ones(3), simt.ones(3, np.float32)
    m = simt.ones(4)
    host, line = np.ones((4, 3)), np.ones(3)
    cases: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (TypeError, "layer_norm: x has dtype int64", lambda: K.layer_norm(simt.array([1]))),
        (ValueError, "layer_norm: x is a scalar", lambda: K.layer_norm(simt.ones(()))),
        (ValueError, r"weight is \(4,\) but x is \(4, 3\); expected \(3,\)", lambda: K.layer_norm(x, m)),
        (TypeError, "x is float64 but bias is float32; expected one dtype", lambda: K.layer_norm(x, w, f)),
        (ValueError, "layer_norm: eps is -1.0; expected 0 or more", lambda: K.layer_norm(x, eps=-1)),
        (TypeError, "layer_norm: eps is 'a'; expected a number", lambda: K.layer_norm(x, eps="a")),  # type: ignore[arg-type]
        (ValueError, r"out is \(3,\); expected \(4, 3\)", lambda: K.layer_norm(x, out=w)),
        (ValueError, "out overlaps x; expected x itself or", lambda: K.layer_norm(x, out=x[::-1])),
        (ValueError, "out overlaps weight; expected memory", lambda: K.layer_norm(x, x[0], out=x)),
        (ValueError, "variant is 'quick'; expected one of", lambda: K.layer_norm(x, variant="quick")),
        (ValueError, "grad is .* but x is .*; expected one shape", lambda: K.layer_norm_backward(w, x, m, m)),
        (
            ValueError,
            r"mean is \(3,\) but x is \(4, 3\); expected \(4,\)",
            lambda: K.layer_norm_backward(x, x, w, m),
        ),
        (ValueError, r"batch_norm: x is \(3,\); expected \(N, C\)", lambda: K.batch_norm(w)),
        (
            ValueError,
            r"bias is \(4,\) but x is \(4, 3\); expected \(3,\)",
            lambda: K.batch_norm(x, None, m),
        ),
        (ValueError, "batch_norm_apply: var is .* but x is", lambda: K.batch_norm_apply(x, w, m)),
        (ValueError, "variant is 'quick'", lambda: K.batch_norm_apply(x, w, w, variant="quick")),
        (ValueError, "batch_norm_apply: out overlaps mean", lambda: K.batch_norm_apply(x, x[0], w, out=x)),
        (ValueError, "batch_norm_backward: rstd is .* but x is", lambda: K.batch_norm_backward(x, x, w, m)),
        # Mixed devices.
        (TypeError, "x is on simt but weight is on cpu", lambda: K.layer_norm(x, line)),
        (TypeError, "weight is on simt but", lambda: K.layer_norm(host, w)),
        (TypeError, "x is on simt but out is on cpu", lambda: K.batch_norm(x, out=host)),
        (TypeError, "x is on simt but grad is on cpu", lambda: K.layer_norm_backward(host, x, m, m)),
        (TypeError, "grad is on simt but", lambda: K.batch_norm_backward(x, host, line, line)),
        (TypeError, "x is on simt but mean is on cpu", lambda: K.batch_norm_apply(x, line, w)),
        (TypeError, "var is on simt but", lambda: K.batch_norm_apply(host, line, w)),
        (TypeError, "weight is a list; expected an array on simt", lambda: K.batch_norm(x, [1.0] * 3)),
    ]
    for error, match, call in cases:
        with pytest.raises(error, match=match):
            call()
