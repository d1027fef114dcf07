from __future__ import annotations

import math

import pytest

from dlkit.train import TrainError
from dlkit.train.monitor import Monitor


def improvements(monitor: Monitor, values: list[float]) -> list[bool]:
    return [monitor.improved({"epoch": i + 1, monitor.key: value}) for i, value in enumerate(values)]


def test_less_is_better_for_losses():
    monitor = Monitor("test", "val_loss")
    assert improvements(monitor, [3, 2, 2, 2.5, 1]) == [True, True, False, False, True]
    assert (monitor.best, monitor.epoch) == (1, 5)


def test_more_is_better_for_accuracies():
    monitor = Monitor("test", "val_accuracy")
    assert improvements(monitor, [0.1, 0.5, 0.4]) == [True, True, False]
    assert (monitor.best, monitor.epoch) == (0.5, 2)


def test_mode_by_hand():
    assert improvements(Monitor("test", "lr", "max"), [1, 2, 1]) == [True, True, False]
    assert improvements(Monitor("test", "lr", "min"), [1, 2, 0]) == [True, False, True]


def test_min_delta():
    assert improvements(Monitor("test", "val_loss", min_delta=0.5), [3, 2.6, 2.4]) == [True, False, True]


def test_nan_is_no_improvement():
    assert improvements(Monitor("test", "val_loss"), [math.nan, 1, math.nan]) == [False, True, False]


def test_state():
    monitor = Monitor("test", "val_loss")
    improvements(monitor, [3, 2])
    other = Monitor("test", "val_loss")
    other.load_state_dict(monitor.state_dict())
    assert not other.improved({"epoch": 3, "val_loss": 2.5})
    assert other.improved({"epoch": 4, "val_loss": 1.5})


def test_missing_value():
    with pytest.raises(
        TrainError, match=r"test: monitor is 'val_loss', expected one of epoch, train_loss \(give fit a valid"
    ):
        Monitor("test", "val_loss").improved({"epoch": 1, "train_loss": 1.0, "val_loss": None})


def test_wrong_arguments():
    with pytest.raises(ValueError, match="test: mode is 'best'"):
        Monitor("test", "val_loss", "best")
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match="min_delta is"):
            Monitor("test", "val_loss", min_delta=wrong)
