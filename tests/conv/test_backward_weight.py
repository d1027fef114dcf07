"""csrc/conv, the gradient by the weights and depthwise convolution: what the common cases are too small for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

VECTORS = ["filter_vectors", "channel_vectors", "pixel_vectors"]

# Several units of images, of rows and of columns; panels of every width; rows of tiles that threads share out.
LARGE = [
    {"n": 40, "channels": 3, "height": 9, "width": 8, "filters": 20},
    {"n": 3, "channels": 20, "height": 64, "width": 48, "filters": 70, "padding": (1, 1)},
    {"n": 2, "channels": 2, "height": 1, "width": 5003, "filters": 5, "kernel": (1, 7), "padding": (0, 3)},
    {"n": 2, "channels": 49, "height": 67, "width": 33, "filters": 3, "stride": (2, 2), "padding": (1, 1)},
    {"n": 1, "channels": 130, "height": 16, "width": 16, "filters": 65, "kernel": (1, 1)},
    {"n": 2, "channels": 9, "height": 41, "width": 40, "filters": 6, "kernel": (3, 2), "stride": (3, 3)},
    {"n": 2, "channels": 12, "height": 32, "width": 32, "filters": 24, "groups": 4, "dilation": (2, 2)},
]

DEPTHWISE = [
    {"n": 2, "channels": 5, "height": 130, "width": 131, "filters": 5, "padding": (1, 1)},
    {"n": 2, "channels": 5, "height": 97, "width": 90, "filters": 5, "padding": (1, 1), "stride": (2, 2)},
    {"n": 1, "channels": 4, "height": 28, "width": 29, "filters": 4, "kernel": (7, 7), "padding": (3, 3)},
    {"n": 1, "channels": 4, "height": 35, "width": 34, "filters": 4, "kernel": (5, 5), "stride": (2, 2)},
    {
        "n": 1,
        "channels": 4,
        "height": 35,
        "width": 35,
        "filters": 12,
        "kernel": (5, 5),
        "stride": (2, 2),
        "padding": (2, 2),
    },
    {"n": 3, "channels": 3, "height": 7, "width": 7, "filters": 6, "padding": (1, 1)},
    {"n": 1, "channels": 3, "height": 23, "width": 40, "filters": 3, "stride": (3, 3), "padding": (2, 2)},
    {"n": 1, "channels": 3, "height": 24, "width": 41, "filters": 6, "stride": (2, 3), "dilation": (2, 1)},
    {
        "n": 1,
        "channels": 3,
        "height": 24,
        "width": 41,
        "filters": 3,
        "stride": (1, 2),
        "dilation": (3, 2),
        "padding": (4, 5),
    },
    {
        "n": 2,
        "channels": 6,
        "height": 1,
        "width": 70,
        "filters": 6,
        "kernel": (1, 4),
        "stride": (1, 2),
        "padding": (0, 1),
    },
    {
        "n": 1,
        "channels": 2,
        "height": 2,
        "width": 3,
        "filters": 2,
        "kernel": (5, 5),
        "padding": (4, 4),
        "stride": (2, 2),
    },
]


def check_weight(
    variant: str | None, case: Any, reference: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x, weight, _ = case.arrays(rng, dtype)
    grad = rng.standard_normal(reference.forward(case, x, weight).shape).astype(dtype)
    bound = reference.bound(dtype, variant, grad[:, 0].size)
    got, bias = K.conv2d_backward_weight(grad, x, case.kernel, **case.settings, variant=variant)
    assert reference.error(got, reference.by_weight(case, grad, x)) < bound
    scale = np.linalg.norm(np.abs(grad).sum(axis=(0, 2, 3), dtype=np.float64))
    assert bias is not None
    assert np.linalg.norm(bias - grad.sum(axis=(0, 2, 3), dtype=np.float64)) < bound * scale
    again, bias_again = K.conv2d_backward_weight(grad, x, case.kernel, **case.settings, variant=variant)
    np.testing.assert_array_equal(got, again)
    np.testing.assert_array_equal(bias, bias_again)


@pytest.mark.parametrize("variant", VECTORS)
@pytest.mark.parametrize("extents", LARGE, ids=lambda e: "x".join(str(v) for v in list(e.values())[:5]))
def test_weight_of_many_units(
    extents: Any, variant: str, reference: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    case = reference.Case(**{"groups": 1, **extents})
    check_weight(variant, case, reference, dtype, rng)


@pytest.mark.parametrize("extents", DEPTHWISE, ids=lambda e: "x".join(str(v) for v in list(e.values())[:5]))
def test_depthwise(extents: Any, reference: Any, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    case = reference.Case(groups=extents["channels"], **extents)
    check_weight("depthwise", case, reference, dtype, rng)
    x, weight, bias = case.arrays(rng, dtype)
    settings = {**case.settings, "variant": "depthwise"}
    expected = reference.forward(case, x, weight, bias)
    bound = reference.bound(dtype, "depthwise", weight[0].size)
    assert reference.error(K.conv2d(x, weight, bias, **settings), expected) < bound
    rectified = K.conv2d(x, weight, bias, **settings, activation="relu")
    assert reference.error(rectified, np.maximum(expected, 0)) < 2 * bound
    grad = rng.standard_normal(expected.shape).astype(dtype)
    dx = K.conv2d_backward_input(grad, weight, x.shape[2:], **settings)
    depth = weight[0].size * case.filters // case.channels
    assert reference.error(dx, reference.by_input(case, grad, weight)) < reference.bound(
        dtype, "depthwise", depth
    )


def test_depthwise_needs_one_channel_in_a_group(reference: Any, rng: np.random.Generator) -> None:
    x, weight, _ = reference.Case(channels=4, filters=4, groups=2).arrays(rng, np.float32)
    with pytest.raises(ValueError, match="variant 'depthwise' needs one channel in a group"):
        K.conv2d(x, weight, groups=2, variant="depthwise")


def test_a_dilation_too_wide_for_a_copy(reference: Any, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 1, 3, 3)).astype(dtype)
    grad = rng.standard_normal((1, 1, 2, 2)).astype(dtype)  # each tap reads one corner of the padded image
    settings = {"dilation": 4001, "padding": 2000}
    for variant in VECTORS:
        with pytest.raises(ValueError, match=f"variant '{variant}' needs a kernel whose dilation"):
            K.conv2d_backward_weight(grad, x, (2, 2), **settings, variant=variant)
    dweight, dbias = K.conv2d_backward_weight(grad, x, (2, 2), **settings)
    assert not dweight.any()
    assert dbias is not None
    np.testing.assert_allclose(dbias, grad.sum(axis=(0, 2, 3)), rtol=1e-5)
