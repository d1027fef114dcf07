"""Packed batches of tagged sentences."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import DataError
from dlkit.data.tagger_batches import TaggerBatches, pack_tagged
from dlkit.data.tagger_features import SpellingTable, TaggerFeatures


def make(lengths, **settings):
    rng = np.random.default_rng(0)
    words = ["a", "bb", "ccc", "dddd", "e5"]
    sentences = [
        ([words[i] for i in rng.integers(0, 5, n)], [("X", "Y")[i] for i in rng.integers(0, 2, n)])
        for n in lengths
    ]
    features = TaggerFeatures.of(sentences, ["X", "Y"], **settings)
    table = SpellingTable(features)
    return sentences, table, [table.encode(*sentence) for sentence in sentences]


def test_rows_are_those_of_the_sentences():
    _, table, encoded = make([2, 5, 1, 5], bigrams=True, bigram_min_count=1)
    batch, tags = pack_tagged(encoded, table)
    assert batch.batch_sizes == [4, 3, 2, 2, 2]
    assert batch.sentence[:4].tolist() == [1, 3, 0, 2]
    for which, values in (("words", batch.words), ("tags", tags), ("bigrams", batch.bigrams)):
        for number, part in enumerate(batch.unpack(values, 4)):
            np.testing.assert_array_equal(part, getattr(encoded[number], which))
    spelled = batch.spellings[batch.spelled]
    rows = np.concatenate([e.spellings for e in encoded])
    longest = spelled.shape[1]
    expected = np.split(table.table[rows][:, :longest], np.cumsum([2, 5, 1]))
    for part, wanted in zip(batch.unpack(spelled, 4), expected, strict=True):
        np.testing.assert_array_equal(part, wanted)
    assert len(batch.spellings) == len(np.unique(rows))


def test_an_epoch_has_every_sentence_once_and_is_the_same_again():
    _, table, encoded = make(range(1, 24))
    batches = TaggerBatches(encoded, table, 4, seed=3)
    assert len(batches) == 6
    assert batches.tokens == sum(range(1, 24))
    first, second = list(batches), list(batches)
    assert sum(len(tags) for _, tags in first) == batches.tokens
    assert [len(t) for _, t in first] != [len(t) for _, t in second]
    again = list(TaggerBatches(encoded, table, 4, seed=3))
    for (a, ta), (b, tb) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.words, b.words)
        np.testing.assert_array_equal(ta, tb)


def test_goes_on_where_it_stood():
    _, table, encoded = make(range(1, 24))
    whole = TaggerBatches(encoded, table, 4)
    iterator = iter(whole)
    for _ in range(2):
        next(iterator)
    state = whole.state_dict()
    rest = list(iterator)
    other = TaggerBatches(encoded, table, 4)
    other.load_state_dict(state)
    for (a, _), (b, _) in zip(rest, other, strict=True):
        np.testing.assert_array_equal(a.words, b.words)
    _, table, strange = make(range(2, 25))
    with pytest.raises(DataError, match="belongs to other data"):
        TaggerBatches(strange, table, 4).load_state_dict(state)


def test_errors():
    _, table, encoded = make([3, 2])
    with pytest.raises(DataError, match="without tokens, or none at all"):
        pack_tagged([], table)
    with pytest.raises(DataError, match="sentence 1 has a token without a known tag"):
        TaggerBatches([encoded[0], table.encode(["a"], ["Z"])], table)
    with pytest.raises(DataError, match="sentence 0 has a token without a known tag"):
        TaggerBatches([table.encode(["a"])], table)
