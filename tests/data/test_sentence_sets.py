import numpy as np
import pytest

from dlkit.data import DataError
from dlkit.data.sentence_sets import load_polarity, load_sst, load_trec


@pytest.mark.parametrize(
    ("name", "counts", "classes"),
    [
        ("mr", [5331, 5331], ["negative", "positive"]),
        ("subj", [5000, 5000], ["objective", "subjective"]),
        ("cr", [1366, 2405], ["negative", "positive"]),
    ],
)
def test_two_classes(name, counts, classes, data_folder):
    data = load_polarity(name)
    assert np.bincount(data.labels).tolist() == counts
    assert data.classes == classes
    assert data.official is None


def test_trec(data_folder):
    data = load_trec()
    split = data.split()
    assert (len(split.train), len(split.test)) == (5452, 500)
    assert data.sentences[0][:2] == ["How", "did"]
    assert np.bincount(data.labels[split.test]).tolist() == [9, 138, 94, 65, 81, 113]


def test_sst(data_folder):
    five = load_sst(5, phrases=False)
    assert [len(part) for part in (five.split().train, five.split().validation, five.split().test)] == [
        8544,
        1101,
        2210,
    ]
    two = load_sst(2, phrases=False)
    assert [len(part) for part in (two.split().train, two.split().validation, two.split().test)] == [
        6920,
        872,
        1821,
    ]
    assert two.classes == ["negative", "positive"]


def test_unknown():
    with pytest.raises(DataError, match="name is 'mrr'"):
        load_polarity("mrr")
    with pytest.raises(DataError, match="classes is 3"):
        load_sst(3)
