"""The CUDA kernels of convolution against float64: on the SIMT machine, and on a GPU where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import run
from tested_backends import needs

import dlkit.kernels as K
from dlkit.kernels.backend import backend_named, why_not

OPERATIONS = ("conv2d", "conv2d_backward_input", "conv2d_backward_weight")


def _ladder(operation: str) -> list[str | None]:
    return [None] if why_not("simt") else [None, *(step.name for step in K.variants(operation, "simt"))]


# The SIMT machine makes some tens of millions of memory accesses a second: the cases of this chapter, but smaller.
def _small(case: Any) -> Any:
    wide = case.kernel[1] > 5 or case.width > 30
    least = max(case.kernel[0] * case.dilation[0], case.kernel[1] * case.dilation[1])
    extent = max(least + 2, 40 if wide else 9)
    channels, filters = case.channels, case.filters
    groups = case.groups
    if groups == 1:
        channels, filters = min(channels, 17), min(filters, 33 if channels > 1 else 7)
    elif groups == channels:
        channels = groups = min(groups, 5)
        filters = groups * (case.filters // case.groups)
    return case.with_(
        n=min(case.n, 3),
        channels=channels,
        filters=filters,
        groups=groups,
        height=min(case.height, extent),
        width=min(case.width, extent),
    )


@pytest.fixture
def small(case: Any) -> Any:
    return _small(case)


FORWARD, BY_INPUT, BY_WEIGHT = (_ladder(operation) for operation in OPERATIONS)

# How far operands that are rounded for tensor cores may be off, relative.
ROUNDING = {"tensor_tf32": 2.0**-11, "tensor_bf16": 2.0**-8}


class Device:
    """Arrays of a backend, in memory whose surroundings are known."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.backend = backend_named(name)
        self.xp = self.backend.xp

    def put(self, array: Any) -> Any:
        return None if array is None else self.backend.from_host(array, self.name)

    def get(self, array: Any) -> Any:
        return self.backend.to_host(array)

    def framed(self, shape: tuple[int, ...], dtype: Any, shift: int) -> tuple[Any, Any]:
        """An array to write to that begins `shift` elements past an aligned place, and the memory of NaN around it."""
        size = int(np.prod(shape))
        memory = self.xp.full(size + 40, np.nan, dtype)
        return memory[shift : shift + size].reshape(shape), memory

    def untouched(self, memory: Any, size: int, shift: int) -> bool:
        held = self.get(memory)
        return bool(np.isnan(held[:shift]).all() and np.isnan(held[shift + size :]).all())


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> Device:
    needs(request.param)
    return Device(request.param)


def _bound(reference: Any, dtype: Any, variant: str | None, depth: int) -> float:
    coarser = 4 if variant in (None, "winograd") else 1  # its transforms round as well
    return coarser * float(reference.bound(dtype, None, depth)) + 2 * ROUNDING.get(
        (variant or "").partition("/")[0], 0.0
    )


def _dtypes(variant: str | None) -> list[Any]:
    return [np.float32, np.float64] if variant in (None, "naive", "depthwise") else [np.float32]


@pytest.mark.parametrize("variant", FORWARD)
def test_forward(
    device: Device, variant: str | None, small: Any, reference: Any, rng: np.random.Generator
) -> None:
    for dtype in _dtypes(variant):
        x, weight, bias = small.arrays(rng, dtype)
        expected = reference.forward(small, x, weight, bias)
        bound = 2 * _bound(reference, dtype, variant, weight[0].size)
        shift = int(rng.integers(0, 4))
        out, memory = device.framed(expected.shape, dtype, shift)
        operands = device.put(x), device.put(weight)
        settings = {**small.settings, "variant": variant}
        assert run(K.conv2d, *operands, device.put(bias), **settings, out=out, activation="relu") is out
        assert reference.error(device.get(out), np.maximum(expected, 0)) < bound
        assert device.untouched(memory, out.size, shift)
        plain = device.get(K.conv2d(*operands, None, **settings))
        assert reference.error(plain, reference.forward(small, x, weight)) < bound


@pytest.mark.parametrize("variant", BY_INPUT)
def test_backward_input(
    device: Device, variant: str | None, small: Any, reference: Any, rng: np.random.Generator
) -> None:
    for dtype in _dtypes(variant):
        x, weight, _ = small.arrays(rng, dtype)
        grad = rng.standard_normal(reference.forward(small, x, weight).shape).astype(dtype)
        shift = int(rng.integers(0, 4))
        out, memory = device.framed(x.shape, dtype, shift)
        operands = device.put(grad), device.put(weight)
        run(K.conv2d_backward_input, *operands, x.shape[2:], **small.settings, variant=variant, out=out)
        bound = _bound(reference, dtype, variant, weight.shape[0] * weight[0, 0].size)
        assert reference.error(device.get(out), reference.by_input(small, grad, weight)) < bound
        assert device.untouched(memory, out.size, shift)


