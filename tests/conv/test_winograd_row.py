"""Winograd along rows: widths, how rows end, parts of rows, shares of filters, its error, and who gets it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dlkit
import dlkit.kernels as K
from dlkit import _cpu
from dlkit.kernels.conv import conv_geometry

pytestmark = pytest.mark.usefixtures("winograd")

NAME = "winograd_row"

# n, channels, height, width, filters, kernel width, horizontal padding, groups
CASES = {
    "one output": (1, 1, 1, 3, 1, 3, 0, 1),
    "less than a tile": (2, 3, 1, 6, 5, 5, 0, 1),
    "whole tiles": (3, 17, 1, 34, 33, 3, 0, 1),
    "rows that end within a tile": (5, 19, 1, 23, 20, 4, 0, 1),
    "padding as the kernel reaches": (3, 16, 1, 21, 48, 5, 4, 1),
    "more padding than the kernel reaches": (2, 5, 1, 4, 7, 3, 9, 1),
    "rows of images": (2, 18, 9, 14, 22, 4, 1, 1),
    "rows in parts": (2, 20, 2, 331, 18, 5, 2, 1),
    "a row in parts": (1, 33, 1, 1500, 16, 3, 1, 1),
    "groups": (3, 36, 2, 17, 51, 5, 2, 3),
    "short rows in blocks of many": (40, 24, 1, 7, 35, 4, 0, 1),
    "filters whose weight is made in shares": (1, 1100, 1, 9, 300, 5, 0, 1),
}


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = dlkit.get_num_threads()
    yield
    dlkit.set_num_threads(before)


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def rows(request: pytest.FixtureRequest, reference: Any) -> Any:
    n, channels, height, width, filters, kernel, padding, groups = request.param
    return reference.Case(
        n, channels, height, width, filters, (1, kernel), (1, 1), (0, padding), (1, 1), groups
    )


def test_forward(rows: Any, reference: Any, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    x, weight, bias = rows.arrays(rng, dtype)
    bound = reference.bound(dtype, NAME, weight[0].size)
    got = K.conv2d(x, weight, bias, **rows.settings, variant=NAME)
    assert reference.error(got, reference.forward(rows, x, weight, bias)) < bound
    rectified = K.conv2d(x, weight, **rows.settings, variant=NAME, activation="relu")
    assert reference.error(rectified, np.maximum(reference.forward(rows, x, weight), 0)) < 2 * bound
    assert rectified.min() >= 0


def test_backward_input(
    rows: Any, reference: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x, weight, _ = rows.arrays(rng, dtype)
    grad = rng.standard_normal(reference.forward(rows, x, weight).shape).astype(dtype)
    got = K.conv2d_backward_input(grad, weight, x.shape[2:], **rows.settings, variant=NAME)
    bound = reference.bound(dtype, NAME, weight[:, 0].size)
    assert reference.error(got, reference.by_input(rows, grad, weight)) < bound


def test_threads_share_the_same_sums(rows: Any, dtype: Any, rng: np.random.Generator) -> None:
    x, weight, bias = rows.arrays(rng, dtype)
    results = []
    for count in (1, 3):
        dlkit.set_num_threads(count)
        results.append(K.conv2d(x, weight, bias, **rows.settings, variant=NAME))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("taps", "times"), [(3, 2.5), (4, 2.5), (5, 4)])
def test_the_error_is_as_stated(taps: int, times: float, reference: Any, rng: np.random.Generator) -> None:
    case = reference.Case(4, 8, 1, 60, 64, (1, taps))
    x, weight, _ = case.arrays(rng, np.float32)
    expected = reference.forward(case, x, weight)
    errors = {
        name: reference.error(K.conv2d(x, weight, **case.settings, variant=name), expected)
        for name in ("naive", NAME)
    }
    assert errors[NAME] < times * errors["naive"], errors


def choice(operation: str, channels: int, filters: int, kernel: int = 5, stride: int = 1) -> str:
    """What 50 sentences of 56 words get."""
    geometry = conv_geometry("conv1d", 1, (kernel,), (stride, 0, 1, 1))
    return _cpu.conv_choice(operation, 2, 50, channels, 1, 56, filters, 1, kernel, geometry)[0]


@pytest.mark.parametrize("operation", ["conv", "conv_backward_input"])
def test_networks_for_sentences_get_it(operation: str) -> None:
    for kernel in (3, 4, 5):
        assert choice(operation, 300, 100, kernel) == NAME
    assert choice(operation, 300, 100, 2) != NAME
    assert choice(operation, 300, 100, 6) != NAME
    assert choice(operation, 300, 100, 5, stride=2) != NAME
    assert choice(operation, 2, 2) != NAME  # transforms for nothing


@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        ((2, 3), {}),
        ((1, 2), {}),
        ((1, 6), {}),
        ((1, 3), {"stride": (1, 2)}),
        ((1, 3), {"stride": (2, 1)}),
        ((1, 3), {"dilation": 2}),
        ((1, 3), {"padding": (1, 0)}),
    ],
)
def test_what_it_does_not_take(kernel: tuple[int, int], settings: dict[str, Any]) -> None:
    x = np.zeros((1, 2, 20, 20), np.float32)
    with pytest.raises(ValueError, match="variant 'winograd_row' needs a kernel of one row, 3 to 5 wide"):
        K.conv2d(x, np.zeros((4, 2, *kernel), np.float32), **settings, variant=NAME)
