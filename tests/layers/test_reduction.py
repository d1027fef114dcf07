"""csrc/layers/reduction.cpp: sums down columns and of squares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K


@pytest.mark.parametrize("variant", ["naive", "fused"])
@pytest.mark.parametrize(
    "shape", [(0, 3), (3, 0), (1, 1), (64, 10), (5, 129), (513, 33), (2000, 700), (40_000, 5), (3, 70_000)]
)
def test_column_sum(
    shape: tuple[int, int], variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    wide = x.astype(np.longdouble)
    tolerance = (1e-14 if dtype is np.float64 else 3e-6) * (20 if variant == "naive" else 1)
    scale = float(np.sqrt((wide**2).sum()))
    got = K.column_sum(x, variant=variant)
    assert got.dtype == dtype
    assert got.shape == shape[1:]
    assert np.linalg.norm(got - wide.sum(axis=0)) <= tolerance * scale
    out = np.ones(shape[1], dtype)
    assert K.column_sum(x, out=out, accumulate=True, variant=variant) is out
    assert np.linalg.norm(out - 1 - wide.sum(axis=0)) <= tolerance * (scale + math.sqrt(shape[1]))


@pytest.mark.parametrize("shape", [(64, 512), (3000, 700), (100_001, 3)])
def test_column_sum_has_the_same_bits_on_any_threads(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape, dtype=np.float32)
    before = K.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            K.set_num_threads(count)
            results.append((K.column_sum(x).tobytes(), K.sum_squares([x, x[1:]])))
    finally:
        K.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([1, 2, -1]),
    st.sampled_from([1, 2, -1]),
    st.booleans(),
)
def test_column_sum_of_any_strides(
    rows: int, cols: int, row_step: int, col_step: int, transpose: bool
) -> None:
    base = np.random.default_rng(rows + 50 * cols).standard_normal(
        (rows * abs(row_step), cols * abs(col_step))
    )
    x = base[::row_step, ::col_step]
    if transpose:
        x = x.T
    np.testing.assert_allclose(K.column_sum(x), x.sum(axis=0), atol=1e-13)
    out = np.zeros(2 * x.shape[1])[::2]
    K.column_sum(x, out=out)
    K.column_sum(x, out=out, accumulate=True)
    np.testing.assert_allclose(out, 2 * x.sum(axis=0), atol=1e-13)


def test_column_sum_errors() -> None:
    x = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"column_sum: x is \(3,\); expected a matrix"):
        K.column_sum(x[:, 0])
    with pytest.raises(ValueError, match=r"column_sum: out is \(3,\); expected \(4,\)"):
        K.column_sum(x, out=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="accumulate=True needs out"):
        K.column_sum(x, accumulate=True)
    with pytest.raises(ValueError, match="column_sum: out overlaps x; expected memory of its own"):
        K.column_sum(x, out=x[0])
    with pytest.raises(TypeError, match="x has dtype int64"):
        K.column_sum(x.astype(np.int64))


def test_sum_squares(dtype: Any, threads: int, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((), (0,), (5,), (70, 33), (100_003,))]
    arrays.append(arrays[3][::2, ::-3])
    expected = sum(float((array.astype(np.float64) ** 2).sum()) for array in arrays)
    assert K.sum_squares(arrays) == pytest.approx(expected, rel=1e-12 if dtype is np.float64 else 1e-6)
    assert K.sum_squares([]) == 0.0


def test_sum_squares_past_the_range_of_float32() -> None:
    for size in (1e30, 1e-30):
        array = np.full(100, size, np.float32)
        assert K.sum_squares([array]) == pytest.approx(100 * float(np.float32(size)) ** 2, rel=1e-6)
    assert K.sum_squares([np.array([np.inf], np.float32)]) == math.inf
    assert math.isnan(K.sum_squares([np.array([1.0, np.nan])]))


def test_sum_squares_of_two_dtypes() -> None:
    assert K.sum_squares([np.full(3, 2.0), np.full(2, 3.0, np.float32)]) == 30.0


def test_sum_squares_errors() -> None:
    with pytest.raises(TypeError, match="sum_squares: arrays is a ndarray; expected a list of arrays"):
        K.sum_squares(np.ones((2, 2)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"sum_squares: arrays\[1\] has dtype int64"):
        K.sum_squares([np.ones(2), np.ones(2, np.int64)])
