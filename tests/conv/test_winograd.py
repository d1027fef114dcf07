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

pytestmark = pytest.mark.usefixtures("winograd")

SIZES = ["winograd2", "winograd4"]
FORMS = [*((name, (3, 3)) for name in SIZES), ("winograd2x5", (5, 5)), ("winograd4x5", (5, 5))]
BY_WEIGHT = [form for form in FORMS if form[0] != "winograd2"]

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
    "vectors of images": (37, 3, 11, 9, 5, (1, 1), 1),
    "vectors of images, one column of tiles": (19, 2, 13, 2, 4, (2, 1), 1),
    "vectors of images, several panels of filters": (16, 7, 6, 7, 70, (0, 0), 1),
    "vectors of images, blocks of a few rows": (17, 33, 21, 20, 6, (1, 2), 1),
    "vectors of images, groups": (33, 8, 8, 7, 12, (1, 1), 4),
    "images that grow": (3, 9, 6, 6, 20, (0, 0), 1),
    "an image too large to be spread at once": (1, 2, 150, 700, 2, (0, 0), 1),
}


@pytest.fixture(params=CUTS.values(), ids=CUTS.keys())
def cut(request: pytest.FixtureRequest, reference: Any) -> Any:
    n, channels, height, width, filters, padding, groups = request.param
    return reference.Case(n, channels, height, width, filters, (3, 3), padding=padding, groups=groups)


def with_kernel(cut: Any, kernel: tuple[int, int]) -> Any:
    """The case with that kernel, and images as much larger as it is larger than 3 x 3."""
    return cut.with_(kernel=kernel, height=cut.height + kernel[0] - 3, width=cut.width + kernel[1] - 3)


@pytest.fixture(params=[1, 2, 5])
def many_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = dlkit.get_num_threads()
    dlkit.set_num_threads(request.param)
    yield request.param
    dlkit.set_num_threads(before)


@pytest.mark.parametrize(("variant", "kernel"), FORMS)
def test_cuts(
    variant: str,
    kernel: tuple[int, int],
    cut: Any,
    reference: Any,
    dtype: Any,
    many_threads: int,
    rng: np.random.Generator,
) -> None:
    cut = with_kernel(cut, kernel)
    x, weight, bias = cut.arrays(rng, dtype)
    expected = reference.forward(cut, x, weight, bias)
    y = K.conv2d(x, weight, bias, **cut.settings, variant=variant)
    assert reference.error(y, expected) < reference.bound(dtype, variant, weight[0].size)

    grad = rng.standard_normal(expected.shape).astype(dtype)
    dx = K.conv2d_backward_input(grad, weight, x.shape[2:], **cut.settings, variant=variant)
    depth = weight.shape[0] // cut.groups * kernel[0] * kernel[1]
    assert reference.error(dx, reference.by_input(cut, grad, weight)) < reference.bound(dtype, variant, depth)


@pytest.mark.parametrize(("variant", "kernel"), BY_WEIGHT)
def test_cuts_by_weight(
    variant: str,
    kernel: tuple[int, int],
    cut: Any,
    reference: Any,
    dtype: Any,
    many_threads: int,
    rng: np.random.Generator,
) -> None:
    cut = with_kernel(cut, kernel)
    x, weight, bias = cut.arrays(rng, dtype)
    grad = rng.standard_normal(reference.forward(cut, x, weight).shape).astype(dtype)
    expected, sums = reference.by_weight(cut, grad, x), grad.sum(axis=(0, 2, 3), dtype=np.float64)
    bound = reference.bound(dtype, variant, grad[:, 0].size)
    settings = {**cut.settings, "variant": variant}
    dweight, dbias = K.conv2d_backward_weight(grad, x, kernel, **settings)
    assert reference.error(dweight, expected) < bound
    scale = np.abs(grad).sum(axis=(0, 2, 3), dtype=np.float64)
    assert (np.abs(dbias - sums) <= bound * scale).all()

    again, again_bias = K.conv2d_backward_weight(grad, x, kernel, **settings)
    np.testing.assert_array_equal(again, dweight)
    np.testing.assert_array_equal(again_bias, dbias)
    out, out_bias = weight.copy(), bias.copy()
    K.conv2d_backward_weight(grad, x, kernel, **settings, out=out, out_bias=out_bias, accumulate=True)
    np.testing.assert_array_equal(out, weight + dweight)
    np.testing.assert_allclose(out_bias, bias + sums, rtol=0, atol=2 * bound * scale.max())


