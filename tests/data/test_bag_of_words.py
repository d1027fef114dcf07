"""Documents as bags of words, against scikit-learn's vectorizers."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import BagOfWords, DataError

SENTENCES = [
    ["the", "sun", "shines", "and", "the", "star", "shines"],
    ["a", "star", "is", "a", "sun"],
    [],
    ["the", "moon"],
    ["nothing", "of", "the", "sort"],
]


def test_one_hot_vectors_know_no_likeness():
    bag = BagOfWords.of(SENTENCES)
    rows = bag.transform([[word] for word in bag.words])
    assert (rows.dense() == np.eye(len(bag))).all()
    assert rows.cosine(bag.column["star"], bag.column["sun"]) == 0
    # A bag of counts is the sum of the one-hot vectors of its words.
    for sentence in SENTENCES:
        total = sum((np.eye(len(bag))[bag.column[word]] for word in sentence), np.zeros(len(bag)))
        assert (bag.transform([sentence]).dense()[0] == total).all()


@pytest.mark.parametrize("weighting", ["counts", "binary", "tf-idf"])
def test_as_scikit_learn_has_it(weighting):
    text = pytest.importorskip("sklearn.feature_extraction.text")
    how = {"analyzer": lambda sentence: sentence}
    theirs = {
        "counts": text.CountVectorizer(**how),
        "binary": text.CountVectorizer(binary=True, **how),
        "tf-idf": text.TfidfVectorizer(**how),
    }[weighting]
    others = [["star", "star", "moon", "unknown"], ["unknown"]]
    theirs.fit(SENTENCES)
    ours = BagOfWords.of(SENTENCES, weighting)
    assert sorted(ours.words) == sorted(theirs.vocabulary_)
    order = [theirs.vocabulary_[word] for word in ours.words]
    for sentences in (SENTENCES, others):
        expected = theirs.transform(sentences).toarray()[:, order]
        np.testing.assert_allclose(ours.transform(sentences).dense(), expected, rtol=1e-6, atol=1e-7)


def test_words():
    bag = BagOfWords.of(SENTENCES, min_count=2)
    assert bag.words == ["the", "a", "shines", "star", "sun"]
    assert "star" in bag
    assert "moon" not in bag
    assert bag.document_counts.tolist() == [3, 1, 1, 2, 2]
    assert BagOfWords.of(SENTENCES, max_size=2).words == ["the", "a"]


def test_errors():
    with pytest.raises(DataError, match="weighting is 'tfidf', expected one of counts, binary, tf-idf"):
        BagOfWords(["a"], "tfidf")
    with pytest.raises(DataError, match="a word twice"):
        BagOfWords(["a", "b", "a"])
    with pytest.raises(DataError, match="tf-idf needs document_counts"):
        BagOfWords(["a"], "tf-idf")
    for counts in ([1, 2], [-1], [4], [0.5]):
        with pytest.raises(DataError, match=r"expected integers of shape \(1,\), 0 to documents \(3\)"):
            BagOfWords(["a"], documents=3, document_counts=counts)
    for text in ("a b", ["a b"]):
        with pytest.raises(DataError, match="sentences is a text"):
            BagOfWords(["a"]).transform(text)
