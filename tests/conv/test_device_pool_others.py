"""The CUDA kernels of adaptive windows, k-max, over time, stochastic pooling and maxout, against their definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conv_cases import run
from tested_backends import needs

import dlkit.kernels as K
from dlkit.kernels.backend import backend_named

RTOL = {np.float32: 2e-6, np.float64: 1e-14}


class Device:
    """Arrays of a backend."""

    def __init__(self, name: str) -> None:
        self.name, self.backend = name, backend_named(name)

    def put(self, array: Any) -> Any:
        return self.backend.from_host(np.asarray(array), self.name)

    def get(self, array: Any) -> Any:
        return self.backend.to_host(array)


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> Device:
    needs(request.param)
    return Device(request.param)


@pytest.fixture
def counted() -> Iterator[Any]:
    """The SIMT machine, counting, and looking for races."""
    needs("simt")
    machine = backend_named("simt").library
    before = machine.get_mode()
    machine.set_mode("both")
    machine.reset_counters()
    yield machine
    machine.reset_counters()
    machine.set_mode(before)


reducing = pytest.mark.parametrize("variant", [None, "naive", "warps"])
packed = pytest.mark.parametrize("variant", [None, "naive", "packs"])

SIZES: list[tuple[Any, Any]] = [
    ((7, 7), (1, 1)),
    ((28, 28), (1, 1)),
    ((5, 67), (1, 1)),
    ((3, 130), (1, 2)),
    ((12, 18), (4, 3)),
    ((40, 36), (2, 2)),
    ((13, 10), (5, 7)),
    ((3, 4), (5, 9)),
    ((9, 8), (2, 8)),
    ((1, 1), (1, 1)),
]


def spans(extent: int, out: int) -> list[range]:
    return [range(i * extent // out, -(-(i + 1) * extent // out)) for i in range(out)]


@pytest.mark.parametrize(("size", "out_size"), SIZES, ids=str)
@reducing
def test_adaptive_means(
    device: Device, variant: Any, size: Any, out_size: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((3, 5, *size)).astype(dtype)
    grad = rng.standard_normal((3, 5, *out_size)).astype(dtype)
    y, dx = np.zeros(grad.shape), np.zeros(x.shape)
    for i, rows in enumerate(spans(size[0], out_size[0])):
        for j, cols in enumerate(spans(size[1], out_size[1])):
            part = np.s_[:, :, rows.start : rows.stop, cols.start : cols.stop]
            y[:, :, i, j] = x[part].astype(np.float64).mean((2, 3))
            dx[part] += (grad[:, :, i, j].astype(np.float64) / (len(rows) * len(cols)))[..., None, None]
    out = device.backend.xp.full(y.shape, np.nan, dtype)
    assert K.adaptive_avg_pool2d(device.put(x), out_size, out=out, variant=variant) is out
    tolerance = {"rtol": 4 * RTOL[dtype], "atol": 4 * RTOL[dtype]}
    np.testing.assert_allclose(device.get(out), y, **tolerance)
    got = run(K.adaptive_avg_pool2d_backward, device.put(grad), size, variant=variant)
    np.testing.assert_allclose(device.get(got), dx, **tolerance)


@pytest.mark.parametrize(("size", "out_size"), SIZES, ids=str)
@reducing
def test_adaptive_maxima(
    device: Device, variant: Any, size: Any, out_size: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.integers(-3, 4, (3, 5, *size)).astype(dtype)  # with many that are equal
    for share in (0, 0.05):
        x[rng.random(x.shape) < share] = np.nan
        y, indices = K.adaptive_max_pool2d(x, out_size, variant="naive")
        got, where = K.adaptive_max_pool2d(device.put(x), out_size, variant=variant)
        np.testing.assert_array_equal(device.get(got), y)
        np.testing.assert_array_equal(device.get(where), indices)
    grad = rng.standard_normal(y.shape).astype(dtype)
    dx = K.max_pool2d_backward(device.put(grad), where, size)
    expected = K.max_pool2d_backward(grad, indices, size)
    np.testing.assert_allclose(device.get(dx), expected, rtol=RTOL[dtype])


def test_adaptive_sequences(device: Device, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 17))
    there = device.put(x)
    for size in (1, 4, 17, 20):
        grad = rng.standard_normal((2, 3, size))
        for got, expected in (
            (K.adaptive_avg_pool1d(there, size), K.adaptive_avg_pool1d(x, size)),
            (K.adaptive_avg_pool1d_backward(device.put(grad), 17), K.adaptive_avg_pool1d_backward(grad, 17)),
            *zip(K.adaptive_max_pool1d(there, size), K.adaptive_max_pool1d(x, size), strict=True),
        ):
            np.testing.assert_allclose(device.get(got), expected, rtol=1e-13, atol=1e-15)
    assert K.adaptive_avg_pool2d(there[None], (None, 3)).shape == (1, 2, 3, 3)


def test_windows_whose_ends_need_64_bits(device: Device, rng: np.random.Generator) -> None:
    """The product of both extents is beyond 2^31."""
    x, grad = rng.standard_normal((1, 1, 46500)), rng.standard_normal((1, 1, 46400))
    y = K.adaptive_avg_pool1d(device.put(x), 46400)
    np.testing.assert_allclose(device.get(y), K.adaptive_avg_pool1d(x, 46400), rtol=1e-13, atol=1e-15)
    dx = K.adaptive_avg_pool1d_backward(device.put(grad), 46500)
    expected = K.adaptive_avg_pool1d_backward(grad, 46500)
    np.testing.assert_allclose(device.get(dx), expected, rtol=1e-13, atol=1e-15)


def test_indices_in_any_order_and_more_than_once(device: Device, rng: np.random.Generator) -> None:
    """What the gradients by index add up, of small planes and of large ones."""
    for size, count in (((5, 6), 40), ((40, 31), 300)):
        grad = rng.standard_normal((2, 3, 1, count))
        indices = rng.integers(-1, size[0] * size[1], grad.shape)
        indices[..., :20] = 7
        dx = K.max_pool2d_backward(device.put(grad), device.put(indices), size)
        np.testing.assert_array_equal(device.get(dx), K.max_pool2d_backward(grad, indices, size))


@reducing
@pytest.mark.parametrize("shape", [(1,), (57,), (3, 4, 20), (9, 130), (2, 300), (0, 5), (2, 3, 1)])
def test_k_max(
    device: Device, variant: Any, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator
) -> None:
    for x in (rng.integers(-3, 4, shape).astype(dtype), rng.standard_normal(shape).astype(dtype)):
        there = rng.random(shape) < 0.1
        x[there] = rng.choice([np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0], int(there.sum()))
        for k in sorted({1, min(3, shape[-1]), shape[-1] // 2 or 1, shape[-1]}):
            y, indices = K.k_max_pool1d(device.put(x), k, variant=variant)
            keys = np.where(np.isnan(x), np.inf, x)
            order = np.lexsort((-keys, ~np.isnan(x)), axis=-1) if x.size else np.zeros(shape, int)
            expected = np.sort(order[..., :k], axis=-1)
            np.testing.assert_array_equal(device.get(indices), expected)
            np.testing.assert_array_equal(device.get(y), np.take_along_axis(x, expected, -1))
            grad = rng.standard_normal(expected.shape).astype(dtype)
            full = np.zeros(shape, dtype)
            np.put_along_axis(full, expected, grad, -1)
            dx = K.k_max_pool1d_backward(device.put(grad), indices, shape[-1])
            np.testing.assert_array_equal(device.get(dx), full)


@reducing
@pytest.mark.parametrize("length", [1, 7, 16, 33, 56, 300])
def test_max_over_time(
    device: Device, variant: Any, length: int, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.integers(-9, 9, (5, 6, length)).astype(dtype)
    lengths = rng.integers(1, length + 1, 5)
    x[0, 0, : lengths[0]] = np.nan
    x[1, 1, :] = -np.inf
    for given in (None, lengths, lengths.astype(np.int32)):
        y, indices = K.max_over_time(x, given, variant="naive")
        for placed in (given, None if given is None else device.put(given)):
            got, where = K.max_over_time(device.put(x), placed, variant=variant)
            np.testing.assert_array_equal(device.get(got), y)
            np.testing.assert_array_equal(device.get(where), indices)
    grad = rng.standard_normal(y.shape).astype(dtype)
    dx = K.max_over_time_backward(device.put(grad), where, length)
    np.testing.assert_array_equal(device.get(dx), K.max_over_time_backward(grad, indices, length))


@reducing
def test_lengths_of_the_device_that_are_out_of_range(device: Device, variant: Any) -> None:
    x = np.arange(24.0).reshape(3, 1, 8)
    lengths = device.put(np.array([-5, 2**40, 0]))
    _, indices = K.max_over_time(device.put(x), lengths, variant=variant)
    np.testing.assert_array_equal(device.get(indices).ravel(), [0, 7, 0])


def test_convolution_and_maximum(device: Device, dtype: Any, rng: np.random.Generator) -> None:
    shapes = (3, 9, 4), (5, 4, 3), (5,)
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    y, place = K.conv1d_max(x, weight, bias)
    there = [device.put(array) for array in (x, weight, bias)]
    tolerance = {"rtol": 20 * RTOL[dtype], "atol": 20 * RTOL[dtype]}
    for variant in (None, "naive"):
        got, where = K.conv1d_max(*there, variant=variant)
        np.testing.assert_allclose(device.get(got), y, **tolerance)
        np.testing.assert_array_equal(device.get(where), place)
        grad = rng.standard_normal(y.shape).astype(dtype)
        expected = K.conv1d_max_backward(grad, place, x, weight)
        found = K.conv1d_max_backward(device.put(grad), where, *there[:2], variant=variant)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(device.get(one), other, **tolerance)
    sums = device.put(np.ones_like(weight)), device.put(np.ones_like(bias))
    arrays = device.put(grad), where, *there[:2]
    dx, *both = K.conv1d_max_backward(*arrays, by_x=False, out=sums[0], out_bias=sums[1], accumulate=True)
    assert dx is None
    for one, other in zip(both, expected[1:], strict=True):
        np.testing.assert_allclose(device.get(one), 1 + other, **tolerance)
    assert K.conv1d_max_backward(*arrays, by_weight=False)[1:] == (None, None)


WINDOWS: list[tuple[Any, ...]] = [(2,), (3, 2, 1), (3, 2), (2, 1), ((2, 5), (3, 4), (1, 2)), (3, 2, 0, True)]


def activations(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    return np.maximum(rng.standard_normal(shape), -0.2).astype(dtype)


@pytest.mark.parametrize("settings", WINDOWS, ids=str)
@pytest.mark.parametrize("size", [(7, 7), (8, 12), (13, 40)], ids=str)
@packed
def test_draws_are_those_of_the_cpu(
    device: Device, variant: Any, settings: Any, size: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x = activations((2, 3, *size), dtype, rng)
    x[0, 0, :2, :2] = -1
    x[0, 1, 0, 0] = np.nan
    for offset in (0, 3, int(rng.integers(0, 2**40)), 2**64 - 5):
        stream = {"seed": int(rng.integers(0, 2**63)), "offset": offset}
        y, places = K.stochastic_pool2d(x, *settings, **stream, variant="naive")
        got, where = run(K.stochastic_pool2d, device.put(x), *settings, **stream, variant=variant)
        np.testing.assert_array_equal(device.get(where), places)
        np.testing.assert_array_equal(device.get(got), y)
    grad = rng.standard_normal(y.shape).astype(dtype)
    window = (*settings[:3], 1, True) if len(settings) == 4 else settings
    dx = K.max_pool2d_backward(device.put(grad), where, size, *window)
    expected = K.max_pool2d_backward(grad, places, size, *window)
    np.testing.assert_allclose(device.get(dx), expected, rtol=RTOL[dtype], atol=RTOL[dtype])


@pytest.mark.parametrize("settings", WINDOWS, ids=str)
@pytest.mark.parametrize("size", [(7, 7), (8, 12), (13, 40)], ids=str)
@packed
def test_averages_of_draws(
    device: Device, variant: Any, settings: Any, size: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x = activations((2, 3, *size), dtype, rng)
    x[0, 0, :3, :3] = -1
    wide = x.astype(np.float64)
    y = K.stochastic_average2d(wide, *settings, variant="naive")
    got = run(K.stochastic_average2d, device.put(x), *settings, variant=variant)
    tolerance = {"rtol": 20 * RTOL[dtype], "atol": 20 * RTOL[dtype]}
    np.testing.assert_allclose(device.get(got), y, **tolerance)
    grad = rng.standard_normal(y.shape).astype(dtype)
    dx = K.stochastic_average2d_backward(grad.astype(np.float64), wide, *settings, variant="naive")
    arrays = device.put(grad), device.put(x)
    found = K.stochastic_average2d_backward(*arrays, *settings, variant=variant)
    bound = K.stochastic_average2d_backward(abs(grad).astype(np.float64), wide, *settings, variant="naive")
    np.testing.assert_allclose(
        device.get(found), dx, rtol=20 * RTOL[dtype], atol=20 * RTOL[dtype] * (1 + abs(bound).max())
    )


GROUPS: list[tuple[Any, int, int]] = [
    ((6, 20), 5, 1),
    ((64, 33), 3, 1),
    ((2, 12, 5, 7), 4, 1),
    ((2, 6, 4, 8), 2, 1),
    ((3, 4, 10), 2, -1),
    ((12,), 3, 0),
    ((4, 600), 300, 1),
    ((600, 4), 300, 0),
    ((0, 6), 2, 1),
    ((3, 4), 1, 1),
]


@pytest.mark.parametrize(("shape", "pieces", "dim"), GROUPS, ids=str)
@packed
def test_maxout(
    device: Device, variant: Any, shape: Any, pieces: int, dim: int, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.integers(-9, 9, shape).astype(dtype)
    axis = dim % len(shape)
    groups = x.reshape(*shape[:axis], shape[axis] // pieces, pieces, *shape[axis + 1 :])
    y, places = groups.max(axis + 1), groups.argmax(axis + 1)
    grad = rng.standard_normal(y.shape).astype(dtype)
    full = np.zeros_like(groups)
    shares = (np.expand_dims(array, axis + 1) for array in (places, grad))
    np.put_along_axis(full, *shares, axis + 1)
    there = device.put(x)
    got = run(K.maxout, there, pieces, dim, variant=variant)
    np.testing.assert_array_equal(device.get(got), y)
    for kind, kept in ((True, np.int64), ("places", np.uint8 if pieces <= 255 else np.int64)):
        got, where = K.maxout(there, pieces, dim, kind, variant=variant)
        assert where.dtype == kept
        np.testing.assert_array_equal(device.get(got), y)
        np.testing.assert_array_equal(device.get(where), places)
        dx = K.maxout_backward(device.put(grad), where, pieces, dim)
        np.testing.assert_array_equal(device.get(dx), full.reshape(shape))


def test_maxout_keeps_nan(device: Device) -> None:
    x = np.array([[1, np.nan, 5, 2], [7, 7, 3, np.nan]], np.float32)
    expected, expected_places = K.maxout(x, 2, return_indices=True)
    y, places = K.maxout(device.put(x), 2, return_indices=True)
    np.testing.assert_array_equal(device.get(y), expected)
    np.testing.assert_array_equal(device.get(places), expected_places)


def test_odd_addresses(device: Device, rng: np.random.Generator) -> None:
    """Arrays that begin at no multiple of 16 bytes."""
    x = activations((1, 2, 4, 8), np.float32, rng)
    memory = device.put(np.concatenate([np.zeros(1, np.float32), x.ravel()]))
    there = memory[1:].reshape(x.shape)
    stream = {"seed": 1, "offset": 4}
    for got, expected in (
        (K.maxout(there, 2), K.maxout(x, 2)),
        (K.stochastic_pool2d(there, 2, **stream)[0], K.stochastic_pool2d(x, 2, **stream)[0]),
        (K.adaptive_max_pool2d(there, 1)[0], K.adaptive_max_pool2d(x, 1)[0]),
    ):
        np.testing.assert_array_equal(device.get(got), expected)
    y = K.stochastic_average2d(x, 2)
    np.testing.assert_allclose(device.get(K.stochastic_average2d(there, 2)), y, rtol=1e-6)
    found = K.stochastic_average2d_backward(device.put(y), there, 2)
    np.testing.assert_allclose(
        device.get(found), K.stochastic_average2d_backward(y, x, 2), rtol=1e-5, atol=1e-6
    )


def test_arrays_in_another_order(device: Device, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 6, 3, 2))
    turned = device.put(x).transpose(3, 2, 1, 0)
    expected = x.transpose(3, 2, 1, 0)
    for call in (
        lambda a: K.adaptive_avg_pool2d(a, 2),
        lambda a: K.k_max_pool1d(a, 2)[1],
        lambda a: K.max_over_time(a[0])[1],
        lambda a: K.maxout(a, 3),
        lambda a: K.stochastic_average2d(a, 2),
    ):
        np.testing.assert_allclose(device.get(call(turned)), call(expected), rtol=1e-13)


@pytest.mark.parametrize("planes", [(0, 3), (2, 0)])
def test_no_planes(device: Device, planes: Any) -> None:
    x = device.put(np.zeros((*planes, 5, 6), np.float32))
    assert K.adaptive_avg_pool2d(x, 1).shape == (*planes, 1, 1)
    assert K.adaptive_avg_pool2d_backward(K.adaptive_avg_pool2d(x, 1), (5, 6)).shape == x.shape
    assert K.adaptive_max_pool2d(x, 2)[1].shape == (*planes, 2, 2)
    assert K.max_over_time(x[:, :, 0])[0].shape == planes
    assert K.k_max_pool1d_backward(*K.k_max_pool1d(x, 2), 6).shape == x.shape
    assert K.stochastic_pool2d(x, 2, seed=0, offset=0)[0].shape == (*planes, 2, 3)
    assert K.stochastic_average2d_backward(K.stochastic_average2d(x, 2), x, 2).shape == x.shape
    assert K.maxout(x, 3, 3).shape == (*planes, 5, 2)


X = np.zeros((2, 4, 9, 9), np.float32)
S = np.zeros((2, 4, 9), np.float32)
W = np.zeros((5, 9, 3), np.float32)
STREAM = {"seed": 0, "offset": 0}


@pytest.mark.parametrize(
    ("call", "arguments", "settings"),
    [
        (K.max_pool2d, (X[0], 2), {}),
        (K.max_pool2d, (X, 10), {}),
        (K.max_pool2d, (X, 2, 0), {}),
        (K.max_pool2d, (X, 2, 2, 2), {}),
        (K.max_pool2d, (X, 16, 1, 8), {"return_indices": "places"}),
        (K.max_pool2d, (X, 2), {"return_indices": "place"}),
        (K.max_pool2d, (X, 2), {"activation": "tanh"}),
        (K.max_pool2d, (X.astype(int), 2), {}),
        (K.max_pool1d, (X, 2), {}),
        (K.max_pool1d, (S, 10), {}),
        (K.max_pool1d, (S, 0), {}),
        (K.max_pool1d, (S, 5), {"dilation": 3}),
        (K.max_pool1d_backward, (S, S.astype(np.uint8), 9), {}),
        (K.max_pool1d_backward, (S, S.astype(np.uint8), 9, 3), {}),
        (K.avg_pool1d, (S, 3, 1, 2), {}),
        (K.avg_pool1d_backward, (S, 9, 3), {}),
        (K.avg_pool2d, (X, 2), {"divisor_override": 0}),
        (K.avg_pool2d, (X, 2), {"divisor_override": 1.5}),
        (K.avg_pool2d, (X[:, :, :0], 2), {}),
        (K.avg_pool2d_backward, (X, (9, 9), 2), {}),
        (K.adaptive_avg_pool2d, (X, 0), {}),
        (K.adaptive_avg_pool2d, (X, 1.5), {}),
        (K.adaptive_avg_pool2d, (X, (1, 2, 3)), {}),
        (K.adaptive_avg_pool2d, (X[0], 1), {}),
        (K.adaptive_avg_pool2d, (X[:, :, :0], 1), {}),
        (K.adaptive_avg_pool2d, (X.astype(int), 1), {}),
        (K.adaptive_avg_pool1d, (X, 1), {}),
        (K.adaptive_avg_pool1d_backward, (S, 0), {}),
        (K.adaptive_max_pool1d, (X, 1), {}),
        (K.k_max_pool1d, (S, 10), {}),
        (K.k_max_pool1d, (S, 0), {}),
        (K.k_max_pool1d, (S, 1.0), {}),
        (K.k_max_pool1d, (S[0, 0, 0], 1), {}),
        (K.k_max_pool1d_backward, (S, S[0].astype(int), 9), {}),
        (K.max_over_time, (S[0],), {}),
        (K.max_over_time, (S[:, :, :0],), {}),
        (K.max_over_time, (S,), {"lengths": [0, 3]}),
        (K.max_over_time, (S,), {"lengths": [3, 10]}),
        (K.max_over_time, (S,), {"lengths": [3, 3, 3]}),
        (K.max_over_time, (S,), {"lengths": [3.0, 3.0]}),
        (K.max_over_time_backward, (S, S, 9), {}),
        (K.stochastic_pool2d, (X, 10), STREAM),
        (K.stochastic_pool2d, (X, 9, 9, 5), STREAM),
        (K.stochastic_pool2d, (np.zeros((1, 1, 16, 16)), 16), STREAM),
        (K.stochastic_pool2d, (X, 2), {"seed": -1, "offset": 0}),
        (K.stochastic_pool2d, (X, 2), {"seed": 0, "offset": 2**64}),
        (K.stochastic_average2d, (S, 2), {}),
        (K.stochastic_average2d_backward, (X, X, 2), {}),
        (K.stochastic_average2d_backward, (X, X.astype(float), 2), {}),
        (K.maxout, (X, 3), {}),
        (K.maxout, (X, 0), {}),
        (K.maxout, (X, 2, 4), {}),
        (K.maxout, (X, 2.0), {}),
        (K.maxout_backward, (X, X[0], 2), {}),
        (K.conv1d_max, (S, W[0]), {}),
        (K.conv1d_max, (S[0], W), {}),
        (K.conv1d_max, (S, W[:, :3]), {}),
        (K.conv1d_max, (S[:, :2], W), {}),
        (K.conv1d_max, (S, W.astype(float)), {}),
        (K.conv1d_max, (S, W), {"variant": "window"}),
        (K.conv1d_max_backward, (S[0], S[0].astype(int), S, W), {}),
    ],
)  # fmt: skip
def test_refused_as_by_the_cpu(device: Device, call: Any, arguments: Any, settings: Any) -> None:
    with pytest.raises((ValueError, TypeError, IndexError)) as expected:
        call(*arguments, **settings)
    there = [device.put(a) if isinstance(a, (np.ndarray, np.generic)) else a for a in arguments]
    with pytest.raises(expected.type) as raised:
        call(*there, **settings)
    assert str(raised.value).replace("1073741823", "2147483647") == str(expected.value)


def test_refused_by_devices_alone(device: Device) -> None:
    x, s = device.put(X), device.put(S)
    for call, error, message in (
        (lambda: K.adaptive_avg_pool2d(x, 2, variant="warp"), ValueError, "did you mean 'warps'"),
        (lambda: K.maxout(x, 2, variant="packs"), ValueError, "variant 'packs' needs a stride"),
        (lambda: K.stochastic_pool2d(x, 2, variant="packs", **STREAM), ValueError, "needs windows of 2 x 2"),
        (
            lambda: K.k_max_pool1d_backward(s, S.astype(int), 9),
            TypeError,
            "indices is on cpu; expected arrays on",
        ),
        (lambda: K.maxout_backward(X, device.put(X), 2), TypeError, "grad is on cpu"),
        (lambda: K.maxout_backward(x, x, 2), TypeError, "places has dtype float32; expected uint8 or int64"),
        (lambda: K.stochastic_average2d_backward(x, X, 2), TypeError, "x is on cpu"),
        (lambda: K.conv1d_max(s, W), TypeError, "weight is on cpu"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_ladders(device: Device) -> None:
    for operation in (
        *("adaptive_avg_pool2d", "adaptive_avg_pool1d_backward", "adaptive_max_pool1d", "k_max_pool1d"),
        *("max_over_time", "stochastic_pool2d", "stochastic_average2d_backward", "maxout", "maxout_backward"),
    ):
        assert K.variants(operation, device.name)[0].name == "naive"


def test_what_moves(counted: Any, rng: np.random.Generator) -> None:
    """Sectors of 32 bytes: each byte once, where lanes lie side by side."""
    simt = backend_named("simt")

    def put(array: Any) -> Any:
        return simt.from_host(array, "simt")

    def count(call: Any) -> tuple[int, int]:
        counted.reset_counters()
        call()
        rows = counted.counters()
        return tuple(sum(row[f"global_{kind}_sectors"] for row in rows) for kind in ("load", "store"))

    x = activations((2, 8, 16, 16), np.float32, rng)
    there, size = put(x), x.nbytes // 32
    assert count(lambda: K.adaptive_avg_pool2d(there, 1)) == (size, 16)  # each warp stores one element
    assert count(lambda: K.adaptive_max_pool2d(there, 1)) == (size, 32)
    # a sector for each element
    assert count(lambda: K.adaptive_avg_pool2d(there, 1, variant="naive"))[0] == x.size
    grad = put(np.ones((2, 8, 1, 1), np.float32))
    loads, stores = count(lambda: K.adaptive_avg_pool2d_backward(grad, (16, 16)))
    assert (loads, stores) == (16, size)  # a sector of grad for each plane
    # y is half of x; a byte of place for each
    assert count(lambda: K.maxout(there, 2, return_indices="places")) == (size, size // 2 + size // 8)
    y, places = K.maxout(there, 2, return_indices="places")
    assert count(lambda: K.maxout_backward(y, places, 2)) == (size + size // 4, size)
    # y is a quarter of x
    stream = {"seed": 1, "offset": 0}
    assert count(lambda: K.stochastic_pool2d(there, 2, **stream)) == (size, size // 4 + size // 16)
    assert count(lambda: K.stochastic_average2d(there, 2)) == (size, size // 4)
    y = K.stochastic_average2d(there, 2)
    assert count(lambda: K.stochastic_average2d_backward(y, there, 2)) == (size + size // 4, size)
    rows = put(x.reshape(64, 1, 64))
    assert count(lambda: K.max_over_time(rows)) == (size, 32)  # y and indices of four rows at a time
    # read once for the keys, and sectors again that have a result
    loads, stores = count(lambda: K.k_max_pool1d(rows, 3))
    assert size <= loads <= size + 64 * 3
    assert 64 * 2 <= stores <= 64 * 3 * 2