@pytest.mark.parametrize(("variant", "kernel"), FORMS)
@pytest.mark.parametrize("extents", [(5, 40, 13, 17, 70), (35, 6, 13, 14, 10)], ids=str)
def test_the_same_bits_on_any_number_of_threads(
    variant: str, kernel: tuple[int, int], extents: tuple[int, ...], rng: np.random.Generator
) -> None:
    n, channels, height, width, filters = extents
    x = rng.standard_normal((n, channels, height, width), np.float32)
    weight = rng.standard_normal((filters, channels, *kernel), np.float32)
    before = dlkit.get_num_threads()
    results = []
    for threads in (1, 2, 3, 2, 1):
        dlkit.set_num_threads(threads)
        y = K.conv2d(x, weight, padding=1, variant=variant)
        results.append((y, K.conv2d_backward_input(y, weight, (height, width), padding=1, variant=variant)))
    dlkit.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result[0], results[0][0])
        np.testing.assert_array_equal(result[1], results[0][1])


@pytest.mark.parametrize(("variant", "kernel"), FORMS)
@pytest.mark.parametrize("n", [2, 17])
def test_nan_reaches_what_reads_it(
    variant: str, kernel: tuple[int, int], n: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((n, 3, 16, 16), np.float32)
    weight = rng.standard_normal((4, 3, *kernel), np.float32)
    x[1, 2, 7, 9] = np.nan
    reach = kernel[0] // 2
    y = K.conv2d(x, weight, padding=reach, activation="relu", variant=variant)
    assert np.isnan(y[1, :, 7 - reach : 8 + reach, 9 - reach : 10 + reach]).all()
    assert not np.isnan(y[0]).any()
    assert not np.isnan(y[1, :, :3]).any()
    assert not np.isnan(y[1, :, 12:]).any()

    dx = K.conv2d_backward_input(x[:, :3], weight[:3], (16, 16), padding=reach, variant=variant)
    assert np.isnan(dx[1, :, 7 - reach : 8 + reach, 9 - reach : 10 + reach]).all()
    assert not np.isnan(dx[0]).any()
    assert not np.isnan(dx[2:]).any()


def choice(
    operation: str,
    *extents: int,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[str, int]:
    """Of n, channels, height, width, filters."""
    geometry = conv_geometry("conv2d", 2, (kernel, kernel), (stride, padding, dilation, groups))
    name, scratch = _cpu.conv_choice(operation, 2, *extents, kernel, kernel, geometry)
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


@pytest.mark.parametrize("operation", ["conv", "conv_backward_input", "conv_backward_weight"])
def test_choice_of_5x5(operation: str) -> None:
    for extents in ((64, 20, 12, 12, 50), (50, 21, 13, 11, 49), (64, 6, 14, 14, 16)):
        assert choice(operation, *extents, kernel=5, padding=0)[0] == "winograd4x5"
    for extents in ((32, 32, 28, 28, 64), (32, 64, 14, 14, 64)):
        assert choice(operation, *extents, kernel=5, padding=2)[0] == "winograd4x5"
    # Outputs of 2 x 2: a quarter of a tile of F(4), all of F(2).
    assert choice(operation, 64, 32, 6, 6, 32, kernel=5, padding=0)[0] == "winograd2x5"
    # One pixel of output: nothing of a tile is shared.
    assert "winograd" not in choice("conv", 32, 16, 5, 5, 120, kernel=5, padding=0)[0]
    for settings in ({"stride": 2}, {"dilation": 2}, {"groups": 32}):
        assert "winograd" not in choice(operation, 32, 32, 28, 28, 64, kernel=5, padding=2, **settings)[0]
    for extents in ((64, 20, 12, 12, 50), (32, 512, 28, 28, 512)):
        small = choice(operation, *extents, kernel=5, padding=2)[1]
        assert choice(operation, 4096, *extents[1:], kernel=5, padding=2)[1] < 1.1 * small  # blocks cut anew
        assert small < 40 << 20
