"""NaN, infinities, zeros with a sign and denormal numbers go through as the definition has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_ALL_SHAPES = [(5, 37, 19), (20, 70, 50), (33, 5, 3), (1, 40, 65), (65, 23, 1), (3, 1500, 4)]


def _shapes(variant: str | None) -> list[tuple[int, int, int]]:
    return [shape for shape in _ALL_SHAPES if variant != "matvec" or 1 in (shape[0], shape[2])]


pytestmark = pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_reaches_its_row_or_column_and_no_other(
    variant: str | None, special: float, dtype: Any, rng: np.random.Generator
) -> None:
    for m, k, n in _shapes(variant):
        for trans_b in (False, True):
            a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
            row, col, depth = (int(rng.integers(0, size)) for size in (m, n, k))
            given = b.T.copy() if trans_b else b
            a[row, depth] = special
            out = K.matmul(a, given, trans_b=trans_b, variant=variant)
            expected = np.full((m, n), k, dtype)
            expected[row] = special
            np.testing.assert_array_equal(out, expected)
            # 0 times NaN, and 0 times infinity, is NaN.
            a[row, depth] = 0
            b[depth, col] = special
            given = b.T.copy() if trans_b else b
            expected = np.full((m, n), k, dtype)
            expected[row] = k - 1
            expected[:, col] = special
            expected[row, col] = np.nan
            np.testing.assert_array_equal(K.matmul(a, given, trans_b=trans_b, variant=variant), expected)


def test_what_out_held_does_not_matter(variant: str | None, dtype: Any) -> None:
    for m, k, n in [*_shapes(variant), (1, 0, 9)]:
        for order in ("C", "F"):
            out = np.full((m, n), np.nan, dtype, order=order)
            K.matmul(np.ones((m, k), dtype), np.ones((k, n), dtype), out=out, variant=variant)
            np.testing.assert_array_equal(out, np.full((m, n), k))
            K.matmul(np.zeros((m, k), dtype), np.ones((k, n), dtype), out=out, variant=variant)
            np.testing.assert_array_equal(out, np.zeros((m, n)))


def test_accumulate_keeps_what_is_special(variant: str | None, dtype: Any) -> None:
    for m, k, n in _shapes(variant):
        out = np.zeros((m, n), dtype)
        out[0, 0], out[-1, -1] = np.nan, np.inf
        expected = out + dtype(k)
        K.matmul(np.ones((m, k), dtype), np.ones((k, n), dtype), out=out, accumulate=True, variant=variant)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("activation", "limits"), [("relu", (np.inf, 0)), ("sigmoid", (1, 0)), ("tanh", (1, -1))]
)
def test_activations_of_special_values(
    variant: str | None, activation: Any, limits: tuple[float, float], dtype: Any
) -> None:
    for width in (1, 3, 17, 50) if variant != "matvec" else (1,):
        for order in ("C", "F"):
            a = np.array([[np.nan], [np.inf], [-np.inf], [0], [np.finfo(dtype).max]], dtype)
            out = np.empty((5, width), dtype, order=order)
            K.matmul(a, np.ones((1, width), dtype), out=out, activation=activation, variant=variant)
            assert np.isnan(out[0]).all()
            np.testing.assert_array_equal(out[1], np.full(width, limits[0], dtype))
            np.testing.assert_array_equal(out[2], np.full(width, limits[1], dtype))
            np.testing.assert_array_equal(out[3], np.full(width, 0.5 if activation == "sigmoid" else 0))
            assert (out[4] == (np.finfo(dtype).max if activation == "relu" else 1)).all()


def test_bias_that_is_not_finite(variant: str | None, dtype: Any) -> None:
    for m, k, n in _shapes(variant):
        bias = np.zeros(n, dtype)
        bias[n // 2] = np.nan
        expected = np.full((m, n), k, dtype) + bias
        a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
        np.testing.assert_array_equal(K.matmul(a, b, bias=bias, variant=variant), expected)
        np.testing.assert_array_equal(K.matmul(a, b, bias=bias, activation="relu", variant=variant), expected)


def test_denormal_numbers(variant: str | None, dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    for m, k, n in _shapes(variant):
        out = K.matmul(np.full((m, k), tiny, dtype), np.ones((k, n), dtype), variant=variant)
        np.testing.assert_array_equal(out, np.full((m, n), k * tiny))


def test_overflow_is_infinite(variant: str | None, dtype: Any) -> None:
    big = np.finfo(dtype).max
    for m, k, n in _shapes(variant):
        out = K.matmul(np.full((m, k), big, dtype), np.full((k, n), big, dtype), variant=variant)
        np.testing.assert_array_equal(out, np.full((m, n), np.inf))
