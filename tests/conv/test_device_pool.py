"""The CUDA kernels of pooling against the definition: on the SIMT machine, and on a GPU where there is one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from conv_cases import run
from tested_backends import needs

import dlkit.kernels as K
from dlkit.kernels import device_pool as P
from dlkit.kernels.backend import backend_named

# planes' extents, window
WINDOWS: list[tuple[tuple[int, int], dict[str, Any]]] = [
    ((8, 8), {"kernel_size": (2, 2)}),
    ((9, 7), {"kernel_size": (2, 2)}),
    ((6, 10), {"kernel_size": (2, 2)}),
    ((9, 11), {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}),
    ((7, 12), {"kernel_size": (3, 2), "stride": (1, 3), "padding": (1, 0), "ceil_mode": True}),
    ((1, 20), {"kernel_size": (1, 5), "stride": (1, 2), "padding": (0, 2)}),
    ((10, 9), {"kernel_size": (2, 3), "stride": (2, 1), "dilation": (3, 2)}),
    ((5, 5), {"kernel_size": (2, 2), "stride": (3, 3)}),
    ((6, 6), {"kernel_size": (6, 6)}),
    ((3, 4), {"kernel_size": (2, 2), "padding": (1, 1), "ceil_mode": True}),
]


class Device:
    """Arrays of a backend."""

    def __init__(self, name: str) -> None:
        self.name, self.backend = name, backend_named(name)

    def put(self, array: Any) -> Any:
        return self.backend.from_host(array, self.name)

    def get(self, array: Any) -> Any:
        return self.backend.to_host(array)


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> Device:
    needs(request.param)
    return Device(request.param)


@pytest.fixture(params=WINDOWS, ids=str)
def window(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[None, "naive", "packs"])
def variant(request: pytest.FixtureRequest) -> Any:
    return request.param


def taps(extents: Any, window: dict[str, Any]) -> tuple[tuple[int, int], Any]:
    """How many windows there are, and for each (i, j) its (tap, row, column) in the plane."""
    kernel = window["kernel_size"]
    stride = window.get("stride", kernel)
    pad, dilation = window.get("padding", (0, 0)), window.get("dilation", (1, 1))
    counts = []
    for axis in (0, 1):
        room = extents[axis] + 2 * pad[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        if window.get("ceil_mode"):
            room += stride[axis] - 1
        count = room // stride[axis] + 1
        if window.get("ceil_mode") and (count - 1) * stride[axis] >= extents[axis] + pad[axis]:
            count -= 1
        counts.append(count)
    found: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for i, j in itertools.product(*map(range, counts)):
        found[i, j] = []
        for u, v in itertools.product(*map(range, kernel)):
            h = i * stride[0] - pad[0] + u * dilation[0]
            w = j * stride[1] - pad[1] + v * dilation[1]
            if 0 <= h < extents[0] and 0 <= w < extents[1]:
                found[i, j].append((u * kernel[1] + v, h, w))
    return (counts[0], counts[1]), found


def maxima(x: Any, window: dict[str, Any], relu: bool = False) -> tuple[Any, Any, Any]:
    """y, indices in the plane, places in the window."""
    counts, found = taps(x.shape[2:], window)
    y = np.empty((*x.shape[:2], *counts), x.dtype)
    indices, places = np.empty(y.shape, np.int64), np.empty(y.shape, np.uint8)
    for n, c in np.ndindex(*x.shape[:2]):
        for (i, j), elements in found.items():
            best = None
            for tap, h, w in elements:
                value = x[n, c, h, w]
                if best is None or value > best[0] or np.isnan(value):
                    best = value, tap, h * x.shape[3] + w
            assert best is not None
            if relu and best[0] <= 0:
                best = 0, 255, -1
            y[n, c, i, j], places[n, c, i, j], indices[n, c, i, j] = best
    return y, indices, places


def spread(grad: Any, indices: Any, extents: Any) -> Any:
    dx = np.zeros((*grad.shape[:2], extents[0] * extents[1]))
    for at in np.ndindex(*grad.shape):
        if indices[at] >= 0:
            dx[(*at[:2], indices[at])] += grad[at]
    return dx.reshape(*grad.shape[:2], *extents)


def test_maxima(device: Device, window: Any, variant: Any, dtype: Any, rng: np.random.Generator) -> None:
    extents, settings = window
    x = rng.integers(-3, 4, (2, 3, *extents)).astype(dtype)  # with many that are equal
    x.reshape(-1)[rng.integers(0, x.size, 3)] = np.nan
    y, indices, places = maxima(x, settings)
    there = device.put(x)
    out = device.backend.xp.full(y.shape, np.nan, dtype)
    got, where = run(P.max_pool2d, there, **settings, variant=variant, return_indices="places", out=out)
    assert got is out
    np.testing.assert_array_equal(device.get(got), y)
    np.testing.assert_array_equal(device.get(where), places)
    again, numbers = P.max_pool2d(there, **settings, variant=variant, return_indices=True)
    np.testing.assert_array_equal(device.get(again), y)
    np.testing.assert_array_equal(device.get(numbers), indices)
    np.testing.assert_array_equal(device.get(P.max_pool2d(there, **settings, variant=variant)), y)

    y, indices, places = maxima(x, settings, relu=True)
    got, where = P.max_pool2d(there, **settings, variant=variant, return_indices="places", activation="relu")
    np.testing.assert_array_equal(device.get(got), y)
    np.testing.assert_array_equal(device.get(where), places)
    grad = rng.standard_normal(y.shape).astype(dtype)
    expected = spread(grad, indices, extents)
    given = device.put(grad)
    rounding = 8 * float(np.finfo(dtype).eps)
    for kept in (places, indices):
        dx = device.backend.xp.full(x.shape, np.nan, dtype)
        P.max_pool2d_backward(given, device.put(kept), extents, **settings, variant=variant, out=dx)
        np.testing.assert_allclose(device.get(dx), expected, rtol=rounding, atol=rounding)
    dx = P.max_pool2d_backward(given, device.put(indices), extents)
    np.testing.assert_allclose(device.get(dx), expected, rtol=rounding, atol=rounding)


@pytest.mark.parametrize(
    "means", [{}, {"count_include_pad": False}, {"divisor_override": 4}, {"divisor_override": -3}], ids=str
)
def test_means(
    device: Device, window: Any, variant: Any, means: Any, dtype: Any, rng: np.random.Generator
) -> None:
    extents, settings = window
    settings = {name: value for name, value in settings.items() if name != "dilation"}
    counts, found = taps(extents, settings)
    kernel, pad = settings["kernel_size"], settings.get("padding", (0, 0))
    stride = settings.get("stride", kernel)
    x = rng.standard_normal((2, 3, *extents)).astype(dtype)
    grad = rng.standard_normal((2, 3, *counts)).astype(dtype)
    y, dx = np.zeros(grad.shape), np.zeros(x.shape)
    for (i, j), elements in found.items():
        ends = [
            min(at * s - p + k, e + p)
            for at, s, p, k, e in zip((i, j), stride, pad, kernel, extents, strict=True)
        ]
        sizes = [end - (at * s - p) for end, at, s, p in zip(ends, (i, j), stride, pad, strict=True)]
        count = sizes[0] * sizes[1] if means.get("count_include_pad", True) else len(elements)
        count = means.get("divisor_override", count)
        for _, h, w in elements:
            y[:, :, i, j] += np.float64(x[:, :, h, w]) / count
            dx[:, :, h, w] += np.float64(grad[:, :, i, j]) / count
    got = run(P.avg_pool2d, device.put(x), **settings, **means, variant=variant)
    rounding = 16 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(device.get(got), y, rtol=rounding, atol=rounding)
    back = P.avg_pool2d_backward(device.put(grad), extents, **settings, **means, variant=variant)
    np.testing.assert_allclose(device.get(back), dx, rtol=rounding, atol=rounding)


def test_odd_addresses(device: Device, rng: np.random.Generator) -> None:
    """Planes that begin at no multiple of 16 bytes."""
    x = rng.standard_normal((1, 2, 4, 8)).astype(np.float32)
    memory = device.put(np.concatenate([np.zeros(1, np.float32), x.ravel()]))
    got = P.max_pool2d(memory[1:].reshape(x.shape), (2, 2))
    np.testing.assert_array_equal(device.get(got), maxima(x, {"kernel_size": (2, 2)})[0])


def test_sequences(device: Device, variant: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 17))
    there = device.put(x)
    if variant == "packs":
        with pytest.raises(ValueError, match="variant 'packs' needs windows of 2 x 2"):
            K.max_pool1d(there, 3, 2, 1, variant=variant)
        return
    y, places = K.max_pool1d(x, 3, 2, 1, return_indices="places")
    got, where = K.max_pool1d(there, 3, 2, 1, return_indices="places", variant=variant)
    np.testing.assert_array_equal(device.get(got), y)
    np.testing.assert_array_equal(device.get(where), places)
    indices = K.max_pool1d(there, 3, 2, 1, return_indices=True)[1]
    grad = rng.standard_normal(y.shape)
    expected = K.max_pool1d_backward(grad, places, 17, 3, 2, 1)
    given = device.put(grad)
    for kept, window in ((where, (3, 2, 1)), (indices, (3, 2, 1)), (indices, ())):
        out = device.backend.xp.full(x.shape, np.nan, x.dtype)
        assert K.max_pool1d_backward(given, kept, 17, *window, out=out, variant=variant) is out
        np.testing.assert_allclose(device.get(out), expected, rtol=1e-14)
    got = K.avg_pool1d(there, 3, 2, 1, variant=variant)
    np.testing.assert_allclose(device.get(got), K.avg_pool1d(x, 3, 2, 1), rtol=1e-13, atol=1e-15)
    got = K.avg_pool1d_backward(given, 17, 3, 2, 1, variant=variant)
    expected = K.avg_pool1d_backward(grad, 17, 3, 2, 1)
    np.testing.assert_allclose(device.get(got), expected, rtol=1e-13, atol=1e-15)


def test_no_images(device: Device) -> None:
    x = device.put(np.zeros((0, 3, 4, 4), np.float32))
    y, places = P.max_pool2d(x, (2, 2), return_indices="places")
    assert y.shape == places.shape == (0, 3, 2, 2)
    assert P.max_pool2d_backward(y, places, (4, 4), (2, 2)).shape == x.shape
    assert P.avg_pool2d_backward(P.avg_pool2d(x, (2, 2)), (4, 4), (2, 2)).shape == x.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": (5, 2)}, "the window's height is 5 but the input's is 4"),
        (
            {"kernel_size": (2, 3), "dilation": (1, 4)},
            r"the window's width is 9 \(dilated\) but the input's is 8",
        ),
        ({"kernel_size": (2, 2), "padding": (2, 0)}, "padding is 2 and the window's extent 2; expected"),
        ({"kernel_size": (0, 2)}, "kernel_size is 0; expected 1 or more"),
        ({"kernel_size": (2, 2), "stride": (0, 1)}, "stride is 0; expected 1 or more"),
        ({"kernel_size": (2, 2), "variant": "pack"}, "did you mean 'packs'"),
        ({"kernel_size": (3, 3), "variant": "packs"}, "variant 'packs' needs windows of 2 x 2"),
        ({"kernel_size": (4, 64), "padding": (0, 32), "return_indices": "places"}, "at most 255 for places"),
    ],
)
def test_refused(device: Device, settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        P.max_pool2d(device.put(np.zeros((1, 2, 4, 8), np.float32)), **settings)
    assert str(raised.value).startswith("max_pool2d: ")


def test_refused_of_gradients(device: Device) -> None:
    grad = device.put(np.zeros((1, 2, 2, 4), np.float32))
    places = device.put(np.zeros((1, 2, 2, 4), np.uint8))
    with pytest.raises(ValueError, match=r"expected \(1, 2, 3, 4\), the shape of the output"):
        P.max_pool2d_backward(grad, places, (6, 8), (2, 2))
    with pytest.raises(ValueError, match="kernel_size is None; expected the window"):
        P.max_pool2d_backward(grad, places, (4, 8))
    with pytest.raises(ValueError, match="expected one shape"):
        P.max_pool2d_backward(grad, places[:, :1], (4, 8), (2, 2))
    with pytest.raises(TypeError, match="has dtype int32; expected int64 or uint8"):
        P.max_pool2d_backward(grad, places.astype(np.int32), (4, 8), (2, 2))


def test_after_a_convolution(device: Device, rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 3, 3))
    settings: dict[str, Any] = {"padding": 1, "window": (2,)}
    y, places = K.conv2d_max_pool(x, weight, **settings, return_places=True, activation="relu")
    grad = rng.standard_normal(y.shape)
    there = [device.put(array) for array in (x, weight, grad)]
    got, where = K.conv2d_max_pool(*there[:2], **settings, return_places=True, activation="relu")
    np.testing.assert_allclose(device.get(got), y, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(device.get(where), places)
    dx = K.conv2d_max_pool_backward_input(there[2], where, there[1], (9, 8), **settings)
    expected = K.conv2d_max_pool_backward_input(grad, places, weight, (9, 8), **settings)
    np.testing.assert_allclose(device.get(dx), expected, rtol=1e-10, atol=1e-10)
    found = K.conv2d_max_pool_backward_weight(there[2], where, there[0], (3, 3), **settings)
    wanted = K.conv2d_max_pool_backward_weight(grad, places, x, (3, 3), **settings)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(device.get(one), other, rtol=1e-10, atol=1e-10)
