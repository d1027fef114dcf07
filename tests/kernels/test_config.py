"""python/dlkit/kernels/config.py: threads, counters and what the machine can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dlkit
import dlkit.kernels as K


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = K.get_num_threads()
    yield
    K.set_num_threads(before)


def test_set_num_threads() -> None:
    for count in (1, 2, 1024, np.int64(3)):
        K.set_num_threads(count)
        assert K.get_num_threads() == K.config()["threads"] == count
    assert dlkit.set_num_threads is K.set_num_threads


@pytest.mark.parametrize("count", [0, -1, 1025, 2**40, 2**70, -(2**70)])
def test_thread_counts_out_of_range(count: int) -> None:
    K.set_num_threads(2)
    for operation, argument in ((K.set_num_threads, "count"), (K.measure_peak, "threads")):
        with pytest.raises(
            ValueError,
            match=f"{operation.__name__}: {argument} is {count}; expected an integer from 1 to 1024",
        ):
            operation(count)
    with pytest.raises(ValueError, match=f"measure_bandwidth: threads is {count}; expected"):
        K.measure_bandwidth(count)
    assert K.get_num_threads() == 2


@pytest.mark.parametrize("count", [1.0, "2", True, [1], np.float32(2), np.array([1, 2]), 1j])
def test_thread_counts_of_other_types(count: Any) -> None:
    text = f"is a {type(count).__name__}; expected an integer from 1 to 1024"
    with pytest.raises(TypeError, match=f"set_num_threads: count {text}"):
        K.set_num_threads(count)
    with pytest.raises(TypeError, match=f"measure_peak: threads {text}"):
        K.measure_peak(count)
    with pytest.raises(TypeError, match="set_num_threads: count is a NoneType"):
        K.set_num_threads(None)  # type: ignore[arg-type]


def test_config(capsys: pytest.CaptureFixture[str]) -> None:
    config = K.config()
    assert config["isa"] in config["isas_available"]
    assert config["cpus_usable"] >= 1
    assert config["cpu"]
    assert "cpu" in config["backends"]
    assert set(config["cache_bytes"]) == {"l1d", "l2", "l3"}
    assert config["cache_bytes"]["l1d"] > 0
    assert config["cache_bytes"]["l2"] > 0
    K.show_config()
    assert capsys.readouterr().out.splitlines() == [f"{key}: {value}" for key, value in config.items()]


def test_counters_count_matrix_products() -> None:
    a, b = np.ones((4, 3, 5), np.float32), np.ones((5, 7), np.float32)
    K.reset_counters()
    assert K.counters() == {"flops": 0, "bytes": 0, "calls": 0}
    K.matmul(a, b)
    assert K.counters()["flops"] == 2 * 4 * 3 * 5 * 7
    assert K.counters()["calls"] == 1
    with pytest.raises(ValueError, match="inner dimensions"):
        K.matmul(b, b)
    with pytest.raises(ValueError, match="variant"):
        K.matmul(a, b, variant="none")
    assert K.counters()["calls"] == 1
    K.matmul(b.astype(np.float64).T, np.ones(5))
    assert K.counters()["flops"] == 2 * 4 * 3 * 5 * 7 + 2 * 7 * 5
    K.reset_counters()
    K.matmul(np.ones((2, 3)), np.ones((3, 4)))
    assert K.counters()["bytes"] == 8 * (2 * 3 + 3 * 4 + 2 * 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_measure_peak(dtype: str) -> None:
    assert 1e8 < K.measure_peak(1, dtype) < 1e13
    assert K.measure_peak(dtype=dtype) > 1e8


@pytest.mark.parametrize("dtype", ["float16", "int32", np.float32, None])
def test_measure_peak_of_another_dtype(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"measure_peak: dtype is .*; expected 'float32' or 'float64'"):
        K.measure_peak(1, dtype)


def test_measure_bandwidth() -> None:
    assert 1e8 < K.measure_bandwidth(1) < 1e13
