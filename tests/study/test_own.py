from __future__ import annotations

import time

import pytest

from dlkit.study.own import calibrate, medians


def test_medians_tell_slow_from_quick():
    found = medians({"slow": lambda: time.sleep(0.004), "quick": lambda: None}, rounds=3, turn=0.002)
    assert found["slow"] >= 0.004
    assert found["quick"] < found["slow"] / 10


def test_a_very_slow_run_is_timed_once():
    calls = []

    def run() -> None:
        calls.append(1)
        time.sleep(0.6)

    assert medians({"run": run}, rounds=5)["run"] == pytest.approx(0.6, abs=0.3)
    assert len(calls) == 1


def test_calibration_fills_a_turn():
    count, seconds = calibrate(lambda: time.sleep(0.001), 0.02)
    assert seconds >= 0.001
    assert 1 <= count <= 20
