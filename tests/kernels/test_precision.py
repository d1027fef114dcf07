"""python/dlkit/kernels/precision.py: what products of float32 may lose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dlkit as dl
import dlkit.kernels as K
from dlkit.kernels import precision


@pytest.fixture(autouse=True)
def _highest_again() -> Iterator[None]:
    yield
    dl.set_float32_matmul_precision("highest")


def test_levels() -> None:
    assert dl.get_float32_matmul_precision() == "highest"
    for level, code in (("high", 1), ("medium", 2), ("highest", 0)):
        dl.set_float32_matmul_precision(level)  # type: ignore[arg-type]
        assert dl.get_float32_matmul_precision() == level
        assert precision.code(None, "op") == code
        assert precision.code("tf32", "op") == 1
    with pytest.raises(
        ValueError, match=r"precision is 'hihg'; expected one of highest, high, medium \(did you"
    ):
        dl.set_float32_matmul_precision("hihg")  # type: ignore[arg-type]


def test_the_cpu_computes_in_float32_whatever_is_asked_for(rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=(9, 9)).astype(np.float32) for _ in range(2))
    exact = K.matmul(a, b)
    dl.set_float32_matmul_precision("medium")
    np.testing.assert_array_equal(K.matmul(a, b), exact)
    np.testing.assert_array_equal(K.matmul(a, b, precision="bf16"), exact)
    with pytest.raises(
        ValueError, match=r"matmul: precision is 'tf23'; expected None or one of float32, tf32, bf16"
    ):
        K.matmul(a, b, precision="tf23")  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "tolerance"), [("float32", 1e-6), ("tf32", 2e-3), ("bf16", 2e-2)])
def test_on_a_device_rounding_stays_within_the_format(
    simt: Any, rng: Any, name: Any, tolerance: float
) -> None:
    a, b = (rng.normal(size=(16, 16)).astype(np.float32) for _ in range(2))
    expected = a.astype(np.float64) @ b
    got = K.matmul(simt.array(a), simt.array(b), precision=name).get()
    assert np.linalg.norm(got - expected) <= tolerance * np.linalg.norm(expected)
    doubles = K.matmul(
        simt.array(a.astype(np.float64)), simt.array(b.astype(np.float64)), precision=name
    ).get()
    np.testing.assert_allclose(doubles, expected, rtol=1e-12)
