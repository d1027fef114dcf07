"""Stacks of matrices, broadcast against each other as numpy.matmul does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_NAMES = [variant.name for variant in K.variants("matmul") if not variant.needs]

_SHAPES = [
    ((3, 5, 7), (3, 7, 4)),
    ((3, 5, 7), (7, 4)),
    ((5, 7), (3, 7, 4)),
    ((1, 5, 7), (3, 7, 4)),
    ((3, 5, 7), (1, 7, 4)),
    ((2, 1, 5, 7), (3, 7, 4)),
    ((3, 1, 5, 7), (1, 4, 7, 6)),
    ((2, 3, 4, 5, 6), (4, 6, 7)),
    ((1, 1, 1, 5, 7), (7, 4)),
    ((40, 9, 70), (40, 70, 33)),
    ((6, 1, 8), (8, 9)),
    ((6, 8, 1), (1, 9)),
    ((0, 5, 7), (7, 4)),
    ((0, 5, 7), (1, 7, 4)),
    ((3, 0, 7), (3, 7, 4)),
    ((3, 5, 0), (3, 0, 4)),
    ((3, 5, 7), (3, 7, 0)),
    ((7,), (7,)),
    ((0,), (0,)),
    ((1,), (1,)),
    ((7,), (7, 4)),
    ((5, 7), (7,)),
    ((7,), (3, 7, 4)),
    ((3, 5, 7), (7,)),
    ((2, 3, 5, 7), (7,)),
    ((7,), (2, 3, 7, 4)),
    ((7,), (3, 7, 1)),
    ((3, 1, 7), (7,)),
    ((0,), (3, 0, 4)),
    ((3, 5, 0), (0,)),
    ((300,), (300, 400)),
    ((400, 300), (300,)),
    ((3000,), (3000,)),
]


@pytest.mark.parametrize(("of_a", "of_b"), _SHAPES)
def test_broadcast(
    of_a: tuple[int, ...],
    of_b: tuple[int, ...],
    dtype: Any,
    threads: int,
    rng: np.random.Generator,
    check: Any,
) -> None:
    a, b = rng.standard_normal(of_a).astype(dtype), rng.standard_normal(of_b).astype(dtype)
    for variant in (None, *_NAMES):
        out = K.matmul(a, b, variant=variant)
        check(out, a, b)
        given = np.full(out.shape, np.nan, dtype)
        assert K.matmul(a, b, out=given, variant=variant) is given
        np.testing.assert_array_equal(given, out)
        # Every second element of a larger array, the last axis backwards.
        around = np.full([2 * size for size in out.shape], np.nan, dtype)
        apart = around[tuple(slice(None, None, 2) for _ in out.shape)][..., ::-1] if out.ndim else around
        K.matmul(a, b, out=apart, variant=variant)
        check(apart, a, b)
        assert np.isnan(around).sum() == around.size - apart.size
        K.matmul(a, b, out=given, accumulate=True, variant=variant)
        check(given, a, b, start=out)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
def test_bias(activation: Any, dtype: Any, threads: int, rng: np.random.Generator, check: Any) -> None:
    for of_a, of_b in _SHAPES:
        a, b = rng.standard_normal(of_a).astype(dtype), rng.standard_normal(of_b).astype(dtype)
        cols = of_b[-1] if len(of_b) > 1 else 1
        bias = rng.standard_normal(cols).astype(dtype)
        # A vector on the right is a matrix of one column: its one bias is for every element.
        as_numpy = bias if len(of_b) > 1 else bias[0]
        check(K.matmul(a, b, bias=bias, activation=activation), a, b, as_numpy, activation)


def test_transposed_arguments(dtype: Any, threads: int, rng: np.random.Generator, check: Any) -> None:
    a, b = rng.standard_normal((4, 3, 6, 9)).astype(dtype), rng.standard_normal((3, 9, 5)).astype(dtype)
    turned_a, turned_b = (np.ascontiguousarray(np.swapaxes(x, -1, -2)) for x in (a, b))
    check(K.matmul(turned_a, b, trans_a=True), a, b)
    check(K.matmul(a, turned_b, trans_b=True), a, b)
    check(K.matmul(turned_a, turned_b, trans_a=True, trans_b=True), a, b)
    check(K.matmul(a, turned_b[0], trans_b=True), a, b[0])
    check(K.matmul(b[0, :, 0], turned_b, trans_b=True), b[0, :, 0], b)
    check(K.matmul(turned_a, b[0, :, 0], trans_a=True), a, b[0, :, 0])


def test_any_order_of_axes(dtype: Any, threads: int, rng: np.random.Generator, check: Any) -> None:
    """Batch axes that lie inside of a matrix's, are reversed, skip, or are broadcast."""
    a, b = rng.standard_normal((6, 8, 4, 10)).astype(dtype), rng.standard_normal((10, 4, 12, 8)).astype(dtype)
    pairs = [
        (a.transpose(1, 2, 0, 3), b.transpose(3, 1, 0, 2)),
        (a.transpose(2, 1, 0, 3)[::-1, ::2], b.transpose(1, 3, 0, 2)[:, ::-2]),
        (np.broadcast_to(a[:, :1], a.shape).transpose(1, 2, 0, 3), b[:, 0, :, 0]),
        (a.transpose(2, 1, 0, 3)[:, :, ::-1, ::-1], b[::-1, 0, ::2, 0]),
        (np.lib.stride_tricks.sliding_window_view(a[0, 0], (2, 10)), b[:, 0, :, 0]),
    ]
    for left, right in pairs:
        for variant in (None, "blocked", "packed", "direct", "dot"):
            check(K.matmul(left, right, variant=variant), left, right)


