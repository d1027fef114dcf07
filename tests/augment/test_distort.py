"""csrc/augment: each rung against SciPy in float64, given the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K
from dlkit import _cpu

ndimage = pytest.importorskip("scipy.ndimage")


def noise(seed, number, height, width):
    """The uniform fields u and v of an image, as csrc/augment/augment.h numbers them."""
    count = 2 * height * width
    first = number * ((count + 3) // 4)
    words = []
    for block in range(first, first + (count + 3) // 4):
        key = seed & 0xFFFFFFFF, seed >> 32
        words += _cpu.philox4x32(block & 0xFFFFFFFF, block >> 32, 0, 0, *key)
    values = np.array(words[:count], np.uint32).view(np.int32) / 2.0**31
    return values.reshape(2, height, width)


def reference(x, matrices, numbers, seed, alpha, sigma):
    x = x.astype(np.float64)
    _, _, height, width = x.shape
    down, across = np.mgrid[:height, :width].astype(np.float64)
    down -= (height - 1) / 2
    across -= (width - 1) / 2
    out = np.empty_like(x)
    for i, image in enumerate(x):
        u = v = np.zeros((height, width))
        if alpha:
            u, v = (
                alpha * ndimage.gaussian_filter(field, sigma, mode="constant", truncate=3.0)
                for field in noise(seed, int(numbers[i]), height, width)
            )
        (a, b, c), (d, e, f) = matrices[i].astype(np.float64)
        columns = a * across + b * down + c + u + (width - 1) / 2
        rows = d * across + e * down + f + v + (height - 1) / 2
        for channel, plane in enumerate(image):
            out[i, channel] = ndimage.map_coordinates(plane, [rows, columns], order=1, mode="grid-constant")
    return out


def error(got, expected):
    return np.linalg.norm(got - expected) / max(np.linalg.norm(expected), 1e-30)


def random_matrices(rng, count, dtype):
    matrices = np.tile(np.eye(2, 3), (count, 1, 1)) + rng.uniform(-0.3, 0.3, (count, 2, 3))
    matrices[:, :, 2] *= 10
    return matrices.astype(dtype)


def test_the_ladder():
    assert [variant.name for variant in K.variants("distort")] == ["naive", "separable"]


@pytest.mark.parametrize("variant", ["naive", "separable", None])
@pytest.mark.parametrize(
    ("shape", "alpha", "sigma"),
    [
        ((3, 1, 28, 28), 34.0, 4.0),
        ((2, 3, 9, 17), 8.0, 1.3),
        ((5, 2, 7, 5), 0.0, 4.0),
        ((2, 1, 1, 1), 3.0, 2.0),
        ((2, 1, 1, 33), 3.0, 0.1),
        ((1, 1, 3, 2), 5.0, 9.0),
    ],
)
def test_as_scipy_has_it(rng, variant, shape, alpha, sigma, dtype, threads):
    x = rng.random(shape).astype(dtype)
    matrices = random_matrices(rng, len(x), dtype)
    numbers = rng.integers(0, 2**40, len(x))
    seed = int(rng.integers(2**63))
    settings = {"numbers": numbers, "seed": seed, "alpha": alpha, "sigma": sigma, "variant": variant}
    got = K.distort(x, matrices, **settings)
    expected = reference(x, matrices, numbers, seed, alpha, sigma)
    assert got.dtype == dtype
    # Interpolation turns a place's error into a value's, times the step between pixels.
    assert error(got, expected) < (2e-5 if dtype == np.float32 else 1e-13)


def test_the_identity_changes_nothing(rng, dtype):
    x = rng.standard_normal((4, 2, 11, 13)).astype(dtype)
    eye = np.tile(np.eye(2, 3, dtype=dtype), (4, 1, 1))
    for variant in ("naive", "separable"):
        np.testing.assert_allclose(K.distort(x, eye, variant=variant), x, rtol=1e-5)


def test_whole_shifts_move_pixels(rng):
    x = rng.random((1, 1, 5, 6), dtype=np.float32)
    # Place (x, y) takes the value of (x + 2, y - 1): the image moves left by 2 and down by 1.
    got = K.distort(x, np.array([[[1, 0, 2], [0, 1, -1]]], np.float32))
    np.testing.assert_allclose(got[0, 0, 1:, :4], x[0, 0, :-1, 2:], rtol=1e-5)
    assert not got[0, 0, 0].any()
    assert not got[0, 0, :, 4:].any()


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 50), st.floats(0.01, 20), st.data())
def test_rungs_agree(height, width, alpha, sigma, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.random((2, 1, height, width))
    matrices = random_matrices(rng, 2, np.float64)
    settings = {"alpha": alpha, "sigma": min(sigma, 8.0), "seed": 5}
    one, two = (K.distort(x, matrices, variant=v, **settings) for v in ("naive", "separable"))
    assert np.linalg.norm(one - two) <= 1e-12 * max(np.linalg.norm(one), 1)


def test_bits_depend_on_numbers_and_seed_alone(rng):
    x = np.repeat(rng.random((1, 1, 28, 28), dtype=np.float32), 40, axis=0)
    matrices = np.tile(np.eye(2, 3, dtype=np.float32), (40, 1, 1))
    numbers = rng.permutation(1000)[:40]
    whole = K.distort(x, matrices, numbers=numbers, seed=7, alpha=20.0)
    before = K.get_num_threads()
    try:
        K.set_num_threads(2)
        part = K.distort(x[:13], matrices[:13], numbers=numbers[5:18], seed=7, alpha=20.0)
    finally:
        K.set_num_threads(before)
    np.testing.assert_array_equal(part, whole[5:18])
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole, K.distort(x, matrices, numbers=numbers, seed=8, alpha=20.0))


def test_matrices_that_are_no_numbers_read_nothing_out_of_bounds(rng):
    x = rng.random((6, 1, 8, 8), dtype=np.float32) + 1
    matrices = np.tile(np.eye(2, 3, dtype=np.float32), (6, 1, 1))
    for i, bad in enumerate((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30)):
        matrices[i, :, 2] = bad
    for variant in ("naive", "separable"):
        assert not K.distort(x, matrices, variant=variant, alpha=5.0).any()


def test_layouts_and_out(rng):
    x = rng.random((4, 10, 12, 2), dtype=np.float32).transpose(0, 3, 1, 2)
    matrices = random_matrices(rng, 4, np.float32)
    expected = K.distort(np.ascontiguousarray(x), matrices)
    out = np.full((4, 2, 10, 12), np.nan, np.float32)
    assert K.distort(x, matrices, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(K.distort(x[::2], matrices[::2]), expected[::2])


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (3, 0, 4, 4), (3, 1, 0, 4)])
def test_empty(shape):
    assert K.distort(np.zeros(shape), np.zeros((shape[0], 2, 3)), alpha=3.0).shape == shape


IMAGE, EYE = np.zeros((2, 1, 4, 4), np.float32), np.zeros((2, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("x", "matrices", "settings", "kind", "message"),
    [
        (IMAGE[0], EYE, {}, ValueError, r"distort: x is \(1, 4, 4\); expected \(N, C, H, W\)"),
        (IMAGE, EYE[:1], {}, ValueError, r"matrices is \(1, 2, 3\); expected \(2, 2, 3\)"),
        (IMAGE, EYE.astype(np.float64), {}, TypeError, "float64"),
        (IMAGE.astype(np.int32), EYE, {}, TypeError, "int32"),
        (IMAGE, EYE, {"numbers": [1.0, 2.0]}, TypeError, "numbers has dtype float64; expected integers"),
        (IMAGE, EYE, {"numbers": [1]}, ValueError, r"numbers is \(1,\); expected \(2,\)"),
        (IMAGE, EYE, {"numbers": [0, -1]}, ValueError, r"numbers\[1\] is -1; expected 0 or more"),
        (IMAGE, EYE, {"alpha": -1.0}, ValueError, "alpha is -1.0; expected a number of at least 0"),
        (IMAGE, EYE, {"alpha": np.nan}, ValueError, "alpha is nan"),
        (IMAGE, EYE, {"sigma": 0.0}, ValueError, "sigma is 0.0; expected a number above 0"),
        (IMAGE, EYE, {"sigma": 1e9}, ValueError, "sigma is 1000000000.0"),
        (IMAGE, EYE, {"seed": -1}, TypeError, "seed is -1"),
        (IMAGE, EYE, {"variant": "separate"}, ValueError, r"variant is 'separate'.*did you mean 'separable'"),
        (IMAGE, EYE, {"out": np.zeros((2, 1, 4, 5), np.float32)}, ValueError, r"out is \(2, 1, 4, 5\)"),
        (IMAGE, EYE, {"out": IMAGE}, ValueError, "out overlaps x"),
    ],
)
def test_wrong_arguments(x, matrices, settings, kind, message):
    with pytest.raises(kind, match=message):
        K.distort(x, matrices, **settings)
