"""Tables that are zero nearly everywhere, against the same with their zeros."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import DataError, SparseRows


@pytest.fixture
def table(rng):
    table = rng.integers(1, 5, (20, 30)) * (rng.random((20, 30)) < 0.1)
    table[[3, 19]] = 0
    return table


@pytest.fixture
def rows(rng, table):
    row, column = np.nonzero(table)
    times = table[row, column]
    row, column = np.repeat(row, times), np.repeat(column, times)
    order = rng.permutation(len(row))
    return SparseRows.counted(row[order], column[order], table.shape)


def test_counted(rows, table):
    assert rows.shape == (20, 30)
    assert (rows.dense() == table).all()
    assert len(rows.values) == np.count_nonzero(table)
    assert rows.nbytes == 8 * 21 + 8 * len(rows.values)
    empty = SparseRows.counted(np.array([], int), np.array([], int), (2, 3))
    assert (empty.dense() == np.zeros((2, 3))).all()


def test_take_and_multiply(rows, table, rng):
    some = np.array([19, 4, 4, 0, 3])
    assert (rows.take(some).dense() == table[some]).all()
    assert rows.take(np.array([], int)).shape == (0, 30)
    other = rng.standard_normal((30, 4))
    np.testing.assert_allclose(rows @ other, table @ other, atol=1e-12)
    np.testing.assert_allclose(rows.take(some) @ other, table[some] @ other, atol=1e-12)


def test_cosine(rows, table):
    for i in range(20):
        for j in range(20):
            lengths = np.linalg.norm(table[i]) * np.linalg.norm(table[j])
            expected = table[i] @ table[j] / lengths if lengths else 0
            assert rows.cosine(i, j) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("starts", "indices", "message"),
    [
        ([0, 2], [0], "do not fit"),
        ([1, 1], [0], "do not fit"),
        ([0, 2, 1], [0], "do not fit"),
        ([0, 1], [3], "expected 0 … 2"),
        ([0, 1], [-1], "expected 0 … 2"),
    ],
)
def test_errors(starts, indices, message):
    with pytest.raises(DataError, match=message):
        SparseRows(np.array(starts), np.array(indices, np.int32), np.ones(len(indices), np.float32), 3)
