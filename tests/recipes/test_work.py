from __future__ import annotations

import pytest

from dlkit.recipes.work import peak_memory, work_lines, work_of


def test_sums_over_the_records():
    history = [
        {"seconds": 2.0, "samples_per_s": 100.0, "gflops": 10.0},
        {"seconds": 1.0, "samples_per_s": 400.0, "gflops": 40.0},
    ]
    work = work_of(history)
    assert work["train_seconds"] == 3.0
    assert work["samples_per_s"] == pytest.approx(200.0)
    assert work["gflops"] == pytest.approx(20.0)
    assert work["percent_of_peak"] == pytest.approx(100 * 20 / work["peak_gflops"])
    text = dict(work_lines({**work, "peak_memory": 5_000_000}, epochs=2))
    assert text["training"] == "2 epochs in 3.00 s"
    assert text["throughput"] == "200 samples/s"
    assert text["peak memory"] == "5 MB"


def test_no_records():
    assert work_of([])["samples_per_s"] == 0.0


def test_peak_memory_is_that_of_a_python_process():
    assert 10e6 < (peak_memory() or 0) < 1e12
