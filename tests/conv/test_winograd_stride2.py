"""Winograd along rows with a stride of 2: widths, how rows end, strips, its error and where it is the default."""

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

NAME = "winograd_stride2"

# n, channels, height, width, filters, kernel, stride, padding, dilation
CASES = {
    "one output": (1, 1, 1, 5, 1, (1, 5), (1, 2), (0, 0), (1, 1)),
    "one tile, one row": (2, 3, 1, 13, 5, (1, 7), (1, 2), (0, 0), (1, 1)),
    "rows of whole tiles": (2, 3, 20, 64, 17, (7, 7), (2, 2), (3, 3), (1, 1)),
    "rows that end within a tile": (2, 2, 17, 61, 15, (7, 7), (2, 2), (3, 3), (1, 1)),
    "6 wide": (3, 4, 15, 40, 9, (5, 6), (1, 2), (2, 1), (1, 1)),
    "8 wide, three rows at a time": (2, 2, 22, 50, 30, (3, 8), (3, 2), (0, 4), (1, 1)),
    "5 wide, rows apart": (2, 3, 25, 37, 29, (4, 5), (2, 2), (3, 2), (3, 1)),
    "more padding than the kernel reaches": (1, 2, 4, 9, 3, (5, 7), (2, 2), (6, 11), (1, 1)),
    "a row in many tiles": (1, 2, 3, 1001, 14, (3, 5), (1, 2), (1, 2), (1, 1)),
    "strips": (1, 3, 300, 90, 3, (7, 7), (2, 2), (3, 3), (1, 1)),
    "many channels": (1, 40, 12, 21, 31, (5, 5), (2, 2), (2, 2), (1, 1)),
}


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = dlkit.get_num_threads()
    yield
    dlkit.set_num_threads(before)


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def odd(request: pytest.FixtureRequest, reference: Any) -> Any:
    n, channels, height, width, filters, kernel, stride, padding, dilation = request.param
    return reference.Case(n, channels, height, width, filters, kernel, stride, padding, dilation)


def test_forward(odd: Any, reference: Any, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    x, weight, bias = odd.arrays(rng, dtype)
    bound = reference.bound(dtype, NAME, weight[0].size)
    expected = reference.forward(odd, x, weight, bias)
    got = K.conv2d(x, weight, bias, **odd.settings, variant=NAME)
    scale = float(np.linalg.norm(reference.forward(odd, np.abs(x), np.abs(weight), np.abs(bias))))
    assert np.linalg.norm(got - expected) < bound * scale  # one output may be a sum that cancels
    plain = K.conv2d(x, weight, **odd.settings, variant=NAME, activation="relu")
    assert np.linalg.norm(plain - np.maximum(reference.forward(odd, x, weight), 0)) < 2 * bound * scale
    assert plain.min() >= 0


def test_threads_share_the_same_sums(odd: Any, dtype: Any, rng: np.random.Generator) -> None:
    x, weight, bias = odd.arrays(rng, dtype)
    results = []
    for count in (1, 3):
        dlkit.set_num_threads(count)
        results.append(K.conv2d(x, weight, bias, **odd.settings, variant=NAME))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("width", "times"), [(5, 1.6), (7, 2.5)])
def test_the_error_is_as_stated(width: int, times: float, reference: Any, rng: np.random.Generator) -> None:
    case = reference.Case(2, 6, 40, 64, 32, (7, width), (2, 2), (3, width // 2))
    x, weight, _ = case.arrays(rng, np.float32)
    expected = reference.forward(case, x, weight)
    errors = {
        name: reference.error(K.conv2d(x, weight, **case.settings, variant=name), expected)
        for name in ("naive", NAME)
    }
    assert errors[NAME] < times * errors["naive"], errors


def choice(filters: int, stride: int, kernel: int = 7) -> str:
    """What the forward pass of eight images of 3 x 224 x 224 gets."""
    geometry = conv_geometry("conv2d", 2, (kernel, kernel), (stride, kernel // 2, 1, 1))
    return _cpu.conv_choice("conv", 2, 8, 3, 224, 224, filters, kernel, kernel, geometry)[0]


def test_the_first_layer_of_residual_networks_gets_it() -> None:
    assert choice(64, stride=2) == NAME
    assert choice(64, stride=2, kernel=5) == NAME
    assert choice(64, stride=1) != NAME
    assert choice(1, stride=2) != NAME  # no other filter shares the points of x


@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        ((7, 7), {"stride": (2, 1)}),
        ((7, 9), {"stride": 2}),
        ((7, 4), {"stride": 2}),
        ((5, 5), {"stride": 2, "dilation": (1, 2)}),
        ((5, 5), {"stride": 2, "groups": 2}),
    ],
)
def test_what_it_does_not_take(kernel: tuple[int, int], settings: dict[str, Any]) -> None:
    x = np.zeros((1, 2, 20, 20), np.float32)
    weight = np.zeros((4, 2 // settings.get("groups", 1), *kernel), np.float32)
    with pytest.raises(
        ValueError, match="variant 'winograd_stride2' needs a kernel 5 to 8 wide, a horizontal"
    ):
        K.conv2d(x, weight, **settings, variant=NAME)
