from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import DataError, Dataset


def make(**changes) -> Dataset:
    fields = {
        "name": "toy",
        "x_train": np.zeros((6, 4), np.float32),
        "y_train": np.arange(6) % 3,
        "x_test": np.ones((2, 4), np.float32),
        "y_test": np.array([0, 2]),
        "classes": ["a", "b", "c"],
        "image_shape": (2, 2),
        "source": "a test",
    }
    return Dataset(**{**fields, **changes})


def test_parts_and_images():
    toy = make()
    assert toy.train[0] is toy.x_train
    assert toy.train[1] is toy.y_train
    assert toy.test[0] is toy.x_test
    assert toy.test[1] is toy.y_test
    assert toy.images().shape == (6, 1, 2, 2)
    assert toy.images("test").shape == (2, 1, 2, 2)
    assert np.shares_memory(toy.images(), toy.x_train)
    assert "6 training and 2 test images of 2x2, 3 classes, from a test" in repr(toy)
    with pytest.raises(ValueError, match="split is 'validation'"):
        toy.images("validation")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((6, 5), np.float32)}, r"x_train is \(6, 5\), expected \(N, 4\)"),
        ({"x_test": np.zeros((2, 2, 2), np.float32)}, r"x_test is \(2, 2, 2\), expected \(N, 4\)"),
        ({"y_train": np.arange(5)}, r"y_train is \(5,\), expected \(6,\): x_train has 6 samples"),
        ({"y_test": np.array([0, 3])}, r"y_test lie in 0 … 3, expected 0 … 2"),
        ({"y_test": np.array([-1, 0])}, r"y_test lie in -1 … 0, expected 0 … 2"),
    ],
)
def test_wrong_parts(changes, message):
    with pytest.raises(DataError, match=message):
        make(**changes)
