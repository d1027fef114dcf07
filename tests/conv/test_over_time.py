"""csrc/conv/over_time.cpp: convolution and maximum over time, against conv1d in float64 and against the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

# n, length, channels, filters, size
_CASES = [
    (1, 1, 1, 1, 1),
    (3, 9, 5, 7, 3),
    (2, 5, 3, 4, 5),
    (5, 56, 30, 100, 5),
    (2, 700, 3, 33, 4),
    (40, 20, 17, 16, 2),
    (0, 4, 3, 2, 2),
    (3, 4, 2, 0, 2),
]
variants = pytest.mark.parametrize("variant", ["naive", "windows"])


@pytest.fixture(params=_CASES, ids=str)
def arrays(request: pytest.FixtureRequest, rng: np.random.Generator, dtype: Any) -> Any:
    n, length, channels, filters, size = request.param
    x = rng.standard_normal((n, length, channels)).astype(dtype)
    weight = rng.standard_normal((filters, channels, size)).astype(dtype)
    return x, weight, rng.standard_normal(filters).astype(dtype)


def answers(x: Any, weight: Any) -> Any:
    """Of all windows, in float64: (n, windows, filters)."""
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), weight.shape[2], axis=1)
    return np.einsum("ntcj,fcj->ntf", windows, weight.astype(np.float64))


def close(got: Any, expected: Any, dtype: Any) -> None:
    norm = float(np.linalg.norm(expected))
    bound = 60 * np.finfo(dtype).eps
    assert got.shape == expected.shape
    assert float(np.linalg.norm(got - expected)) <= bound * max(norm, 1)


@variants
def test_forward(arrays: Any, variant: str, threads: int) -> None:
    x, weight, bias = arrays
    y, place = K.conv1d_max(x, weight, bias, variant=variant)
    expected = answers(x, weight)
    close(y, expected.max(axis=1) + bias.astype(np.float64), x.dtype)
    # Rounding may decide between windows whose answers are alike: the place must be that of a maximum.
    chosen = np.take_along_axis(expected, place[:, None, :], axis=1)[:, 0]
    close(chosen, expected.max(axis=1), x.dtype)
    without, _ = K.conv1d_max(x, weight, variant=variant)
    close(without + bias, expected.max(axis=1) + bias.astype(np.float64), x.dtype)


@variants
def test_backward(arrays: Any, variant: str, threads: int, rng: np.random.Generator) -> None:
    x, weight, _ = arrays
    y, place = K.conv1d_max(x, weight)
    grad = rng.standard_normal(y.shape).astype(x.dtype)
    grad[rng.random(grad.shape) < 0.3] = 0
    dx, dweight, dbias = (np.zeros(a.shape) for a in (x, weight, weight[:, 0, 0]))
    wide_x, wide_weight = x.astype(np.float64), weight.astype(np.float64)
    size = weight.shape[2]
    for n, f in np.ndindex(*grad.shape):
        at = slice(place[n, f], place[n, f] + size)
        dx[n, at] += grad[n, f] * wide_weight[f].T
        dweight[f] += grad[n, f] * wide_x[n, at].T
        dbias[f] += grad[n, f]
    got = K.conv1d_max_backward(grad, place, x, weight, variant=variant)
    for mine, expected in zip(got, (dx, dweight, dbias), strict=True):
        assert mine is not None
        assert mine.dtype == x.dtype
        close(mine, expected, x.dtype)
    out, out_bias = np.ones_like(weight), np.ones_like(weight[:, 0, 0])
    none, _, _ = K.conv1d_max_backward(
        grad, place, x, weight, by_x=False, out=out, out_bias=out_bias, accumulate=True, variant=variant
    )
    assert none is None
    close(out - 1, dweight, x.dtype)
    close(out_bias - 1, dbias, x.dtype)
    only, no_weight, no_bias = K.conv1d_max_backward(grad, place, x, weight, by_weight=False, variant=variant)
    assert no_weight is None
    assert no_bias is None
    close(only, dx, x.dtype)


def test_the_same_bits_on_any_number_of_threads(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 30, 24)).astype(np.float32)
    weight = rng.standard_normal((37, 24, 3)).astype(np.float32)
    before = K.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            K.set_num_threads(count)
            y, place = K.conv1d_max(x, weight)
            found.append((y, place, *K.conv1d_max_backward(y, place, x, weight)))
    finally:
        K.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@variants
def test_the_first_of_equal_places_and_nan(variant: str, dtype: Any) -> None:
    x = np.array([[[1.0], [3.0], [3.0], [2.0]], [[1.0], [np.nan], [5.0], [np.nan]]], dtype)
    y, place = K.conv1d_max(x, np.ones((40, 1, 1), dtype), variant=variant)
    np.testing.assert_array_equal(y[0], 3)
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(place, np.ones((2, 40)))


def test_strides_and_lists(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 6, 8))
    weight = rng.standard_normal((3, 4, 2))
    plain, place = K.conv1d_max(np.ascontiguousarray(x[:, :, ::2]), weight)
    strided, other = K.conv1d_max(x[:, :, ::2], weight.copy(order="F"))
    np.testing.assert_array_equal(plain, strided)
    np.testing.assert_array_equal(place, other)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "text"),
    [
        ((2, 5), (3, 4, 2), None, r"x is \(2, 5\); expected \(N, L, C\)"),
        ((2, 5, 4), (3, 4), None, r"weight is \(3, 4\); expected \(F, C, K\)"),
        ((2, 5, 4), (3, 5, 2), None, "4 channels need a weight of as many, not 5"),
        ((2, 5, 4), (3, 4, 6), None, "a window of 6 does not fit into a length of 5"),
        ((2, 5, 4), (3, 4, 0), None, "a window of 0 does not fit"),
        ((2, 0, 4), (3, 4, 1), None, "a window of 1 does not fit into a length of 0"),
        ((2, 5, 4), (3, 4, 2), (4,), r"bias is \(4,\); expected \(3,\)"),
    ],
)
def test_wrong_shapes(x: Any, weight: Any, bias: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"conv1d_max: .*{text}"):
        K.conv1d_max(np.ones(x), np.ones(weight), None if bias is None else np.ones(bias))


def test_other_errors() -> None:
    x, weight = np.ones((2, 5, 4)), np.ones((3, 4, 2))
    y, place = K.conv1d_max(x, weight)
    with pytest.raises(TypeError, match=r"conv1d_max: .*float32"):
        K.conv1d_max(x, weight.astype(np.float32))
    with pytest.raises(TypeError):
        K.conv1d_max(x.astype(int), weight.astype(int))
    with pytest.raises(ValueError, match="variant is 'fast'; expected None, naive or windows"):
        K.conv1d_max(x, weight, variant="fast")
    with pytest.raises(ValueError, match=r"place holds 4; expected 0 to 3"):
        K.conv1d_max_backward(y, np.full_like(place, 4), x, weight)
    with pytest.raises(ValueError, match="place holds -1"):
        K.conv1d_max_backward(y, np.full_like(place, -1), x, weight)
    with pytest.raises(ValueError, match=r"place is \(1, 3\); expected \(2, 3\)"):
        K.conv1d_max_backward(y, place[:1], x, weight)
    with pytest.raises(ValueError, match=r"grad is \(2, 2\); expected \(2, 3\)"):
        K.conv1d_max_backward(y[:, :2], place, x, weight)
    with pytest.raises(ValueError, match="accumulate=True needs out"):
        K.conv1d_max_backward(y, place, x, weight, accumulate=True)
    with pytest.raises(ValueError, match="overlaps"):
        K.conv1d_max_backward(y, place, x, weight, out=weight)
