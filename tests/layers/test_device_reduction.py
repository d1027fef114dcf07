"""csrc/layers/reduction.cu: sums, where CUDA sources run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

NAIVE, FUSED = 0, 3
RUNGS = pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])


def code(dtype: Any) -> int:
    return int(dtype == np.float64)


def column_sum(device: Any, x: Any, rung: int, out: Any = None, stride: int = 0, shift: int = 0) -> Any:
    rows, cols = x.shape
    stride = stride or cols
    wide = np.full((rows, stride), 7, x.dtype)
    wide[:, :cols] = x
    there = device.put(wide.ravel()[: max((rows - 1) * stride + cols, 0)], shift)
    to = device.empty(cols, x.dtype) if out is None else device.put(out)
    scratch = device.scratch(device.module.column_sum_scratch(code(x.dtype), rows, cols))
    device.module.column_sum(
        0,
        code(x.dtype),
        device.address(there),
        stride,
        rows,
        cols,
        device.address(to),
        out is not None,
        device.address(scratch),
        rung,
    )
    return device.get(to)


@RUNGS
@pytest.mark.parametrize(
    "shape",
    [
        (0, 3),
        (3, 0),
        (1, 1),
        (64, 10),
        (5, 129),
        (513, 33),
        (700, 128),
        (3, 5000),
        (30_000, 1),
        (9000, 4),
        (2100, 37),
    ],
)
def test_column_sum(
    device: Any, shape: tuple[int, int], rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    expected = x.astype(np.longdouble).sum(axis=0)
    bound = (1e-14 if dtype is np.float64 else 3e-6) * (20 if rung == NAIVE else 1)
    scale = float(np.linalg.norm(x.astype(np.float64)))
    assert np.linalg.norm(column_sum(device, x, rung) - expected) <= bound * scale
    for stride, shift in ((shape[1] + 1, 0), (shape[1] + 4, 1)):
        assert (
            np.linalg.norm(column_sum(device, x, rung, stride=stride, shift=shift) - expected)
            <= bound * scale
        )
    out = np.ones(shape[1], dtype)
    got = column_sum(device, x, rung, out=out)
    assert np.linalg.norm(got - 1 - expected) <= bound * (scale + math.sqrt(shape[1]))


def test_column_sum_has_the_same_bits_every_time(device: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((5000, 12)).astype(np.float32)
    assert column_sum(device, x, FUSED).tobytes() == column_sum(device, x, FUSED).tobytes()


@pytest.mark.parametrize("shape", [(256, 128), (1000, 32), (64, 512)])
def test_column_sum_reads_once_and_without_conflicts(
    simt: Any, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    column_sum(simt, rng.standard_normal(shape).astype(np.float32), FUSED)
    rows = simt.module.counters()
    first = rows[0]
    assert first["global_load_bytes"] == 4 * shape[0] * shape[1]
    assert first["global_load_sectors"] == shape[0] * shape[1] // 8
    for row in rows:
        assert row["shared_load_conflicts"] == row["shared_store_conflicts"] == 0


def sum_squares(device: Any, arrays: list[Any], shift: int = 0) -> float:
    dtype = arrays[0].dtype
    there = [device.put(array, shift) for array in arrays]
    out = device.empty(1, np.float64)
    scratch = device.scratch(device.module.sum_squares_scratch(code(dtype), [a.size for a in arrays]))
    device.module.sum_squares(
        0,
        code(dtype),
        [(device.address(a), a.size) for a in there],
        device.address(out),
        device.address(scratch),
    )
    return float(device.get(out)[0])


@pytest.mark.parametrize("shift", [0, 1])
def test_sum_squares(device: Any, dtype: Any, shift: int, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(n).astype(dtype) for n in (1, 0, 5, 4096, 8193, 20_001)]
    expected = sum(float((a.astype(np.longdouble) ** 2).sum()) for a in arrays)
    assert sum_squares(device, arrays, shift) == pytest.approx(expected, rel=1e-13)
    assert sum_squares(device, arrays, shift) == sum_squares(device, arrays, shift)


def test_sum_squares_of_many_arrays(device: Any, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(3).astype(np.float32) for _ in range(700)]
    expected = sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays)
    assert sum_squares(device, arrays) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1e30, 1e30], 2e60), ([1e-30], 1e-60), ([np.inf, 1], np.inf), ([np.nan, 1], np.nan), ([], 0)],
)
def test_squares_that_float32_has_no_room_for(device: Any, values: list[float], expected: float) -> None:
    got = sum_squares(device, [np.array(values, np.float32)])
    assert got == pytest.approx(expected, rel=1e-6, abs=0, nan_ok=True)


@pytest.mark.parametrize(
    ("total", "most", "expected"),
    [(4.0, 1.0, 1 / (2 + 1e-6)), (4.0, 3.0, 1.0), (0.0, 1.0, 1.0), (np.inf, 1.0, 0.0), (np.nan, 1.0, np.nan)],
)
def test_clip_factor(device: Any, total: float, most: float, expected: float) -> None:
    there, out = device.put(np.array([total])), device.empty(1, np.float64)
    device.module.clip_factor(0, device.address(there), most, device.address(out))
    np.testing.assert_allclose(device.get(out), [expected], rtol=1e-15)


@pytest.mark.parametrize("shift", [0, 1])
def test_scale_and_clamp(device: Any, dtype: Any, shift: int, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(n).astype(dtype) for n in (1, 0, 7, 4100, 9001)]
    arrays[3][:3] = np.nan, np.inf, -np.inf
    there = [device.put(a, shift) for a in arrays]
    listed = [(device.address(a), a.size) for a in there]
    factor = device.put(np.array([0.25]))
    device.module.scale_inplace(0, code(dtype), listed, 3.0, device.address(factor))
    for a, b in zip(arrays, there, strict=True):
        np.testing.assert_array_equal(device.get(b), a * dtype(0.75))
    device.module.scale_inplace(0, code(dtype), listed, 2.0, 0)
    device.module.clamp_inplace(0, code(dtype), listed, 0.5)
    for a, b in zip(arrays, there, strict=True):
        np.testing.assert_array_equal(device.get(b), np.clip(a * dtype(0.75) * dtype(2), -0.5, 0.5))


def test_wrong_arguments(device: Any) -> None:
    x = device.put(np.zeros(4, np.float32))
    at = device.address(x)
    with pytest.raises(ValueError, match=r"clamp_inplace: limit is -1.0; expected 0 or more"):
        device.module.clamp_inplace(0, 0, [(at, 4)], -1.0)
    with pytest.raises(ValueError, match=r"scale_inplace: parameters has .*; expected tuples of 2 integers"):
        device.module.scale_inplace(0, 0, [(at, 4, 5)], 1.0, 0)
    with pytest.raises(ValueError, match=r"scale_inplace: array is 'x'; expected an integer, 0 or more"):
        device.module.scale_inplace(0, 0, [("x", 4)], 1.0, 0)
    with pytest.raises(ValueError, match="scale_inplace: n is -4; expected an integer, 0 or more"):
        device.module.scale_inplace(0, 0, [(at, -4)], 1.0, 0)
    with pytest.raises(ValueError, match="clip_factor: max_norm is nan; expected 0 or more"):
        device.module.clip_factor(0, at, float("nan"), at)
    with pytest.raises(TypeError, match="column_sum: dtype is bfloat16; expected float32 or float64"):
        device.module.column_sum(0, 3, at, 1, 1, 1, at, False, 0, 3)
    with pytest.raises(ValueError, match="column_sum: scratch is at address 0"):
        device.module.column_sum(0, 0, at, 1, 40_000, 1, at, False, 0, 3)
