"""csrc/conv: every variant of the three operations against NumPy in float64, on one thread and two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import framed, outside, run

import dlkit.kernels as K

FORWARD = [None, *(v.name for v in K.variants("conv2d"))]
BY_INPUT = [None, *(v.name for v in K.variants("conv2d_backward_input"))]
BY_WEIGHT = [None, *(v.name for v in K.variants("conv2d_backward_weight"))]


@pytest.mark.parametrize("variant", FORWARD)
def test_forward(
    variant: str | None, case: Any, reference: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x, weight, bias = case.arrays(rng, dtype)
    expected = reference.forward(case, x, weight, bias)
    bound = reference.bound(dtype, variant, weight[0].size, case.kernel)
    out, memory = framed(expected.shape, dtype, rng)
    got = run(K.conv2d, x, weight, bias, **case.settings, variant=variant, out=out)
    assert got is out
    assert reference.error(out, expected) < bound
    assert np.isnan(outside(memory, out)).all()

    rectified = K.conv2d(x, weight, bias, **case.settings, variant=variant, activation="relu")
    assert reference.error(rectified, np.maximum(expected, 0)) < 2 * bound
    assert rectified.min() >= 0
    plain = K.conv2d(x, weight, None, **case.settings, variant=variant)
    assert reference.error(plain, reference.forward(case, x, weight)) < bound


@pytest.mark.parametrize("variant", BY_INPUT)
def test_backward_input(
    variant: str | None, case: Any, reference: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x, weight, _ = case.arrays(rng, dtype)
    grad = rng.standard_normal(reference.forward(case, x, weight).shape).astype(dtype)
    expected = reference.by_input(case, grad, weight)
    out, memory = framed(x.shape, dtype, rng)
    run(K.conv2d_backward_input, grad, weight, x.shape[2:], **case.settings, variant=variant, out=out)
    depth = weight.shape[0] * weight[0, 0].size
    assert reference.error(out, expected) < reference.bound(dtype, variant, depth, case.kernel)
    assert np.isnan(outside(memory, out)).all()


@pytest.mark.parametrize("variant", BY_WEIGHT)
def test_backward_weight(
    variant: str | None, case: Any, reference: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x, weight, bias = case.arrays(rng, dtype)
    grad = rng.standard_normal(reference.forward(case, x, weight).shape).astype(dtype)
    expected, sums = reference.by_weight(case, grad, x), grad.sum(axis=(0, 2, 3), dtype=np.float64)
    bound = reference.bound(dtype, variant, grad[:, 0].size, case.kernel)
    out, memory = framed(weight.shape, dtype, rng)
    out_bias, bias_memory = framed(bias.shape, dtype, rng)
    settings = {**case.settings, "variant": variant}
    kernel = weight.shape[2:]
    run(K.conv2d_backward_weight, grad, x, kernel, **settings, out=out, out_bias=out_bias)
    assert reference.error(out, expected) < bound
    scale = np.linalg.norm(np.abs(grad).sum(axis=(0, 2, 3), dtype=np.float64))  # the sums may cancel
    assert np.linalg.norm(out_bias - sums) < bound * scale
    assert np.isnan(outside(memory, out)).all()
    assert np.isnan(outside(bias_memory, out_bias)).all()

    alone, none = K.conv2d_backward_weight(grad, x, kernel, **settings, with_bias=False)
    assert none is None
    np.testing.assert_array_equal(alone, out)
    first, first_bias = out.copy(), out_bias.copy()
    K.conv2d_backward_weight(grad, x, kernel, **settings, out=out, out_bias=out_bias, accumulate=True)
    np.testing.assert_allclose(out, 2 * first, rtol=0, atol=4 * bound * np.abs(first).max())
    np.testing.assert_allclose(out_bias, 2 * first_bias, rtol=0, atol=4 * bound * scale)


@pytest.mark.parametrize("variant", FORWARD)
def test_one_dimension(variant: str | None, reference: Any, dtype: Any, rng: np.random.Generator) -> None:
    case = reference.Case(n=3, channels=6, height=1, width=29, filters=8, kernel=(1, 4))
    case = case.with_(stride=(1, 2), padding=(0, 3), dilation=(1, 2), groups=2)
    x, weight, bias = case.arrays(rng, dtype)
    settings = {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}
    expected = reference.forward(case, x, weight, bias)
    got = run(K.conv1d, x[:, :, 0], weight[:, :, 0], bias, **settings, variant=variant)
    assert reference.error(got[:, :, None], expected) < reference.bound(dtype, variant, weight[0].size)


def test_one_dimension_backward(reference: Any, dtype: Any, rng: np.random.Generator) -> None:
    case = reference.Case(n=3, channels=6, height=1, width=29, filters=8, kernel=(1, 4))
    case = case.with_(stride=(1, 2), padding=(0, 3), dilation=(1, 2), groups=2)
    x, weight, _ = case.arrays(rng, dtype)
    settings = {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}
    grad = rng.standard_normal(reference.forward(case, x, weight).shape).astype(dtype)
    dx = K.conv1d_backward_input(grad[:, :, 0], weight[:, :, 0], 29, **settings)
    assert reference.error(dx[:, :, None], reference.by_input(case, grad, weight)) < reference.bound(
        dtype, depth=32
    )
    dweight, dbias = K.conv1d_backward_weight(grad[:, :, 0], x[:, :, 0], 4, **settings)
    assert reference.error(dweight[:, :, None], reference.by_weight(case, grad, x)) < reference.bound(
        dtype, depth=96
    )
    assert dbias is not None
    assert dbias.shape == (8,)


def test_other_strides_are_copied(reference: Any, rng: np.random.Generator) -> None:
    case = reference.Case()
    x, weight, bias = case.arrays(rng, np.float32)
    expected = K.conv2d(x, weight, bias)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)  # channels last
    np.testing.assert_array_equal(
        K.conv2d(turned, weight[:, :, ::-1][:, :, ::-1], np.repeat(bias, 2)[::2]), expected
    )
    out = np.empty(expected.shape[::-1], np.float32).T
    assert K.conv2d(x, weight, bias, out=out) is out
    np.testing.assert_array_equal(out, expected)
    shared = np.lib.stride_tricks.as_strided(np.empty(9, np.float32), expected.shape, (0, 0, 0, 4))
    with pytest.raises(ValueError, match="out has elements that share memory"):
        K.conv2d(x, weight, bias, out=shared)


@pytest.mark.parametrize("changes", [{"n": 0}, {"filters": 0}, {"channels": 0}], ids=str)
def test_nothing(changes: dict[str, int], reference: Any, rng: np.random.Generator) -> None:
    case = reference.Case(padding=(1, 1)).with_(**changes)
    x, weight, bias = case.arrays(rng, np.float32)
    y = K.conv2d(x, weight, bias, padding=1)
    np.testing.assert_array_equal(y, reference.forward(case, x, weight, bias).astype(np.float32))
    dx = K.conv2d_backward_input(y, weight, x.shape[2:], padding=1)
    assert dx.shape == x.shape
    assert not dx.any()
    dweight, dbias = K.conv2d_backward_weight(y, x, (3, 3), padding=1)
    assert dweight.shape == weight.shape
    assert not dweight.any()
    assert dbias is not None
    np.testing.assert_allclose(dbias, y.sum(axis=(0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("size", [(0, 2), (8, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_images_of_padding_alone(
    size: tuple[int, int], kernel: int, dtype: Any, rng: np.random.Generator
) -> None:
    x, weight = np.zeros((2, 4, *size), dtype), rng.standard_normal((6, 4, kernel, kernel)).astype(dtype)
    bias = rng.standard_normal(6).astype(dtype)
    for variant in (None, *(step.name for step in K.variants("conv2d"))):
        y = K.conv2d(x, weight, bias, padding=3, variant=variant)
        np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], y.shape))
        pooled = K.conv2d_max_pool(x, weight, bias, padding=3, variant=variant)
        np.testing.assert_array_equal(pooled, np.broadcast_to(bias[:, None, None], pooled.shape))
    grad = rng.standard_normal(y.shape).astype(dtype)
    for variant in (None, *(step.name for step in K.variants("conv2d_backward_input"))):
        dx = K.conv2d_backward_input(grad, weight, size, padding=3, variant=variant)
        assert dx.shape == x.shape
    for variant in (None, *(step.name for step in K.variants("conv2d_backward_weight"))):
        dweight, dbias = K.conv2d_backward_weight(grad, x, (kernel, kernel), padding=3, variant=variant)
        assert not dweight.any()
        np.testing.assert_allclose(dbias, grad.sum(axis=(0, 2, 3)), rtol=1e-4)
    pooled, places = K.conv2d_max_pool(x, weight, bias, padding=3, return_places=True)
    dx = K.conv2d_max_pool_backward_input(pooled, places, weight, size, padding=3)
    assert dx.shape == x.shape
    dweight, dbias = K.conv2d_max_pool_backward_weight(pooled, places, x, (kernel, kernel), padding=3)
    assert not dweight.any()
    np.testing.assert_allclose(dbias, pooled.sum(axis=(0, 2, 3)), rtol=1e-4)


def test_the_first_is_the_definition() -> None:
    for operation in ("conv2d", "conv1d", "conv2d_backward_input", "conv2d_backward_weight"):
        ladder = K.variants(operation)
        assert ladder[0].name == "naive"
        assert all(step.idea for step in ladder)
