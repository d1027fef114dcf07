"""csrc/matmul/best.cpp and the choice of threads in variants.cpp: shapes that take each way through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_L3 = K.config()["cache_bytes"]["l3"] or K.config()["cache_bytes"]["l2"] * 2

# name: (m, k, n, trans_a, trans_b)
_WAYS = {
    "matvec, a row": (1, 784, 1500, False, False),
    "matvec, a row, transposed": (1, 784, 515, False, True),
    "matvec, a column": (515, 784, 1, False, False),
    "matvec, a column, transposed": (515, 784, 1, True, False),
    "narrow": (64, 512, 3, False, False),
    "narrow, transposed": (64, 512, 3, False, True),
    "narrow, too short a sum": (64, 9, 3, False, False),
    "few rows": (9, 300, 333, False, False),
    "direct": (64, 300, 256, False, False),
    "direct, rows of B in few cache sets": (32, 1030, 1024, False, False),
    "fused": (201, 300, 331, False, False),
    "fused, several blocks of K": (131, 1100, 70, False, False),
    "transposed A": (300, 64, 257, True, False),
    "transposed A, few rows": (10, 300, 257, True, False),
    "transposed A, N leaves lanes empty: C is turned": (256, 400, 100, True, False),
    "transposed A, more than caches hold: C is turned": (3000, 900, 40, True, False),
    "transposed B, turned": (300, 200, 90, False, True),
    "transposed B, swapped": (64, 250, 400, False, True),
    "transposed B, swapped, several blocks of K": (32, 2100, 50, False, True),
    "transposed B, along K": (3, 700, 101, False, True),
    "transposed B, along K, blocks": (20, 3000, 65, False, True),
    "both transposed": (65, 130, 97, True, True),
    "both transposed, wide": (16, 200, 400, True, True),
    "slices of K": (8, 12_000, 7, False, False),
    "slices of K, transposed": (8, 12_000, 7, True, True),
    "blocks of rows": (700, 90, 16, False, False),
    "blocks of columns": (16, 90, 700, False, False),
    "blocks of rows and columns": (200, 90, 200, False, False),
    "wide enough for a boundary": (21, 70, 801, False, False),
    "outer product": (300, 1, 300, False, False),
}


@pytest.mark.parametrize("way", _WAYS)
def test_way(way: str, dtype: Any, threads: int, rng: np.random.Generator, check: Any) -> None:
    m, k, n, trans_a, trans_b = _WAYS[way]
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    bias, start = rng.standard_normal(n).astype(dtype), rng.standard_normal((m, n)).astype(dtype)
    given_a = np.ascontiguousarray(a.T).T if trans_a else a
    given_b = np.ascontiguousarray(b.T).T if trans_b else b
    check(K.matmul(given_a, given_b), a, b)
    check(K.matmul(given_a, given_b, bias=bias, activation="tanh"), a, b, bias, "tanh")
    out = start.copy()
    K.matmul(given_a, given_b, out=out, accumulate=True, bias=bias)
    check(out, a, b, bias, start=start)
    # Columns of the result apart from each other, with and without what must run along its rows.
    out = start.copy(order="F")
    K.matmul(given_a, given_b, out=out, bias=bias, activation="relu")
    check(out, a, b, bias, "relu")
    out = start.copy(order="F")
    K.matmul(given_a, given_b, out=out, accumulate=True)
    check(out, a, b, start=start)


def test_more_threads_than_work(rng: np.random.Generator, check: Any) -> None:
    before = K.get_num_threads()
    try:
        for count in (3, 4, 7):
            K.set_num_threads(count)
            for m, k, n in ((1, 5000, 300), (100, 100, 100), (3, 9000, 3), (400, 3, 400), (5, 9000, 50)):
                a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
                for variant in (None, "threaded", "ksplit"):
                    check(K.matmul(a, b, variant=variant), a, b)
    finally:
        K.set_num_threads(before)


@pytest.mark.parametrize("offset", [0, 1, 3, 15])
def test_result_at_any_boundary(offset: int, dtype: Any, rng: np.random.Generator, check: Any) -> None:
    """A wide result is cut into panels at register boundaries, wherever it begins."""
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((23, 40), (40, 1000)))
    memory = np.full((25, 1024), np.nan, dtype)
    out = memory[1:24, offset : offset + 1000]
    K.matmul(a, b, out=out)
    check(out, a, b)
    assert np.isnan(memory).sum() == memory.size - out.size


@pytest.mark.skipif(_L3 > 80 << 20, reason="the third-level cache holds half of what a test should allocate")
def test_matrix_from_memory(threads: int, rng: np.random.Generator, check: Any) -> None:
    cols = 4000
    rows = _L3 // 2 // 4 // cols + 100
    a = rng.standard_normal((5, rows), dtype=np.float32)
    b = rng.standard_normal((rows, cols), dtype=np.float32)
    check(K.matmul(a, b), a, b)
    c = rng.standard_normal((5, cols), dtype=np.float32)
    check(K.matmul(c, b.T), c, b.T)
    check(K.matmul(a, b, variant="direct"), a, b)


def test_very_wide_row(dtype: Any, rng: np.random.Generator) -> None:
    """A row of results far longer than the stack is deep."""
    a = rng.standard_normal((1, 2)).astype(dtype)
    b = np.ones((2, 6_000_003), dtype)
    for variant in (None, "matvec"):
        out = K.matmul(a, b, variant=variant)
        np.testing.assert_array_equal(out, np.full(1, out[0, 0])[None].repeat(b.shape[1], 1))
        np.testing.assert_allclose(out[0, 0], a.sum(), rtol=1e-6, atol=1e-6)