@pytest.mark.parametrize("variant", BY_WEIGHT)
def test_backward_weight(
    device: Device, variant: str | None, small: Any, reference: Any, rng: np.random.Generator
) -> None:
    for dtype in _dtypes(variant):
        x, weight, bias = small.arrays(rng, dtype)
        grad = rng.standard_normal(reference.forward(small, x, weight).shape).astype(dtype)
        expected, sums = reference.by_weight(small, grad, x), grad.sum(axis=(0, 2, 3), dtype=np.float64)
        bound = _bound(reference, dtype, variant, grad[:, 0].size)
        shift = int(rng.integers(0, 4))
        out, memory = device.framed(weight.shape, dtype, shift)
        out_bias, bias_memory = device.framed(bias.shape, dtype, shift)
        operands = device.put(grad), device.put(x), weight.shape[2:]
        settings = {**small.settings, "variant": variant}
        run(K.conv2d_backward_weight, *operands, **settings, out=out, out_bias=out_bias)
        first, first_bias = device.get(out.copy()), device.get(out_bias.copy())
        assert reference.error(first, expected) < bound
        scale = np.linalg.norm(np.abs(grad).sum(axis=(0, 2, 3), dtype=np.float64))  # the sums may cancel
        assert np.linalg.norm(first_bias - sums) < bound * scale
        K.conv2d_backward_weight(*operands, **settings, out=out, out_bias=out_bias, accumulate=True)
        assert device.untouched(memory, out.size, shift)
        assert device.untouched(bias_memory, out_bias.size, shift)
        np.testing.assert_allclose(device.get(out), 2 * first, rtol=0, atol=4 * bound * np.abs(first).max())
        np.testing.assert_allclose(device.get(out_bias), 2 * first_bias, rtol=0, atol=4 * bound * scale)


TILES = [
    *(f"implicit_gemm/{tile}" for tile in ("128x128", "64x64", "32x64")),
    *(f"{kind}/{tile}" for kind in ("tensor_tf32", "tensor_bf16") for tile in ("128x128", "64x64")),
]


@pytest.mark.parametrize("variant", TILES)
def test_every_tile(device: Device, variant: str, reference: Any, rng: np.random.Generator) -> None:
    """Whole tiles and cut ones, in both dimensions, deeper than there are stages."""
    for case in (
        reference.Case(n=3, channels=9, height=9, width=8, filters=140, padding=(1, 1)),
        reference.Case(n=1, channels=16, height=6, width=7, filters=33, kernel=(3, 2), stride=(2, 1)),
    ):
        x, weight, bias = case.arrays(rng, np.float32)
        there, filters = device.put(x), device.put(weight)
        settings = {**case.settings, "variant": variant}
        expected = reference.forward(case, x, weight, bias)
        got = device.get(K.conv2d(there, filters, device.put(bias), **settings))
        assert reference.error(got, expected) < _bound(reference, np.float32, variant, weight[0].size)
        grad = rng.standard_normal(expected.shape).astype(np.float32)
        given = device.put(grad)
        dx = device.get(K.conv2d_backward_input(given, filters, x.shape[2:], **settings))
        bound = _bound(reference, np.float32, variant, weight.shape[0] * weight[0, 0].size)
        assert reference.error(dx, reference.by_input(case, grad, weight)) < bound
        dweight, dbias = K.conv2d_backward_weight(given, there, weight.shape[2:], **settings)
        bound = _bound(reference, np.float32, variant, grad[:, 0].size)
        assert reference.error(device.get(dweight), reference.by_weight(case, grad, x)) < bound
        scale = np.linalg.norm(np.abs(grad).sum(axis=(0, 2, 3), dtype=np.float64))
        assert np.linalg.norm(device.get(dbias) - grad.sum(axis=(0, 2, 3), dtype=np.float64)) < bound * scale


