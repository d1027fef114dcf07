"""The adding problem and copying from memory."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import AddingProblem, CopyMemory, DataError


def test_adding():
    x, y = AddingProblem(9).draw(5000, np.random.default_rng(0))
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((5000, 9, 2), (5000, 1), np.float32, np.float32)
    assert ((x[..., 0] >= 0) & (x[..., 0] < 1)).all()
    marks = x[..., 1]
    assert set(np.unique(marks)) == {0, 1}
    # One mark in each half, each place as often.
    np.testing.assert_array_equal(marks[:, :4].sum(1), 1)
    np.testing.assert_array_equal(marks[:, 4:].sum(1), 1)
    assert np.abs(marks.sum(0) / 5000 - np.array([1 / 4] * 4 + [1 / 5] * 5)).max() < 0.03
    np.testing.assert_allclose((x[..., 0] * marks).sum(1), y[:, 0], rtol=1e-6)
    assert ((y - 1) ** 2).mean() == pytest.approx(AddingProblem.baseline, rel=0.05)


def test_copy():
    task = CopyMemory(length=5, symbols=3, recalled=2)
    assert (task.steps, task.classes) == (9, 5)
    x, y = task.draw(400, np.random.default_rng(1))
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((400, 9, 5), (400, 9), np.float32, np.int64)
    np.testing.assert_array_equal(x.sum(2), 1)
    tokens = x.argmax(2)
    np.testing.assert_array_equal(tokens[:, 2:6], 0)
    np.testing.assert_array_equal(tokens[:, 6], 4)
    np.testing.assert_array_equal(tokens[:, 7:], 0)
    np.testing.assert_array_equal(y[:, :7], 0)
    np.testing.assert_array_equal(y[:, 7:], tokens[:, :2])
    assert set(np.unique(y[:, 7:])) == {1, 2, 3}
    # Who answers blanks, then any symbol with the same probability.
    assert task.baseline == pytest.approx(2 * np.log(3) / 9)


@pytest.mark.parametrize("task", [AddingProblem(20), CopyMemory(6)])
def test_same_generator_same_bits(task):
    a, b, c = (task.draw(7, np.random.default_rng(seed)) for seed in (5, 5, 6))
    for one, other, third in zip(a, b, c, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one != third).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AddingProblem(1), "AddingProblem: length is 1, expected an integer of at least 2"),
        (lambda: AddingProblem(2.5), "length is 2.5"),
        (lambda: CopyMemory(0), "CopyMemory: length is 0"),
        (lambda: CopyMemory(5, 1), "symbols is 1"),
        (lambda: CopyMemory(5, 8, True), "recalled is True"),
        (lambda: AddingProblem().draw(0, np.random.default_rng()), "draw: samples is 0"),
        (lambda: CopyMemory().draw(-1, np.random.default_rng()), "draw: samples is -1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(DataError, match=message):
        make()