def test_rows_that_go_on_from_matrix_to_matrix(
    dtype: Any, threads: int, rng: np.random.Generator, check: Any
) -> None:
    """Multiplied as one taller matrix; the others, nearly so, not."""
    x = rng.standard_normal((6, 5, 4, 16)).astype(dtype)
    b = rng.standard_normal((16, 9)).astype(dtype)
    for a in (
        x,
        x[:, ::2],
        x[..., ::2, :],
        x[:, :, :3],
        x[::-1],
        x[:, :, ::-1],
        x[..., ::-1],
        x.swapaxes(0, 1),
    ):
        check(K.matmul(a, b, bias=b[0]), a, b, b[0])
        check(K.matmul(a, np.broadcast_to(b, (a.shape[1], *b.shape))), a, b)
        out = np.full((2, *a.shape[:-1], 9), np.nan, dtype)
        for target in (out[0], out[1, ..., ::-1, :], np.empty((*a.shape[:-1], 18), dtype)[..., ::2]):
            K.matmul(a, b, out=target)
            check(target, a, b)


@pytest.mark.parametrize("shape", [(8, 40, 300), (3, 200, 300), (1000, 3, 5), (300, 16, 16)])
def test_threads_over_stacks(
    shape: tuple[int, int, int], dtype: Any, threads: int, rng: np.random.Generator, check: Any
) -> None:
    batch, m, k = shape
    a, b = rng.standard_normal((batch, m, k)).astype(dtype), rng.standard_normal((batch, k, 70)).astype(dtype)
    bias = rng.standard_normal(70).astype(dtype)
    first = K.matmul(a, b, bias=bias, activation="tanh")
    check(first, a, b, bias, "tanh")
    assert K.matmul(a, b, bias=bias, activation="tanh").tobytes() == first.tobytes()


def test_most_dimensions() -> None:
    most = 64 if int(np.__version__.split(".")[0]) >= 2 else 32
    a = np.arange(6.0).reshape((1,) * (most - 2) + (2, 3))
    b = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(K.matmul(a, b), np.matmul(a, b))
    np.testing.assert_array_equal(K.matmul(a, a, trans_b=True), np.matmul(a, np.swapaxes(a, -1, -2)))
    np.testing.assert_array_equal(K.matmul(a, b[:, 0]), np.matmul(a, b[:, 0]))
    np.testing.assert_array_equal(K.matmul(a[..., 0, :], b), np.matmul(a[..., 0, :], b))


def test_vectors_give_arrays() -> None:
    out = K.matmul(np.ones(3), np.ones(3))
    assert isinstance(out, np.ndarray)
    assert out.shape == ()
    given = np.empty(())
    assert K.matmul(np.ones(3), np.ones(3), out=given, bias=np.ones(1)) is given
    assert given == 4
