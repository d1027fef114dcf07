from __future__ import annotations

from types import SimpleNamespace

import pytest

from dlkit.study import own


class Clock:
    """A clock that only what is timed moves on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs = 0

    def takes(self, seconds: float):
        def run() -> None:
            self.now += seconds
            self.runs += 1

        return run


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(own, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_medians_tell_slow_from_quick(clock):
    found = own.medians({"slow": clock.takes(0.004), "quick": clock.takes(1e-5)}, rounds=3, turn=0.002)
    assert found == {"slow": pytest.approx(0.004), "quick": pytest.approx(1e-5)}


def test_a_very_slow_run_is_timed_once(clock):
    assert own.medians({"run": clock.takes(0.6)}, rounds=5) == {"run": pytest.approx(0.6)}
    assert clock.runs == 1


def test_calibration_fills_a_turn(clock):
    count, seconds = own.calibrate(clock.takes(0.001), 0.02)
    assert count == 20
    assert seconds == pytest.approx(0.001)


def test_what_takes_no_time_at_all_is_an_end_too():
    count, _ = own.calibrate(lambda: None, 1e-4)
    assert count >= 1