def test_winograd(device: Device, reference: Any, rng: np.random.Generator) -> None:
    """Several blocks of filters, tiles and channels, odd extents, and two groups."""
    for changes in ({}, {"height": 12, "width": 9, "groups": 2, "filters": 72, "padding": (2, 0)}):
        case = reference.Case(n=2, channels=20, height=11, width=14, filters=70, padding=(1, 1)).with_(
            **changes
        )
        x, weight, bias = case.arrays(rng, np.float32)
        there, filters = device.put(x), device.put(weight)
        settings = {**case.settings, "variant": "winograd"}
        expected = reference.forward(case, x, weight, bias)
        got = device.get(K.conv2d(there, filters, device.put(bias), **settings, activation="relu"))
        assert reference.error(got, np.maximum(expected, 0)) < 2e-6
        grad = rng.standard_normal(expected.shape).astype(np.float32)
        dx = device.get(K.conv2d_backward_input(device.put(grad), filters, x.shape[2:], **settings))
        assert reference.error(dx, reference.by_input(case, grad, weight)) < 2e-6


def test_slices(device: Device, reference: Any, rng: np.random.Generator) -> None:
    """Long sums of small results, of which some slices are cut."""
    deep = reference.Case(n=2, channels=150, height=3, width=4, filters=3, padding=(1, 0))
    wide = reference.Case(n=3, channels=2, height=37, width=31, filters=3)
    for case in (deep, deep.with_(stride=(2, 2)), wide):
        x, weight, bias = case.arrays(rng, np.float32)
        there, filters, given = device.put(x), device.put(weight), device.put(bias)
        expected = reference.forward(case, x, weight, bias)
        got = K.conv2d(there, filters, given, **case.settings, activation="relu", variant="implicit_gemm")
        assert reference.error(device.get(got), np.maximum(expected, 0)) < 1e-5
        grad = rng.standard_normal(expected.shape).astype(np.float32)
        given = device.put(grad)
        settings = {**case.settings, "variant": "implicit_gemm"}
        dweight, dbias = K.conv2d_backward_weight(given, there, weight.shape[2:], **settings)
        assert reference.error(device.get(dweight), reference.by_weight(case, grad, x)) < 1e-5
        np.testing.assert_allclose(device.get(dbias), grad.sum(axis=(0, 2, 3)), rtol=1e-4, atol=1e-3)
    library = device.backend.library
    shapes, geometry = ((2, 150, 3, 4), (3, 150, 3, 3)), (1, 1, 1, 1, 0, 0, 1, 1, 1)
    packed = 16 * 1376 + 4 * 1376 * 8  # table and weights
    assert (
        library.conv_plan(0, 2, 0, 0, "implicit_gemm", *shapes, (0, 0), geometry)[2]
        >= packed + 8 * 4 * 2 * 18
    )
    shapes, geometry = ((3, 3, 35, 29), (3, 2, 37, 31)), (1, 1, 0, 0, 0, 0, 1, 1, 1)
    assert library.conv_plan(2, 2, 0, 0, "implicit_gemm", *shapes, (3, 3), geometry)[2] > 0


@pytest.mark.parametrize("variant", BY_WEIGHT)
def test_same_bits_without_bias(
    device: Device, variant: str | None, reference: Any, rng: np.random.Generator
) -> None:
    case = reference.Case(n=3, channels=9, filters=10, height=11, width=11)
    x, _, _ = case.arrays(rng, np.float32)
    grad = device.put(rng.standard_normal((3, 10, 9, 9)).astype(np.float32))
    there, settings = device.put(x), {"variant": variant}
    one, _ = run(K.conv2d_backward_weight, grad, there, (3, 3), **settings)
    other, none = K.conv2d_backward_weight(grad, there, (3, 3), variant=variant, with_bias=False)
    assert none is None
    np.testing.assert_array_equal(device.get(one), device.get(other))


