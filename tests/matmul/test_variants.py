"""Every step of the ladder against float64, over every size around its tiles, every layout and every ending."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_ACTIVATIONS = [None, "relu", "sigmoid", "tanh"]
# Around the widths of registers and tiles of all instruction sets: 2 to 16 lanes, 3 to 14 rows, 1 to 3 registers.
_SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 24, 28, 31, 32, 33, 47, 48, 49, 63, 64, 65]

Shape = tuple[int, int, int]


def _fits(variant: str | None, m: int, n: int) -> bool:
    return variant != "matvec" or m == 1 or n == 1


def _pair(rng: np.random.Generator, shape: Shape, dtype: Any) -> tuple[Any, Any]:
    m, k, n = shape
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def test_every_size(variant: str | None, dtype: Any, rng: np.random.Generator, check: Any) -> None:
    shapes: list[Shape] = []
    for size in range(1, 71):
        one, other = (int(x) for x in rng.choice(_SIZES, 2))
        shapes += [(size, one, other), (one, size, other), (one, other, size)]
        shapes += [(1, one, size), (size, one, 1), (1, size, one), (one, size, 1)]
    for m, k, n in shapes:
        if not _fits(variant, m, n):
            continue
        a, b = _pair(rng, (m, k, n), dtype)
        # Not owned by NumPy's allocator: starts anywhere, and what is around it is seen.
        memory = np.full(m * n + 40, np.nan, dtype)
        start = int(rng.integers(0, 20))
        out = memory[start : start + m * n].reshape(m, n)
        K.matmul(a, b, out=out, variant=variant)
        check(out, a, b)
        assert np.isnan(memory[:start]).all()
        assert np.isnan(memory[start + m * n :]).all()


def test_every_number_of_transposed_rows(
    variant: str | None, dtype: Any, rng: np.random.Generator, check: Any
) -> None:
    """Tiles that are small read them from a copy, 12 to a group, where there are more than two groups."""
    if variant == "matvec":
        return
    for m in range(23, 50):
        n, k = int(rng.choice([17, 33, 40, 63, 70])), int(rng.choice([1, 5, 16, 67]))
        a, b = _pair(rng, (m, k, n), dtype)
        bias, start = rng.standard_normal(n).astype(dtype), rng.standard_normal((m, n)).astype(dtype)
        turned = np.ascontiguousarray(a.T)
        check(
            K.matmul(turned, b, trans_a=True, bias=bias, activation="relu", variant=variant),
            a,
            b,
            bias,
            "relu",
        )
        out = start.copy()
        K.matmul(turned, b, trans_a=True, out=out, accumulate=True, variant=variant)
        check(out, a, b, start=start)


_ODD_SHAPES: list[Shape] = [(5, 37, 19), (17, 9, 50), (33, 70, 3), (1, 40, 65), (65, 23, 1), (1, 30, 1)]


def test_every_layout(
    variant: str | None,
    layout: str,
    layouts: tuple[str, ...],
    dtype: Any,
    rng: np.random.Generator,
    lay_out: Callable[..., Any],
    check: Any,
) -> None:
    """`layout` of A with every layout of B, and one of the result, plain and added to."""
    for shape in _ODD_SHAPES:
        m, _, n = shape
        if not _fits(variant, m, n):
            continue
        a, b = _pair(rng, shape, dtype)
        for of_b in layouts:
            of_out = str(rng.choice(layouts))
            start = rng.standard_normal((m, n)).astype(dtype)
            out = lay_out(start, of_out)
            around = None if out.base is None else np.isnan(out.base).sum()
            K.matmul(lay_out(a, layout), lay_out(b, of_b), out=out, accumulate=True, variant=variant)
            check(out, a, b, start=start)
            out[...] = np.nan
            K.matmul(lay_out(a, layout), lay_out(b, of_b), out=out, variant=variant)
            check(out, a, b)
            assert around is None or np.isnan(out.base).sum() == around


@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize("trans_a", [False, True])
def test_transposes(
    variant: str | None, trans_a: bool, trans_b: bool, dtype: Any, rng: np.random.Generator, check: Any
) -> None:
    for shape in [*_ODD_SHAPES, (64, 130, 70), (20, 200, 33)]:
        if not _fits(variant, shape[0], shape[2]):
            continue
        a, b = _pair(rng, shape, dtype)
        given_a = np.ascontiguousarray(a.T) if trans_a else a
        given_b = np.ascontiguousarray(b.T) if trans_b else b
        check(K.matmul(given_a, given_b, trans_a=trans_a, trans_b=trans_b, variant=variant), a, b)


@pytest.mark.parametrize("activation", _ACTIVATIONS)
@pytest.mark.parametrize("with_bias", [False, True])
def test_endings(
    variant: str | None,
    with_bias: bool,
    activation: Any,
    dtype: Any,
    rng: np.random.Generator,
    lay_out: Callable[..., Any],
    check: Any,
) -> None:
    for m, k, n in [*_ODD_SHAPES, (40, 0, 21), (70, 33, 129)]:
        if not _fits(variant, m, n):
            continue
        a, b = _pair(rng, (m, k, n), dtype)
        bias = rng.standard_normal(n).astype(dtype) if with_bias else None
        check(K.matmul(a, b, bias=bias, activation=activation, variant=variant), a, b, bias, activation)
        strided = None if bias is None else np.repeat(bias, 3)[::-3][::-1]
        for of_b, of_out in itertools.product(("C", "F"), ("F", "both apart")):
            out = lay_out(np.full((m, n), np.nan, dtype), of_out)
            K.matmul(a, lay_out(b, of_b), out=out, bias=strided, activation=activation, variant=variant)
            check(out, a, b, bias, activation)
        if activation is None:
            start = rng.standard_normal((m, n)).astype(dtype)
            out = start.copy()
            K.matmul(a, b, out=out, bias=bias, accumulate=True, variant=variant)
            check(out, a, b, bias, start=start)


# Several blocks of K and of N of every step that has them.
_LARGE: list[Shape] = [(17, 2100, 40), (30, 1100, 70), (15, 400, 530), (200, 1, 300)]


def test_large(variant: str | None, dtype: Any, rng: np.random.Generator, check: Any) -> None:
    for m, k, n in _LARGE:
        if variant == "matvec":
            m = 1
        a, b = _pair(rng, (m, k, n), dtype)
        bias, start = rng.standard_normal(n).astype(dtype), rng.standard_normal((m, n)).astype(dtype)
        check(K.matmul(a, b, bias=bias, activation="relu", variant=variant), a, b, bias, "relu")
        turned = b.T.copy()
        out = K.matmul(a, turned, bias=bias, activation="tanh", trans_b=True, variant=variant)
        check(out, a, b, bias, "tanh")
        out = start.copy()
        K.matmul(a.T.copy(), b, out=out, trans_a=True, bias=bias, accumulate=True, variant=variant)
        check(out, a, b, bias, start=start)


def test_long_sums(variant: str | None, dtype: Any, rng: np.random.Generator, check: Any) -> None:
    for m, n in ((1, 1), (2, 3), (7, 1), (1, 9)):
        if _fits(variant, m, n):
            a, b = _pair(rng, (m, 20_003, n), dtype)
            check(K.matmul(a, b, variant=variant), a, b)
            check(K.matmul(a, b.T.copy().T, variant=variant), a, b)


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (0, 5, 0), (1, 0, 1)])
def test_zero_sized(variant: str | None, shape: Shape, dtype: Any) -> None:
    m, k, n = shape
    if not _fits(variant, m, n):
        return
    a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
    bias = np.arange(n).astype(dtype)
    np.testing.assert_array_equal(K.matmul(a, b, variant=variant), np.zeros((m, n)))
    out = np.full((m, n), np.nan, dtype)
    K.matmul(a, b, out=out, bias=bias, variant=variant)
    np.testing.assert_array_equal(out, np.zeros((m, n)) + bias)
    out[...] = 7
    K.matmul(a, b, out=out, bias=bias, accumulate=True, variant=variant)
    np.testing.assert_array_equal(out, np.full((m, n), 7) + bias)
    np.testing.assert_array_equal(K.matmul(a, b, activation="sigmoid", variant=variant), np.full((m, n), 0.5))


def test_broadcast_operands(variant: str | None, dtype: Any, rng: np.random.Generator, check: Any) -> None:
    """Strides of zero."""
    for m, k, n in _ODD_SHAPES:
        if not _fits(variant, m, n):
            continue
        a, b = _pair(rng, (m, k, n), dtype)
        for left, right in (
            (np.broadcast_to(a[:1], a.shape), b),
            (np.broadcast_to(a[:, :1], a.shape), b),
            (a, np.broadcast_to(b[:1], b.shape)),
            (a, np.broadcast_to(b[:, :1], b.shape)),
            (np.broadcast_to(a[:1, :1], a.shape), np.broadcast_to(b[:1, :1], b.shape)),
        ):
            bias = np.broadcast_to(b[0, :1], (n,))
            check(K.matmul(left, right, bias=bias, variant=variant), left, right, bias)


def test_one_matrix_twice(variant: str | None, dtype: Any, rng: np.random.Generator, check: Any) -> None:
    if variant != "matvec":
        a = rng.standard_normal((37, 37)).astype(dtype)
        check(K.matmul(a, a, variant=variant), a, a)
        check(K.matmul(a, a.T, variant=variant), a, a.T)


def test_same_bits_each_time(variant: str | None, dtype: Any, rng: np.random.Generator) -> None:
    for m, k, n in ((37, 1300, 70), (3, 9000, 5), (1, 3000, 200), (50, 60, 70)):
        if variant == "matvec":
            m = 1
        a, b = _pair(rng, (m, k, n), dtype)
        expected = K.matmul(a, b, variant=variant).tobytes()
        assert all(K.matmul(a, b, variant=variant).tobytes() == expected for _ in range(3))


def test_one_thread_steps_have_the_same_bits_on_any_threads(
    variant: str | None, dtype: Any, rng: np.random.Generator
) -> None:
    if variant in (None, "threaded", "ksplit"):
        return
    a, b = _pair(rng, (1 if variant == "matvec" else 60, 700, 130), dtype)
    before = K.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            K.set_num_threads(count)
            results.append(K.matmul(a, b, variant=variant).tobytes())
    finally:
        K.set_num_threads(before)
    assert results[0] == results[1] == results[2]
