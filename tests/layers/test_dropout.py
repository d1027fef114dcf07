"""csrc/layers/dropout.cpp: the mask is the Philox stream, whatever the vectors and threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K
from dlkit import _cpu


def _words(seed: int, offset: int, count: int) -> Any:
    """Numbers offset .. offset + count of the stream, as csrc/core/philox.h defines them."""
    words = []
    for block in range(offset // 4, (offset + count + 3) // 4):
        words += _cpu.philox4x32(block & 0xFFFFFFFF, block >> 32, 0, 0, seed & 0xFFFFFFFF, seed >> 32)
    return np.array(words[offset % 4 : offset % 4 + count], dtype=np.uint64)


@pytest.mark.parametrize("variant", ["naive", "fused"])
@pytest.mark.parametrize("offset", [0, 1, 6, 4097, 2**34 - 30, 2**62 - 5])
@pytest.mark.parametrize("seed", [0, 2**64 - 1, 0x0123456789ABCDEF])
def test_mask_is_the_philox_stream(
    seed: int, offset: int, variant: str, dtype: Any, rng: np.random.Generator
) -> None:
    for size in (0, 1, 3, 64, 1025, 3001):
        x = rng.standard_normal(size).astype(dtype)
        kept = _words(seed, offset, size) >= 0.3 * 2**32
        expected = np.where(kept, x * dtype(1 / 0.7), 0)
        np.testing.assert_array_equal(K.dropout(x, 0.3, seed=seed, offset=offset, variant=variant), expected)


def test_threads_and_pieces_change_nothing(threads: int, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(200_001).astype(dtype)
    whole = K.dropout(x, 0.5, seed=5, offset=3)
    np.testing.assert_array_equal(whole, K.dropout(x, 0.5, seed=5, offset=3, variant="naive"))
    np.testing.assert_array_equal(whole[777:], K.dropout(x[777:], 0.5, seed=5, offset=780))


def test_share_that_stays() -> None:
    ones = np.ones(1_000_000, np.float32)
    for p in (0.1, 0.5, 0.9):
        y = K.dropout(ones, p, seed=1, offset=0)
        assert np.count_nonzero(y) / y.size == pytest.approx(1 - p, abs=0.002)  # 4 standard deviations
        assert np.unique(y).tolist() == [0.0, float(np.float32(1 / (1 - p)))]


def test_backward_is_the_same_call(rng: np.random.Generator, torch: Any) -> None:
    x, grad = rng.standard_normal((2, 50, 7))
    mask = K.dropout(np.ones_like(x), 0.25, seed=9, offset=40)
    leaf = torch.tensor(x, requires_grad=True)
    (leaf * torch.tensor(mask)).backward(torch.tensor(grad))
    np.testing.assert_allclose(K.dropout(grad, 0.25, seed=9, offset=40), leaf.grad.numpy(), rtol=1e-15)


def test_nothing_and_everything() -> None:
    x = np.array([1.0, np.nan, np.inf])
    np.testing.assert_array_equal(K.dropout(x, 0.0, seed=0, offset=0), x)
    np.testing.assert_array_equal(K.dropout(x, 1.0, seed=0, offset=0), [0, 0, 0])
    assert K.dropout(x, 0.0, seed=0, offset=0) is not x


def test_strides_and_out(rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 8))
    expected = K.dropout(x.T.copy(), 0.5, seed=1, offset=0)
    np.testing.assert_array_equal(K.dropout(x.T, 0.5, seed=1, offset=0), expected)
    assert K.dropout(x.T, 0.5, seed=1, offset=0, out=x.T) is not None
    np.testing.assert_array_equal(x.T, expected)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_bad_probability(p: float) -> None:
    with pytest.raises(ValueError, match=r"dropout: p is .*; expected 0 to 1"):
        K.dropout(np.ones(3), p, seed=0, offset=0)


def test_bad_seed() -> None:
    with pytest.raises(TypeError, match=r"dropout: seed is -1; expected an integer from 0"):
        K.dropout(np.ones(3), 0.5, seed=-1, offset=0)
    with pytest.raises(TypeError, match=r"dropout: offset is 0.5; expected an integer"):
        K.dropout(np.ones(3), 0.5, seed=1, offset=0.5)  # type: ignore[arg-type]