def test_one_dimension(device: Device, reference: Any, rng: np.random.Generator) -> None:
    case = reference.Case(n=3, channels=6, height=1, width=29, filters=8, kernel=(1, 4))
    case = case.with_(stride=(1, 2), padding=(0, 3), dilation=(1, 2), groups=2)
    x, weight, bias = case.arrays(rng, np.float32)
    settings = {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}
    expected = reference.forward(case, x, weight, bias)
    there, filters = device.put(x[:, :, 0]), device.put(weight[:, :, 0])
    got = device.get(K.conv1d(there, filters, device.put(bias), **settings))
    assert reference.error(got[:, :, None], expected) < reference.bound(np.float32, depth=12)
    grad = rng.standard_normal(expected.shape).astype(np.float32)
    given = device.put(grad[:, :, 0])
    dx = device.get(K.conv1d_backward_input(given, filters, 29, **settings))
    assert reference.error(dx[:, :, None], reference.by_input(case, grad, weight)) < 1e-5
    dweight, dbias = K.conv1d_backward_weight(given, there, 4, **settings)
    assert reference.error(device.get(dweight)[:, :, None], reference.by_weight(case, grad, x)) < 1e-5
    np.testing.assert_allclose(device.get(dbias), grad.sum(axis=(0, 2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{"n": 0}, {"filters": 0}, {"channels": 0}], ids=str)
def test_nothing(device: Device, changes: dict[str, int], reference: Any, rng: np.random.Generator) -> None:
    case = reference.Case(padding=(1, 1)).with_(**changes)
    x, weight, bias = case.arrays(rng, np.float32)
    there, filters = device.put(x), device.put(weight)
    y = K.conv2d(there, filters, device.put(bias), padding=1)
    np.testing.assert_array_equal(device.get(y), reference.forward(case, x, weight, bias).astype(np.float32))
    dx = K.conv2d_backward_input(y, filters, x.shape[2:], padding=1)
    assert dx.shape == x.shape
    assert not device.get(dx).any()
    dweight, dbias = K.conv2d_backward_weight(y, there, (3, 3), padding=1)
    assert dweight.shape == weight.shape
    assert not device.get(dweight).any()
    np.testing.assert_allclose(device.get(dbias), device.get(y).sum(axis=(0, 2, 3)), rtol=1e-5)


def test_other_strides_are_copied(device: Device, reference: Any, rng: np.random.Generator) -> None:
    case = reference.Case()
    x, weight, bias = case.arrays(rng, np.float32)
    expected = device.get(K.conv2d(device.put(x), device.put(weight), device.put(bias)))
    turned = device.put(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    out = device.xp.empty(expected.shape[::-1], np.float32).T
    assert K.conv2d(turned, device.put(weight), device.put(np.repeat(bias, 2))[::2], out=out) is out
    np.testing.assert_array_equal(device.get(out), expected)


_X, _W = np.zeros((2, 4, 9, 9), np.float32), np.zeros((6, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((_X, _W[:, :3]), {}, ValueError, "need a weight of 4 channels, not 3"),
        ((_X, _W[:, :1]), {"groups": 4}, ValueError, "weight has 6 filters and groups is 4"),
        ((_X, _W), {"stride": 0}, ValueError, "stride is 0; expected 1 or more"),
        ((_X, _W), {"padding": "all"}, ValueError, "padding is 'all'"),
        ((_X[:, :, :2], _W), {}, ValueError, "the kernel's height is 3 but the input's is 2"),
        ((_X[0], _W), {}, ValueError, r"x is \(4, 9, 9\); expected \(N, channels, height, width\)"),
        ((_X, _W[0]), {}, ValueError, r"weight is \(4, 3, 3\); expected \(filters"),
        ((_X, _W, np.zeros(5, np.float32)), {}, ValueError, r"bias is \(5,\); expected \(6,\)"),
        ((_X, _W.astype(np.float64)), {}, TypeError, "x is float32 but weight is float64"),
        ((_X.astype(np.int32), _W), {}, TypeError, "dtype int32"),
        ((_X, _W), {"variant": "naife"}, ValueError, "did you mean 'naive'"),
    ],
)
def test_refused(device: Device, arguments: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        K.conv2d(*(device.put(array) for array in arguments), **settings)
    assert str(raised.value).startswith("conv2d: ")


def test_refused_of_gradients(device: Device) -> None:
    x, weight, grad = (device.put(array) for array in (_X, _W, np.zeros((2, 6, 7, 7), np.float32)))
    with pytest.raises(
        ValueError, match=r"grad is \(2, 6, 7, 7\); expected \(2, 6, 6, 7\), the shape of the"
    ):
        K.conv2d_backward_input(grad, weight, (8, 9))
    with pytest.raises(ValueError, match="the shape of the output"):
        K.conv2d_backward_weight(grad, x, (3, 2))
    with pytest.raises(ValueError, match="needs out and out_bias"):
        K.conv2d_backward_weight(grad, x, (3, 3), out=weight.copy(), accumulate=True)
    with pytest.raises(TypeError, match=r"x is on .* but weight is on cpu"):
        K.conv2d(x, _W)
    with pytest.raises(ValueError, match="out overlaps x"):
        K.conv2d(x, device.put(np.zeros((4, 4, 1, 1), np.float32)), out=x)


def test_ladders(device: Device) -> None:
    for operation in (*OPERATIONS, "conv1d"):
        ladder = K.variants(operation, device.name)
        assert ladder[0].name == "naive"
        assert all(step.idea for step in ladder)
