"""What is special about Winograd's convolution: how it is cut into tiles, strips, blocks and panels, and its choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import dlkit
import dlkit.kernels as K
from dlkit import _cpu
from dlkit.kernels.conv import conv_geometry

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = ["winograd2", "winograd4"]

# n, channels, height, width, filters, padding, groups
CUTS = {
    "blocks across images": (41, 5, 7, 7, 6, (1, 1), 1),
    "strips that are parts of a row of tiles": (2, 3, 6, 300, 5, (1, 1), 1),
    "parts of a row, more than a block": (1, 2, 3, 1001, 3, (0, 2), 1),
    "one row of pixels": (3, 4, 1, 37, 5, (1, 1), 1),
    "one column of pixels": (3, 4, 37, 1, 5, (1, 1), 1),
    "one pixel": (4, 17, 1, 1, 18, (1, 1), 1),
    "three vectors of filters": (1, 20, 9, 10, 48, (1, 1), 1),
    "panels of two vectors, and one of three": (2, 19, 9, 10, 112, (1, 1), 1),
    "a last vector of channels that overlaps": (2, 37, 8, 9, 33, (1, 1), 1),
    "more padding than the kernel reaches": (2, 6, 5, 7, 9, (4, 7), 1),
    "no padding": (2, 6, 6, 11, 9, (0, 0), 1),
    "groups": (3, 51, 10, 9, 60, (1, 1), 3),
    "weights in several parts": (1, 250, 5, 6, 270, (1, 1), 1),
}


@pytest.fixture(params=CUTS.values(), ids=CUTS.keys())
def cut(request: pytest.FixtureRequest, reference: Any) -> Any:
    n, channels, height, width, filters, padding, groups = request.param
    return reference.Case(n, channels, height, width, filters, (3, 3), padding=padding, groups=groups)


@pytest.fixture(params=[1, 2, 5])
def many_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = dlkit.get_num_threads()
    dlkit.set_num_threads(request.param)
    yield request.param
    dlkit.set_num_threads(before)


@pytest.mark.parametrize("variant", SIZES)
def test_cuts(
    variant: str, cut: Any, reference: Any, dtype: Any, many_threads: int, rng: np.random.Generator
) -> None:
    x, weight, bias = cut.arrays(rng, dtype)
    expected = reference.forward(cut, x, weight, bias)
    y = K.conv2d(x, weight, bias, **cut.settings, variant=variant)
    assert reference.error(y, expected) < reference.bound(dtype, variant, weight[0].size)

    grad = rng.standard_normal(expected.shape).astype(dtype)
    dx = K.conv2d_backward_input(grad, weight, x.shape[2:], **cut.settings, variant=variant)
    depth = weight.shape[0] // cut.groups * 9
    assert reference.error(dx, reference.by_input(cut, grad, weight)) < reference.bound(dtype, variant, depth)


def test_cuts_by_weight(
    cut: Any, reference: Any, dtype: Any, many_threads: int, rng: np.random.Generator
) -> None:
    x, weight, bias = cut.arrays(rng, dtype)
    grad = rng.standard_normal(reference.forward(cut, x, weight).shape).astype(dtype)
    expected, sums = reference.by_weight(cut, grad, x), grad.sum(axis=(0, 2, 3), dtype=np.float64)
    bound = reference.bound(dtype, "winograd4", grad[:, 0].size)
    settings = {**cut.settings, "variant": "winograd4"}
    dweight, dbias = K.conv2d_backward_weight(grad, x, (3, 3), **settings)
    assert reference.error(dweight, expected) < bound
    scale = np.abs(grad).sum(axis=(0, 2, 3), dtype=np.float64)
    assert (np.abs(dbias - sums) <= bound * scale).all()

    again, again_bias = K.conv2d_backward_weight(grad, x, (3, 3), **settings)
    np.testing.assert_array_equal(again, dweight)
    np.testing.assert_array_equal(again_bias, dbias)
    out, out_bias = weight.copy(), bias.copy()
    K.conv2d_backward_weight(grad, x, (3, 3), **settings, out=out, out_bias=out_bias, accumulate=True)
    np.testing.assert_array_equal(out, weight + dweight)
    np.testing.assert_allclose(out_bias, bias + sums, rtol=0, atol=2 * bound * scale.max())


@pytest.mark.parametrize("variant", SIZES)
def test_the_same_bits_on_any_number_of_threads(variant: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 40, 13, 17), np.float32)
    weight = rng.standard_normal((70, 40, 3, 3), np.float32)
    before = dlkit.get_num_threads()
    results = []
    for threads in (1, 2, 3, 2, 1):
        dlkit.set_num_threads(threads)
        results.append(K.conv2d(x, weight, padding=1, variant=variant))
    dlkit.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("variant", SIZES)
def test_nan_reaches_what_reads_it(variant: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 16, 16), np.float32)
    weight = rng.standard_normal((4, 3, 3, 3), np.float32)
    x[1, 2, 7, 9] = np.nan
    y = K.conv2d(x, weight, padding=1, activation="relu", variant=variant)
    assert np.isnan(y[1, :, 6:9, 8:11]).all()
    assert not np.isnan(y[0]).any()
    assert not np.isnan(y[1, :, :3]).any()
    assert not np.isnan(y[1, :, 12:]).any()


def choice(
    operation: str, *extents: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> tuple[str, int]:
    """Of n, channels, height, width, filters."""
    geometry = conv_geometry("conv2d", 2, (3, 3), (stride, 1, dilation, groups))
    name, scratch = _cpu.conv_choice(operation, 2, *extents, 3, 3, geometry)
    return name, scratch


@pytest.mark.parametrize("operation", ["conv", "conv_backward_input"])
def test_choice(operation: str) -> None:
    for extents in (
        (128, 32, 28, 28, 64),
        (32, 64, 56, 56, 64),
        (32, 128, 28, 28, 128),
        (32, 256, 14, 14, 256),
    ):
        assert choice(operation, *extents)[0] == "winograd4"
        assert choice("conv_backward_weight", *extents)[0] == "winograd4"
    # Images of 6 x 6 make 9 whole tiles of F(2), and of F(4) 4 that are not.
    assert choice(operation, 16, 64, 6, 6, 64)[0] == "winograd2"
    # One image of few pixels: the transformed weight costs more than it saves.
    assert "winograd" not in choice(operation, 1, 512, 4, 4, 512)[0]
    # Few channels on one side: the other side's transform is not repaid.
    assert "winograd" not in choice(operation, 64, 3, 32, 32, 64)[0]
    assert "winograd" not in choice(operation, 64, 64, 32, 32, 3)[0]
    assert "winograd" not in choice(operation, 8, 64, 28, 28, 64, groups=64)[0]
    for settings in ({"stride": 2}, {"dilation": 2}):
        assert "winograd" not in choice(operation, 32, 64, 28, 28, 64, **settings)[0]


def test_scratch_does_not_grow_with_the_batch() -> None:
    small = choice("conv", 32, 128, 28, 28, 128)[1]
    assert choice("conv", 4096, 128, 28, 28, 128)[1] == small
    assert 0 < small < 24 << 20
    assert (
        choice("conv_backward_weight", 32, 128, 28, 28, 128)[1]
        == choice("conv_backward_weight", 4096, 128, 28, 28, 128)[1]
    )
    assert choice("conv", 64, 2048, 28, 28, 2048)[1] < 32 << 20
