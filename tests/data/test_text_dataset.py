import numpy as np
import pytest

from dlkit.data import DataError, Split, TextDataset
from dlkit.data.text_dataset import fold_numbers, take_out


def made(count=50, **changes):
    labels = np.arange(count) % 3
    settings = {
        "name": "made",
        "sentences": [["a"]] * count,
        "labels": labels,
        "classes": ["x", "y", "z"],
        "source": "here",
        **changes,
    }
    return TextDataset(**settings)


def test_folds_cover_every_sentence_once_and_each_class_evenly():
    data = made()
    splits = [data.split(fold, 5, seed=3) for fold in range(5)]
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(50))
    for split in splits:
        assert not set(split.train) & set(split.test)
        assert len(split.train) + len(split.test) == 50
        counts = np.bincount(data.labels[split.test], minlength=3)
        assert counts.max() - counts.min() <= 2
    same, other = data.split(0, 5, seed=3), data.split(0, 5, seed=4)
    np.testing.assert_array_equal(splits[0].test, same.test)
    assert not np.array_equal(same.test, other.test)


def test_an_official_split_is_kept():
    split = Split(np.arange(40), np.arange(40, 50))
    assert made(official=split).split(7, 10) is split


def test_errors():
    with pytest.raises(DataError, match="fold is 5, expected 0 … 4"):
        made().split(5, 5)
    with pytest.raises(DataError, match="folds is 1"):
        fold_numbers(np.zeros(4, np.int64), 1)
    with pytest.raises(DataError, match="folds is 9"):
        fold_numbers(np.zeros(4, np.int64), 9)
    with pytest.raises(DataError, match="no sentences"):
        made(0)
    with pytest.raises(DataError, match="labels lie in 0 … 2, expected 0 … 1"):
        made(classes=["x", "y"])
    with pytest.raises(DataError, match=r"labels of shape \(3,\)"):
        made(labels=np.zeros(3, np.int64))


def test_take_out():
    stay, out = take_out(np.arange(10, 30), 0.1, seed=0)
    assert len(out) == 2
    np.testing.assert_array_equal(np.sort(np.concatenate([stay, out])), np.arange(10, 30))
    assert len(take_out(np.arange(2), 0.01)[1]) == 1
    with pytest.raises(DataError, match="1 rows"):
        take_out(np.arange(1), 0.5)
