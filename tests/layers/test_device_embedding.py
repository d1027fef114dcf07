"""csrc/layers/embedding.cu: gather and gradient scatter, where CUDA sources run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

NAIVE, ATOMIC, FUSED = 0, 1, 3


def code(dtype: Any) -> int:
    return int(dtype == np.float64)


def gather(device: Any, weight: Any, indices: Any, rung: int, shift: int = 0) -> Any:
    there, which = device.put(weight, shift), device.put(np.asarray(indices, np.int64))
    out = device.empty((len(indices), weight.shape[1]), weight.dtype)
    device.module.embedding(
        0,
        code(weight.dtype),
        device.address(there),
        *weight.shape,
        device.address(which),
        len(indices),
        device.address(out),
        rung,
    )
    return device.get(out)


def scatter(
    device: Any, grad: Any, indices: Any, rows: int, rung: int = FUSED, padding: int = -1, shift: int = 0
) -> Any:
    n, cols = grad.shape
    there, which = device.put(grad, shift), device.put(np.asarray(indices, np.int64))
    out = device.empty((rows, cols), grad.dtype)
    scratch = device.scratch(device.module.embedding_backward_scratch(code(grad.dtype), n, rows, cols))
    device.module.embedding_backward(
        0,
        code(grad.dtype),
        device.address(there),
        device.address(which),
        n,
        rows,
        cols,
        padding,
        device.address(out),
        device.address(scratch),
        rung,
    )
    return device.get(out)


def summed(grad: Any, indices: Any, rows: int, padding: int = -1) -> Any:
    out = np.zeros((rows, grad.shape[1]))
    indices = np.asarray(indices)
    counts = (indices >= 0) & (indices < rows) & (indices != padding)
    np.add.at(out, indices[counts], grad[counts])
    return out


@pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])
@pytest.mark.parametrize("cols", [1, 3, 4, 10, 100, 128, 300])
def test_gather(device: Any, cols: int, rung: int, dtype: Any, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((37, cols)).astype(dtype)
    for n, shift in ((0, 0), (1, 0), (1500, 0), (70, 1)):
        indices = rng.integers(0, 37, n)
        np.testing.assert_array_equal(gather(device, weight, indices, rung, shift), weight[indices])


@pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])
@pytest.mark.parametrize("cols", [1, 5, 64])
def test_an_index_that_is_no_row_gives_nan(device: Any, cols: int, rung: int) -> None:
    weight = np.ones((4, cols), np.float32)
    indices = [0, 4, -1, 3, 2**62, -(2**63)]
    got = gather(device, weight, indices, rung)
    np.testing.assert_array_equal(np.isnan(got).all(axis=1), [False, True, True, False, True, True])
    assert np.nansum(got) == 2 * cols


# One tile of the sort, several; one, two and three digits of 8 bits; rows that come seldom, often, and not at all.
@pytest.mark.parametrize(
    ("n", "rows"),
    [(0, 5), (1, 1), (40, 7), (2048, 255), (2047, 256), (2049, 3), (20_000, 300), (3000, 70_000)],
)
@pytest.mark.parametrize("cols", [1, 8])
@pytest.mark.parametrize("rung", [ATOMIC, FUSED], ids=["atomic", "fused"])
def test_scatter(
    device: Any, n: int, rows: int, cols: int, rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    if rows > 1000 and (cols > 1 or dtype is np.float64):
        pytest.skip("once is enough")
    grad = rng.standard_normal((n, cols)).astype(dtype)
    indices = np.minimum(rng.integers(0, rows, n), rng.integers(0, rows, n))
    expected = summed(grad.astype(np.float64), indices, rows)
    bound = 1e-14 if dtype is np.float64 else 5e-6
    got = scatter(device, grad, indices, rows, rung)
    assert np.linalg.norm(got - expected) <= bound * max(np.linalg.norm(expected), 1e-30)
    padded = scatter(device, grad, indices, rows, rung, padding=rows // 2)
    expected[rows // 2] = 0
    assert np.linalg.norm(padded - expected) <= bound * max(np.linalg.norm(expected), 1e-30)
    assert not padded[rows // 2].any()


@pytest.mark.parametrize("cols", [1, 3, 33, 130, 200])
@pytest.mark.parametrize("shift", [0, 1])
def test_sums_are_in_order(device: Any, cols: int, shift: int, rng: np.random.Generator) -> None:
    """Rows that come less often than 256 times have the bits of the definition."""
    grad = rng.standard_normal((700, cols)).astype(np.float32)
    indices = rng.integers(0, 9, 700)
    expected = scatter(device, grad, indices, 9, NAIVE)
    assert scatter(device, grad, indices, 9, FUSED, shift=shift).tobytes() == expected.tobytes()


@pytest.mark.parametrize("n", [1500, 6000])
def test_an_index_that_comes_most_of_the_time(
    device: Any, n: int, dtype: Any, rng: np.random.Generator
) -> None:
    grad = rng.standard_normal((n, 20)).astype(dtype)
    indices = np.where(rng.random(n) < 0.9, 5, rng.integers(0, 11, n))
    got = scatter(device, grad, indices, 11)
    expected = summed(grad.astype(np.float64), indices, 11)
    assert np.linalg.norm(got - expected) <= (1e-14 if dtype is np.float64 else 1e-6) * np.linalg.norm(
        expected
    )
    assert got.tobytes() == scatter(device, grad, indices, 11).tobytes()


@pytest.mark.parametrize("rung", [NAIVE, ATOMIC, FUSED], ids=["naive", "atomic", "fused"])
def test_indices_that_are_no_row_count_for_nothing(device: Any, rung: int) -> None:
    grad = np.ones((6, 3), np.float32)
    indices = [0, 4, -1, 3, 2**62, -(2**63)]
    np.testing.assert_array_equal(scatter(device, grad, indices, 4, rung)[:, 0], [1, 0, 0, 1])


def test_wrong_arguments(device: Any) -> None:
    at = device.address(device.put(np.zeros(4)))
    with pytest.raises(ValueError, match="embedding_backward: n is 2147483648; expected less than 2"):
        device.module.embedding_backward(0, 1, at, at, 2**31, 4, 1, -1, at, at, 3)
    with pytest.raises(ValueError, match=r"embedding: \(rows, cols\) is \(-4, 1\); expected 0 or more"):
        device.module.embedding(0, 1, at, -4, 1, at, 4, at, 3)
