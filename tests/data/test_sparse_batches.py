"""Mini-batches of sparse rows."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import DataError, SparseBatches, SparseRows


@pytest.fixture
def rows(rng) -> SparseRows:
    return SparseRows.counted(rng.integers(0, 23, 100), rng.integers(0, 7, 100), (23, 7))


def test_each_row_once_with_its_label(rows):
    batches = SparseBatches(rows, np.arange(23), 5, seed=3)
    assert len(batches) == 5
    assert batches.samples == 23
    first, second = list(batches), list(batches)
    for epoch in (first, second):
        assert [len(y) for _, y in epoch] == [5, 5, 5, 5, 3]
        labels = np.concatenate([y for _, y in epoch])
        assert sorted(labels) == list(range(23))
        assert (np.concatenate([x for x, _ in epoch]) == rows.dense()[labels]).all()
    assert any((a[1] != b[1]).any() for a, b in zip(first, second, strict=True))


def test_goes_on_where_it_was_left(rows):
    labels = np.arange(23)
    whole = [y.tolist() for _, y in SparseBatches(rows, labels, 5)]
    one = SparseBatches(rows, labels, 5)
    loop = iter(one)
    seen = [next(loop)[1].tolist() for _ in range(2)]
    other = SparseBatches(rows, labels, 5)
    other.load_state_dict(one.state_dict())
    assert seen + [y.tolist() for _, y in other] == whole
    with pytest.raises(DataError, match="the samples themselves differ"):
        SparseBatches(rows, labels[::-1], 5).load_state_dict(one.state_dict())
    with pytest.raises(DataError, match="batch_size is 6"):
        SparseBatches(rows, labels, 6).load_state_dict(one.state_dict())


def test_errors(rows):
    with pytest.raises(DataError, match=r"23 rows and labels of shape \(3,\)"):
        SparseBatches(rows, np.arange(3))
    with pytest.raises(DataError, match="batch_size is 0"):
        SparseBatches(rows, np.arange(23), 0)
