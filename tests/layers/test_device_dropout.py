"""csrc/layers/dropout.cu: the CPU's random numbers, where CUDA sources run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

NAIVE, FUSED = 0, 3
RUNGS = pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])


def dropout(
    device: Any, x: Any, p: float, seed: int, offset: int, rung: int, shift: int = 0, more: int | None = None
) -> Any:
    there, y = device.put(x, shift), device.empty(x.shape, x.dtype, shift)
    pointer = None if more is None else device.put(np.array([more], np.uint64))
    device.module.dropout(
        0,
        int(x.dtype == np.float64),
        device.address(there),
        device.address(y),
        x.size,
        p,
        seed,
        offset,
        device.address(pointer),
        rung,
    )
    return device.get(y)


@RUNGS
@pytest.mark.parametrize("n", [0, 1, 3, 4, 127, 128, 129, 1025, 10_007])
def test_the_bits_of_the_cpu(device: Any, n: int, rung: int, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(n).astype(dtype)
    for p, seed, offset, shift in (
        (0.5, 0, 0, 0),
        (0.1, 2**64 - 1, 8, 0),
        (0.9, 12345, 2**40 + 1, 0),
        (0.3, 7, 2, 1),
        (0.3, 7, 4 * (2**32 - 1), 1),
        (1 / 3, 7, 2**64 - 4, 0),
    ):
        expected = K.dropout(x, p, seed=seed, offset=offset, variant="naive")
        got = dropout(device, x, p, seed, offset, rung, shift)
        assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shift", [0, 1])
def test_more_than_the_grid_holds(device: Any, shift: int, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(100_001).astype(dtype)
    expected = K.dropout(x, 0.25, seed=9, offset=40)
    assert dropout(device, x, 0.25, 9, 40, FUSED, shift).tobytes() == expected.tobytes()


@RUNGS
def test_an_offset_on_the_device_is_added(device: Any, rung: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal(1000).astype(np.float32)
    for offset, more in ((0, 12), (4, 4 * 10**12), (4, 7), (1, 2)):
        expected = K.dropout(x, 0.4, seed=3, offset=offset + more)
        assert dropout(device, x, 0.4, 3, offset, rung, more=more).tobytes() == expected.tobytes()


@RUNGS
@pytest.mark.parametrize("p", [0.0, 1.0, 1e-12, 1 - 1e-12])
def test_extreme_probabilities(
    device: Any, p: float, rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(1001).astype(dtype)
    x[::7] = np.nan
    x[::5] = np.inf
    got = dropout(device, x, p, 5, 0, rung)
    np.testing.assert_array_equal(got, K.dropout(x, p, seed=5, offset=0))
    assert not got.any() if p == 1 else got.any() or p > 0.5


def test_wrong_arguments(device: Any) -> None:
    x = device.put(np.zeros(4, np.float32))
    at = device.address(x)
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"dropout: p is .*; expected 0 to 1"):
            device.module.dropout(0, 0, at, at, 4, p, 0, 0, 0, 3)
    with pytest.raises(ValueError, match=r"offset_pointer is at address .* expected a multiple of 8"):
        device.module.dropout(0, 0, at, at, 4, 0.5, 0, 0, at + 4, 3)


@pytest.mark.parametrize(("dtype", "offset"), [(np.float32, 0), (np.float64, 0), (np.float64, 1)])
def test_every_sector_moves_once(simt: Any, dtype: Any, offset: int, rng: np.random.Generator) -> None:
    n = 16_384
    dropout(simt, rng.standard_normal(n).astype(dtype), 0.5, 1, offset, FUSED)
    (row,) = simt.module.counters()
    size = np.dtype(dtype).itemsize
    # Where the stream begins inside a Philox block, requests begin inside a sector.
    most = size * n // 32 * (1 if offset == 0 else 9 / 8)
    assert size * n // 32 <= row["global_load_sectors"] <= most
    assert size * n // 32 <= row["global_store_sectors"] <= most
    assert row["shared_load_conflicts"] == row["shared_store_conflicts"] == 0
