"""Words and vectors that are looked up and changed: as gensim does, where it is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import dlkit as dl
from dlkit.data import DataError
from dlkit.models import UnknownWordError

WORDS = [f"w{i}" for i in range(40)]


@pytest.fixture
def table(rng):
    return (rng.standard_normal((len(WORDS), 6)) * rng.uniform(0.2, 5, (len(WORDS), 1))).astype(np.float32)


@pytest.fixture
def vectors(table):
    return dl.KeyedVectors(WORDS, table.copy())


@pytest.fixture
def theirs(table):
    gensim = pytest.importorskip("gensim.models")
    made = gensim.KeyedVectors(6)
    made.add_vectors(WORDS, table)
    return made


def same(ours, theirs):
    assert ours.index_to_key == theirs.index_to_key
    assert ours.key_to_index == theirs.key_to_index
    np.testing.assert_allclose(ours.vectors, theirs.vectors, rtol=1e-6)
    np.testing.assert_allclose(ours.norms, np.linalg.norm(theirs.vectors, axis=1), rtol=1e-6)
    assert ours.vectors.dtype == np.float32


def test_has_index_for(vectors, theirs):
    for key in ("w3", "x", 3, 40, -1, np.int64(7)):
        assert vectors.has_index_for(key) == theirs.has_index_for(key)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weights": [1.0, -2.0, 0.5]},
        {"pre_normalize": False},
        {"post_normalize": True},
        {"weights": np.array([3, 0, -1], np.float32), "pre_normalize": False, "post_normalize": True},
    ],
)
def test_mean_vector_as_gensim(vectors, theirs, table, options):
    for keys in (["w1", "w2", "w3"], ["w1", 2, table[7]], ["w1", "unknown", 99]):
        ours = vectors.get_mean_vector(keys, **options)
        np.testing.assert_allclose(ours, theirs.get_mean_vector(keys, **options), rtol=1e-5, atol=1e-6)
        assert ours.dtype == np.float32
    unknown = ["unknown"] * 3
    assert vectors.get_mean_vector(unknown, **options).tolist() == [0] * 6
    with pytest.raises(UnknownWordError, match="'unknown' has no vector"):
        vectors.get_mean_vector(unknown, ignore_missing=False, **options)


def test_words_are_added_as_gensim_adds_them(vectors, theirs, table, rng):
    given = vectors.vectors
    more = rng.standard_normal((3, 6))
    for replace, words in ((False, ["new", "w3", "other"]), (True, ["w5", "third", "new"])):
        vectors.add_vectors(words, more, replace=replace)
        theirs.add_vectors(words, more, replace=replace)
        same(vectors, theirs)
        more = more[::-1] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert vectors.add_vector("single", more[0]) == theirs.add_vector("single", more[0])
    same(vectors, theirs)
    vectors["w7"] = theirs["w7"] = more[1]
    vectors[["w8", "listed"]] = theirs[["w8", "listed"]] = more[1:]
    same(vectors, theirs)
    vectors.add_vectors([], np.empty((0, 6)))
    other = rng.standard_normal(6)
    vectors.add_vectors("one", other.tolist())
    assert vectors.similar_by_vector(other, topn=1) == [("one", pytest.approx(1, rel=1e-5))]
    np.testing.assert_array_equal(given, table)  # what the table was made of is not written to
    assert vectors.add_vector("w1", more[0]) == 1  # which is there, and stays
    np.testing.assert_array_equal(vectors["w1"], table[1])


def test_counts_of_words_that_are_added(vectors, table):
    vectors.add_vectors(["a", "b"], table[:2])
    assert vectors.counts is None
    vectors.add_vectors(["c", "w0"], table[:2], {"count": [5, 6]})
    assert vectors.counts.tolist() == [0] * 42 + [5]
    vectors.add_vectors(["d", "w0"], table[:2], {"count": np.array([7, 8])}, replace=True)
    vectors.add_vector("e", table[0])
    assert vectors.counts.tolist() == [8] + [0] * 41 + [5, 7, 0]
    assert vectors.get_vecattr("d", "count") == 7


def test_nothing_is_added_where_something_is_wrong(vectors, table):
    for arguments, text in (
        ((["a"], table[:2]), r"add_vectors: weights is float32 \(2, 6\), expected \(1, dimensions\)"),
        ((["a"], table[:1, :3]), r"add_vectors: weights is \(1, 3\), expected \(1, 6\)"),
        (("a", table[0, :3]), r"add_vectors: weights is \(1, 3\), expected \(1, 6\)"),
        ((["a", "a"], table[:2]), "add_vectors: keys has 'a' twice"),
        ((["w1", "a"], [[1.0] * 6, [np.nan] * 6]), "add_vectors: the vector of 'a' holds NaN"),
        ((["a"], table[:1], {"count": [1.5]}), r"add_vectors: extras\['count'\] is float64"),
        ((["a"], table[:1], {"count": [1, 2]}), r"add_vectors: extras\['count'\] is int64 \(2,\)"),
        ((["a"], table[:1], {"sample": [1]}), "add_vectors: extras has 'sample', expected 'count' alone"),
    ):
        with pytest.raises(DataError, match=text):
            vectors.add_vectors(*arguments)
    with pytest.raises(TypeError, match="keys holds something that is no word"):
        vectors.add_vectors(["a", 3], table[:2])
    with pytest.raises(TypeError, match="add_vector: key is a int"):
        vectors.add_vector(3, table[0])
    for keys, weights, text in (
        ([], None, r"keys is \[\], expected a list of at least one word"),
        ("w1", None, "keys is 'w1', expected a list"),
        (["w1"], [1, 2], r"weights is int64 \(2,\), expected \(1,\), finite"),
        (["w1"], [np.inf], "weights is float64"),
        ([table[0, :3]], None, "a vector is float32"),
    ):
        with pytest.raises(ValueError, match=text):
            vectors.get_mean_vector(keys, weights)
    assert vectors.index_to_key == WORDS
    np.testing.assert_array_equal(vectors.vectors, table)


def test_unit_normalize_all(vectors, theirs, table):
    mine = vectors.vectors
    vectors.unit_normalize_all()
    theirs.unit_normalize_all()
    np.testing.assert_allclose(vectors.vectors, theirs.vectors, rtol=1e-6)
    np.testing.assert_allclose(vectors.norms, 1, rtol=1e-6)
    assert vectors.vectors is mine
    table[3] = 0
    table.setflags(write=False)
    read_only = dl.KeyedVectors(WORDS, table)
    read_only.unit_normalize_all()
    assert read_only["w3"].tolist() == [0] * 6
    np.testing.assert_allclose(read_only["w5"], vectors["w5"], rtol=1e-6)


def test_sorted_as_gensim_sorts(vectors, theirs, rng):
    with pytest.raises(ValueError, match="sort_by_descending_frequency: there are no counts"):
        vectors.sort_by_descending_frequency()
    for word, count in zip(WORDS, rng.integers(0, 9, len(WORDS)).tolist(), strict=True):
        vectors.set_vecattr(word, "count", count)
        theirs.set_vecattr(word, "count", count)
    vectors.sort_by_descending_frequency()
    theirs.sort_by_descending_frequency()
    same(vectors, theirs)
    assert vectors.counts.tolist() == theirs.expandos["count"].tolist()


def test_set_vecattr(vectors):
    vectors.set_vecattr("w3", "count", 7)
    assert vectors.counts.tolist() == [0, 0, 0, 7] + [0] * 36
    with pytest.raises(KeyError, match="attr is 'sample', expected 'count'"):
        vectors.set_vecattr("w3", "sample", 1)
    for wrong in (1.5, "3", None, [1, 2]):
        with pytest.raises(DataError, match="set_vecattr: val is"):
            vectors.set_vecattr("w3", "count", wrong)
    with pytest.raises(UnknownWordError):
        vectors.set_vecattr("unknown", "count", 1)
    assert vectors.get_vecattr("w3", "count") == 7
