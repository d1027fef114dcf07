"""csrc/conv/*_interleaved.cpp: planes side by side, in whole registers and in parts of one, in one band and several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

PLANES = [(1, 5), (2, 16), (3, 21)]
# height, width, kernel, stride, padding, dilation, ceil
WINDOWS: list[tuple[Any, ...]] = [
    (7, 7, (3, 3), (2, 2), (1, 1), (1, 1), False),
    (7, 7, (7, 7), (7, 7), (0, 0), (1, 1), False),
    (4, 3, (2, 2), (1, 2), (1, 1), (1, 1), False),
    (14, 13, (3, 3), (1, 1), (1, 1), (1, 1), False),
    (12, 17, (2, 5), (2, 3), (1, 2), (3, 2), True),
    (16, 16, (4, 4), (4, 4), (0, 0), (1, 1), False),
    (50, 67, (3, 3), (3, 3), (0, 0), (1, 1), True),
    (61, 40, (5, 3), (1, 2), (2, 1), (1, 1), False),
    (9, 11, (1, 1), (3, 2), (0, 0), (1, 1), False),
]
over_planes = pytest.mark.parametrize("planes", PLANES, ids=str)


def over(windows: list[tuple[Any, ...]]) -> Any:
    """A test of planes of all kinds with these windows."""
    by_window = pytest.mark.parametrize("window", windows, ids=lambda w: str(w).replace(" ", ""))
    return lambda test: by_window(over_planes(test))


over_windows = over(WINDOWS)
#: Means and stochastic pooling know none but these.
UNDILATED = [window for window in WINDOWS if window[-2] == (1, 1)]


def data(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator, special: bool = False) -> Any:
    x = rng.standard_normal(shape).astype(dtype)
    if special:  # ties, and what is not a number
        x = np.round(x)
        x[rng.random(shape) < 0.05] = -np.inf
        x[rng.random(shape) < 0.01] = np.nan
    return x


@over_windows
@pytest.mark.parametrize("special", [False, True])
def test_max(planes: Any, window: Any, dtype: Any, special: bool, rng: np.random.Generator) -> None:
    height, width, *settings, ceil = window
    x = data((*planes, height, width), dtype, rng, special)
    for relu in (None, "relu"):
        naive, side = ({"activation": relu, "variant": v} for v in ("naive", "interleaved"))
        for kept in (True, "places"):
            want = K.max_pool2d(x, *settings, ceil, kept, **naive)
            got = K.max_pool2d(x, *settings, ceil, kept, **side)
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_array_equal(got[1], want[1])
        np.testing.assert_array_equal(K.max_pool2d(x, *settings, ceil, **side), want[0])
        grad = data(want[0].shape, dtype, rng)
        inputs = (grad, want[1], (height, width), *settings, ceil)
        expected = K.max_pool2d_backward(*inputs, variant="naive")
        for variant in ("interleaved", "scatter"):
            np.testing.assert_allclose(
                K.max_pool2d_backward(*inputs, variant=variant), expected, rtol=1e-6, atol=1e-6
            )


@over(UNDILATED)
def test_average(planes: Any, window: Any, dtype: Any, rng: np.random.Generator) -> None:
    height, width, *settings, _, ceil = window
    x = data((*planes, height, width), dtype, rng)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    for counting in ({"count_include_pad": False}, {"divisor_override": 7}, {}):
        want = K.avg_pool2d(x, *settings, ceil, **counting, variant="naive")
        got = K.avg_pool2d(x, *settings, ceil, **counting, variant="interleaved")
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)
        grad = data(want.shape, dtype, rng)
        inputs = (grad, (height, width), *settings, ceil)
        want = K.avg_pool2d_backward(*inputs, **counting, variant="naive")
        got = K.avg_pool2d_backward(*inputs, **counting, variant="interleaved")
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("planes", PLANES, ids=str)
@pytest.mark.parametrize(
    "size", [(7, 7, 1, 1), (13, 13, 6, 6), (7, 5, 14, 3), (57, 55, 3, 10), (90, 41, 40, 41)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adaptive(planes: Any, size: Any, dtype: Any, rng: np.random.Generator) -> None:
    height, width, *out = size
    x = data((*planes, height, width), dtype, rng)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    want = K.adaptive_avg_pool2d(x, out, variant="naive")
    np.testing.assert_allclose(
        K.adaptive_avg_pool2d(x, out, variant="interleaved"), want, rtol=rtol, atol=rtol
    )
    grad = data(want.shape, dtype, rng)
    want = K.adaptive_avg_pool2d_backward(grad, (height, width), variant="naive")
    got = K.adaptive_avg_pool2d_backward(grad, (height, width), variant="interleaved")
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)
    x = data(x.shape, dtype, rng, special=True)
    for got, want in zip(
        K.adaptive_max_pool2d(x, out, variant="interleaved"),
        K.adaptive_max_pool2d(x, out, variant="naive"),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)


@over(UNDILATED)
def test_stochastic(planes: Any, window: Any, dtype: Any, rng: np.random.Generator) -> None:
    height, width, *settings, _, _ = window
    # Integers: sums are exact in any order, and so is the choice.
    x = rng.integers(-2, 9, (*planes, height, width)).astype(dtype)
    for got, want in zip(
        *(K.stochastic_pool2d(x, *settings, seed=3, offset=1, variant=v) for v in ("interleaved", "naive")),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)
    want = K.stochastic_average2d(x, *settings, variant="naive")
    np.testing.assert_allclose(K.stochastic_average2d(x, *settings, variant="interleaved"), want, rtol=1e-6)
    grad = data(want.shape, dtype, rng)
    want = K.stochastic_average2d_backward(grad, x, *settings, variant="naive")
    got = K.stochastic_average2d_backward(grad, x, *settings, variant="interleaved")
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 16, 37])
@pytest.mark.parametrize(("cols", "k"), [(5, 5), (9, 1), (54, 3), (700, 32)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("special", [False, True])
def test_k_max(rows: int, cols: int, k: int, dtype: Any, special: bool, rng: np.random.Generator) -> None:
    x = data((rows, cols), dtype, rng, special)
    for got, want in zip(
        K.k_max_pool1d(x, k, variant="interleaved"), K.k_max_pool1d(x, k, variant="naive"), strict=True
    ):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("channels", [16, 37])
@pytest.mark.parametrize(
    ("size", "kernel", "settings"),
    [
        ((7, 7), (3, 3), (1, 1, 1)),
        ((14, 14), (3, 3), (2, 1, 1)),
        ((9, 8), (5, 5), (2, 2, 1)),
        ((33, 40), (3, 3), (1, 2, 2)),
        ((50, 45), (2, 4), ((3, 1), (0, 3), (1, 2))),
        ((3, 2), (7, 7), (1, 3, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_depthwise(
    channels: int, size: Any, kernel: Any, settings: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x = data((3, channels, *size), dtype, rng)
    weight, bias = data((channels, 1, *kernel), dtype, rng), data((channels,), dtype, rng)
    rtol = 2e-5 if dtype == np.float32 else 1e-11
    side: dict[str, Any] = {"variant": "depthwise_interleaved"}
    naive: dict[str, Any] = {"variant": "naive"}
    more = (*settings, channels)
    for activation in (None, "relu"):
        want = K.conv2d(x, weight, bias, *more, activation=activation, **naive)
        got = K.conv2d(x, weight, bias, *more, activation=activation, **side)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)
    grad = data(want.shape, dtype, rng)
    want = K.conv2d_backward_input(grad, weight, size, *more, **naive)
    np.testing.assert_allclose(
        K.conv2d_backward_input(grad, weight, size, *more, **side), want, rtol=rtol, atol=rtol
    )
    for a, b in zip(
        K.conv2d_backward_weight(grad, x, kernel, *more, **side),
        K.conv2d_backward_weight(grad, x, kernel, *more, **naive),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=50 * rtol)
