from __future__ import annotations

import sys

import numpy as np
import pytest

from dlkit import data


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def test_shapes_and_range(digits):
    assert digits.x_train.shape == (1442, 64)
    assert digits.x_test.shape == (355, 64)
    assert digits.x_train.dtype == digits.x_test.dtype == np.float32
    assert digits.y_train.dtype == digits.y_test.dtype == np.int64
    assert digits.x_train.min() == 0
    assert digits.x_train.max() == 1
    assert digits.classes == list("0123456789")
    assert digits.image_shape == (8, 8)
    assert digits.features == 64
    assert "scikit-learn" in digits.source


def test_the_split_is_the_documented_one(digits):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    test_rows = np.sort(np.concatenate([np.flatnonzero(y == c)[4::5] for c in range(10)]))
    train_rows = np.setdiff1d(np.arange(len(y)), test_rows)
    np.testing.assert_array_equal(digits.x_test, x[test_rows].astype(np.float32) / 16)
    np.testing.assert_array_equal(digits.y_test, y[test_rows])
    np.testing.assert_array_equal(digits.x_train, x[train_rows].astype(np.float32) / 16)
    np.testing.assert_array_equal(digits.y_train, y[train_rows])


def test_both_parts_have_all_classes_alike(digits):
    train = np.bincount(digits.y_train, minlength=10) / len(digits.y_train)
    test = np.bincount(digits.y_test, minlength=10) / len(digits.y_test)
    np.testing.assert_allclose(train, test, atol=0.005)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "dlkit\[cli\]"'):
        data.load("digits")
