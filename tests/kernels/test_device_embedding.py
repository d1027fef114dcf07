"""python/dlkit/kernels/device_embedding.py: what the CPU's kernels compute, of any layout, with its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K


def _same(got: Any, expected: Any) -> None:
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    bound = 1e-5 if expected.dtype == np.float32 else 1e-13  # of numbers around 1, which may cancel
    np.testing.assert_allclose(got.get(), expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (2, 0)])
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, ">i4"])
def test_both_ways(simt: Any, dtype: Any, rng: np.random.Generator, shape: Any, kind: Any) -> None:
    weight = rng.normal(size=(6, 3)).astype(dtype)
    indices = rng.integers(0, 6, shape).astype(kind)
    grad = rng.normal(size=(*shape, 3)).astype(dtype)
    numbers = simt.array(indices)
    _same(K.embedding(simt.array(weight), numbers), K.embedding(weight, indices))
    for padding in (None, 2):
        expected = K.embedding_backward(grad, indices, 6, padding)
        _same(K.embedding_backward(simt.array(grad), numbers, 6, padding), expected)
        out = simt.array(weight)
        assert K.embedding_backward(simt.array(grad), numbers, 6, padding, out=out, accumulate=True) is out
        _same(out, K.embedding_backward(grad, indices, 6, padding, out=weight.copy(), accumulate=True))
        assert K.embedding_backward(simt.array(grad), numbers, 6, padding, out=out) is out
        _same(out, expected)


def test_sizes_of_zero(simt: Any) -> None:
    numbers = simt.array([0, 1])
    assert K.embedding(simt.ones((3, 0)), numbers).shape == (2, 0)
    assert np.isnan(K.embedding(simt.ones((0, 3)), numbers).get()).all()
    assert K.embedding_backward(simt.ones((2, 0)), numbers, 3).shape == (3, 0)
    assert K.embedding_backward(simt.ones((2, 3)), numbers, 0).shape == (0, 3)


def test_layouts(simt: Any, rng: np.random.Generator) -> None:
    weight, grad = rng.normal(size=(4, 6)), rng.normal(size=(8, 5))
    indices = rng.integers(0, 4, (5, 8))
    for view in (lambda a: a[::-1], lambda a: a[:, ::2], lambda a: a[:, 1:]):
        _same(
            K.embedding(view(simt.array(weight)), simt.array(indices).T), K.embedding(view(weight), indices.T)
        )
    column = indices[:, 0]
    expected = K.embedding_backward(grad.T, column, 4)
    _same(K.embedding_backward(simt.array(grad).T, simt.array(indices)[:, 0], 4), expected)
    out = simt.ones((4, 16))
    K.embedding_backward(simt.array(grad).T, simt.array(indices)[:, 0], 4, out=out[:, ::2], accumulate=True)
    _same(out[:, ::2], expected + 1)
    assert (out.get()[:, 1::2] == 1).all()
    K.embedding(simt.array(weight), simt.array(column[:4]), out=out[:, 1:13:2])
    _same(out[:, 1:13:2], weight[column[:4]])


def test_variants(simt: Any, rng: np.random.Generator) -> None:
    weight, grad = rng.normal(size=(4, 6)), rng.normal(size=(7, 6))
    indices = rng.integers(0, 4, 7)
    for variant in ("naive", "fused"):
        _same(K.embedding(simt.array(weight), simt.array(indices), variant=variant), weight[indices])
    for variant in ("naive", "atomic", "fused"):
        got = K.embedding_backward(simt.array(grad), simt.array(indices), 4, variant=variant)
        np.testing.assert_allclose(got.get(), K.embedding_backward(grad, indices, 4), rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="embedding: variant is 'atomic'; expected one of naive, fused"):
        K.embedding(simt.array(weight), simt.array(indices), variant="atomic")


def test_an_index_out_of_range(simt: Any) -> None:
    numbers = simt.array([1, 3, -1, 0])
    taken = K.embedding(simt.ones((3, 2)), numbers).get()
    np.testing.assert_array_equal(np.isnan(taken), [[False] * 2, [True] * 2, [True] * 2, [False] * 2])
    got = K.embedding_backward(simt.ones((4, 2)), numbers, 3).get()
    np.testing.assert_array_equal(got, [[1, 1], [1, 1], [0, 0]])


def test_errors(simt: Any) -> None:
    table, numbers, grad = simt.ones((3, 4)), simt.array([0, 1]), simt.ones((2, 4))
    host, host_numbers = np.ones((3, 4)), np.array([0, 1])
    forward, backward = K.embedding, K.embedding_backward
    cases: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (TypeError, "embedding: weight has dtype int64", lambda: forward(numbers, numbers)),
        (ValueError, r"embedding: weight is \(4,\); expected \(V, D\)", lambda: forward(table[0], numbers)),
        (TypeError, "embedding: indices has dtype float64; expected integers", lambda: forward(table, table)),
        (ValueError, r"out is \(3, 4\); expected \(2, 4\)", lambda: forward(table, numbers, out=table)),
        (
            ValueError,
            "out overlaps weight; expected memory of its own",
            lambda: forward(table, numbers, out=table[:2]),
        ),
        (TypeError, "indices is on cpu", lambda: forward(table, host_numbers)),
        (TypeError, "indices is a list; expected an array on simt", lambda: forward(table, [0, 1])),
        (TypeError, "embedding: indices is on simt but", lambda: forward(host, numbers)),
        (TypeError, "out is on cpu", lambda: forward(table, numbers, out=host[:2])),
        (ValueError, r"grad is \(3, 4\) but indices is \(2,\)", lambda: backward(table, numbers, 3)),
        (ValueError, "num_embeddings is -1; expected 0 or more", lambda: backward(grad, numbers, -1)),
        (TypeError, "num_embeddings is a float", lambda: backward(grad, numbers, 3.0)),  # type: ignore[arg-type]
        (ValueError, "padding_idx is 3; expected 0 to 2 or None", lambda: backward(grad, numbers, 3, 3)),
        (ValueError, "accumulate=True needs out", lambda: backward(grad, numbers, 3, accumulate=True)),
        (ValueError, "out overlaps grad", lambda: backward(grad, numbers, 2, out=grad)),
        (
            TypeError,
            "embedding_backward: grad is on simt but indices is on cpu",
            lambda: backward(grad, host_numbers, 3),
        ),
        (TypeError, "embedding_backward: indices is on simt", lambda: backward(host[:2], numbers, 3)),
    ]
    for error, match, call in cases:
        with pytest.raises(error, match=match):
            call()
