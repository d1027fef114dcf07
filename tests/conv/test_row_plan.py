"""csrc/conv/row_plan.h and who reads planes by it: depthwise_rows, and the variant "moves" of pooling.

Rows whole and in tiles, several to a register, pairs of them; planes at the ends of the arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import run

import dlkit.kernels as K

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def data(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("size", "padding"),
    [
        ((7, 7), (1, 1)),
        ((14, 14), (2, 2)),
        ((5, 4), (2, 1)),
        ((13, 16), (0, 0)),
        ((6, 15), (4, 3)),
        ((9, 17), (1, 2)),
        ((28, 28), (1, 1)),
        ((11, 33), (2, 2)),
        ((57, 57), (1, 1)),
        ((2, 90), (2, 7)),
        ((1, 3), (2, 2)),
    ],
    ids=str,
)
@FLOATS
def test_depthwise_rows(
    size: Any,
    padding: Any,
    kernel: int,
    stride: int,
    reference: Any,
    dtype: Any,
    threads: int,
    rng: np.random.Generator,
) -> None:
    channels, more = 5, {"stride": stride, "padding": padding, "groups": 5}
    x = data((3, channels, *size), dtype, rng)
    weight, bias = data((channels, 1, kernel, kernel), dtype, rng), data((channels,), dtype, rng)
    tolerance = {"rtol": 2e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-11}
    for activation in (None, "relu"):
        settings = {**more, "activation": activation}
        want = K.conv2d(x, weight, bias, **settings, variant="naive")
        got = run(K.conv2d, x, weight, bias, **settings, variant="depthwise_rows")
        np.testing.assert_allclose(got, want, **tolerance)
    grad = data(want.shape, dtype, rng)
    want = K.conv2d_backward_input(grad, weight, size, **more, variant="naive")
    got = K.conv2d_backward_input(grad, weight, size, **more, variant="depthwise_rows")
    np.testing.assert_allclose(got, want, **tolerance)
    case = reference.Case(
        3, channels, *size, channels, (kernel, kernel), (stride, stride), padding, groups=channels
    )
    got, sums = K.conv2d_backward_weight(grad, x, (kernel, kernel), **more, variant="depthwise_rows")
    bound = reference.bound(dtype, "depthwise_rows", grad.size // channels)
    assert reference.error(got, reference.by_weight(case, grad, x)) < bound
    scale = np.linalg.norm(np.abs(grad).sum(axis=(0, 2, 3), dtype=np.float64))  # the sums may cancel
    assert np.linalg.norm(sums - grad.sum(axis=(0, 2, 3), dtype=np.float64)) < bound * scale


# height, width, kernel, stride, padding, ceil
WINDOWS: list[tuple[Any, ...]] = [
    (7, 7, (3, 3), (1, 1), (1, 1), False),
    (7, 7, (3, 3), (2, 2), (1, 1), False),
    (7, 7, (2, 2), (1, 1), (0, 0), False),
    (14, 14, (3, 3), (2, 2), (0, 0), True),
    (5, 3, (2, 2), (1, 1), (1, 1), False),
    (23, 22, (3, 3), (2, 2), (1, 1), False),
    (19, 31, (3, 3), (1, 1), (1, 0), False),
    (40, 70, (3, 3), (2, 2), (1, 1), False),
    (12, 17, (5, 8), (2, 3), (1, 2), True),
    (9, 90, (1, 4), (3, 5), (0, 0), False),
    (1, 41, (1, 3), (1, 1), (0, 1), False),
]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: str(w).replace(" ", ""))
@FLOATS
def test_means(window: Any, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    height, width, *settings, ceil = window
    x = data((2, 9, height, width), dtype, rng)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    for counting in ({"count_include_pad": False}, {"divisor_override": 7}, {}):
        want = K.avg_pool2d(x, *settings, ceil, **counting, variant="naive")
        got = run(K.avg_pool2d, x, *settings, ceil, **counting, variant="moves")
        np.testing.assert_allclose(got, want, **tolerance)
        inputs = (data(want.shape, dtype, rng), (height, width), *settings, ceil)
        want = K.avg_pool2d_backward(*inputs, **counting, variant="naive")
        got = K.avg_pool2d_backward(*inputs, **counting, variant="moves")
        np.testing.assert_allclose(got, want, **tolerance)


@pytest.mark.parametrize("window", [w for w in WINDOWS if w[2] in ((2, 2), (3, 3))], ids=str)
@FLOATS
def test_gradients_of_maxima(window: Any, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    height, width, *settings, ceil = window
    x = np.round(2 * data((2, 9, height, width), dtype, rng))
    x[rng.random(x.shape) < 0.02] = np.nan
    y, places = K.max_pool2d(x, *settings, ceil_mode=ceil, return_indices="places", activation="relu")
    assert np.any(places == 255)  # windows that nothing flows to
    inputs = (data(y.shape, dtype, rng), places, (height, width), *settings)
    want = K.max_pool2d_backward(*inputs, ceil_mode=ceil, variant="naive")
    got = run(K.max_pool2d_backward, *inputs, ceil_mode=ceil, variant="moves")
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "size", [(13, 13, 5, 5), (7, 7, 3, 3), (10, 10, 7, 7), (32, 32, 5, 5), (6, 50, 9, 20), (3, 4, 7, 9)]
)
@FLOATS
def test_adaptive(size: Any, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    height, width, *out = size
    x = data((3, 7, height, width), dtype, rng)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    want = K.adaptive_avg_pool2d(x, out, variant="naive")
    np.testing.assert_allclose(run(K.adaptive_avg_pool2d, x, out, variant="moves"), want, **tolerance)
    grad = data(want.shape, dtype, rng)
    want = K.adaptive_avg_pool2d_backward(grad, (height, width), variant="naive")
    got = run(K.adaptive_avg_pool2d_backward, grad, (height, width), variant="moves")
    np.testing.assert_allclose(got, want, **tolerance)


def test_what_is_not_taken(rng: np.random.Generator) -> None:
    x, weight = data((1, 4, 9, 9), np.float32, rng), data((4, 1, 3, 3), np.float32, rng)
    for settings in ({"dilation": 2}, {"stride": 3}, {"stride": (1, 2)}):
        with pytest.raises(ValueError, match="variant 'depthwise_rows' needs AVX-512, float32, one channel"):
            K.conv2d(x, weight, groups=4, **settings, variant="depthwise_rows")
    with pytest.raises(ValueError, match="variant 'moves' needs AVX-512, float32, windows"):
        K.avg_pool2d(x, 9, variant="moves")
    y, places = K.max_pool2d(x, 4, return_indices="places")
    with pytest.raises(ValueError, match="variant 'moves' needs AVX-512, float32, uint8 places"):
        K.max_pool2d_backward(y, places, (9, 9), 4, variant="moves")
