"""csrc/conv/direct.cpp: what it does not take, and sums that do not depend on how it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dlkit
import dlkit.kernels as K


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = dlkit.get_num_threads()
    yield
    dlkit.set_num_threads(before)


def test_a_reach_too_far(rng: np.random.Generator) -> None:
    x = rng.standard_normal((1, 2000, 700), dtype=np.float32)
    weight = rng.standard_normal((2, 2000, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="variant 'direct' needs a kernel and stride that reach over fewer"):
        K.conv1d(x, weight, dilation=300, variant="direct")
    got = K.conv1d(x, weight, dilation=300)
    expected = sum(weight[:, :, u].astype(np.float64) @ x[0, :, 300 * u : 300 * u + 100] for u in range(3))
    assert np.linalg.norm(got[0] - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("kernel", [1, 3], ids=["in place", "turned"])
def test_an_element_is_one_sum_wherever_it_lies(kernel: int, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 40, 37, 61)).astype(dtype)
    weight = rng.standard_normal((67, 40, kernel, kernel)).astype(dtype)
    settings: dict[str, Any] = {"stride": 2, "variant": "direct"}
    dlkit.set_num_threads(1)
    y = K.conv2d(x, weight, **settings)
    dx = K.conv2d_backward_input(y, weight, x.shape[2:], **settings)
    np.testing.assert_array_equal(K.conv2d(x[1:2, :, 4:, 8:], weight, **settings), y[1:2, :, 2:, 4:])
    dlkit.set_num_threads(2)
    np.testing.assert_array_equal(K.conv2d(x, weight, **settings), y)
    np.testing.assert_array_equal(K.conv2d_backward_input(y, weight, x.shape[2:], **settings), dx)
