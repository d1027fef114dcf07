"""Word vectors in the plane: principal components and t-SNE, and what `KeyedVectors.map` makes of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dlkit.models import KeyedVectors, UnknownWordError, principal_components, t_sne

WORDS = ["king", "queen", "man", "woman", "apple", "pear", "tree"]
#: Of a cosine of float32 vectors of 20 elements, by the sum of its terms' sizes; 3.6 are the most in 2,000 draws.
ROUNDINGS = 6


@pytest.fixture
def wv(rng) -> KeyedVectors:
    return KeyedVectors(WORDS, rng.standard_normal((7, 20)), counts=np.arange(7, 0, -1))


@pytest.mark.parametrize("shape", [(50, 8), (5, 30), (3, 2), (200, 1)])
def test_principal_components_are_those_of_scikit_learn(rng, shape):
    decomposition = pytest.importorskip("sklearn.decomposition")
    table = rng.standard_normal(shape) * np.linspace(3, 1, shape[1]) + 5
    points, shares = principal_components(table)
    count = min(2, *shape)
    theirs = decomposition.PCA(count).fit(table)
    np.testing.assert_allclose(np.abs(points[:, :count]), np.abs(theirs.transform(table)), atol=1e-9)
    np.testing.assert_allclose(shares[:count], theirs.explained_variance_ratio_, rtol=1e-9)
    assert (points[:, count:] == 0).all()
    assert (points.max(axis=0) >= -points.min(axis=0)).all()


def test_principal_components_of_little():
    points, shares = principal_components(np.full((4, 3), 0.1))
    assert (points == 0).all()
    assert (shares == 0).all()
    assert principal_components(np.ones((1, 5)))[0].tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="NaN or infinity"):
        principal_components(np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match=r"vectors is \(0, 3\)"):
        principal_components(np.ones((0, 3)))


def test_t_sne_keeps_groups_together_and_repeats_itself(rng):
    pytest.importorskip("sklearn")
    centres = np.repeat(10 * np.eye(4, 12), 15, axis=0)
    table = centres + 0.1 * rng.standard_normal((60, 12))
    points = t_sne(table, seed=3)
    assert points.shape == (60, 2)
    assert (points == t_sne(table, seed=3)).all()
    far = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = np.repeat(np.arange(4), 15)[:, None] == np.repeat(np.arange(4), 15)
    assert far[same].max() < far[~same].min()
    assert (t_sne(np.ones((5, 3))) == 0).all()


def test_t_sne_errors(rng, monkeypatch):
    with pytest.raises(ValueError, match="t-SNE: 3 words, expected at least 4"):
        t_sne(rng.standard_normal((3, 5)))
    with pytest.raises(ValueError, match="perplexity is 7, expected above 0 and below 7"):
        t_sne(rng.standard_normal((7, 5)), perplexity=7)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(ImportError, match=r't-SNE needs scikit-learn: pip install "dlkit\[cli\]"'):
        t_sne(rng.standard_normal((7, 5)))


def test_map_has_the_nearest_of_all_words(wv):
    found = wv.map(topn=3, neighbours=2)
    assert found.words == WORDS[:3]
    assert found.method == "pca"
    assert found.asked == len(found) == 3
    assert found.counts.tolist() == [7, 6, 5]
    assert list(found.known[:3]) == found.words
    unit = wv.vectors.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for word, places, cosines in zip(found.words, found.neighbours, found.cosines, strict=True):
        expected = wv.most_similar(word, topn=2)
        assert [found.known[place] for place in places] == [other for other, _ in expected]
        for values in (cosines, [cosine for _, cosine in expected]):
            for other, value in zip(places, values, strict=True):
                terms = unit[WORDS.index(word)] * unit[WORDS.index(found.known[other])]
                assert abs(value - terms.sum()) <= ROUNDINGS * 2**-24 * abs(terms).sum()
    table = wv.get_normed_vectors()[:3]
    np.testing.assert_allclose(found.points, principal_components(table)[0], atol=1e-12)
    assert "principal components with 100% of the variance" in found.how


def test_map_of_some_words_and_what_is_near(wv):
    found = wv.map(["pear", "king", "pear"], near=2)
    assert found.words[:2] == ["pear", "king"]
    assert found.asked == 2
    around = {other for word in ("pear", "king") for other, _ in wv.most_similar(word, topn=2)}
    assert set(found.words) == {"pear", "king"} | around
    assert wv.map("king").words == ["king"]
    assert len(wv.map(topn=100)) == 7
    assert wv.map(WORDS, method="tsne", neighbours=0).how == "t-SNE"


def test_many_words_are_laid_out_by_t_sne_where_it_is_there(rng, monkeypatch):
    pytest.importorskip("sklearn")
    many = KeyedVectors([f"w{i}" for i in range(60)], rng.standard_normal((60, 5)))
    assert many.map().method == "tsne"
    assert many.map(topn=49).method == "pca"
    monkeypatch.setattr("dlkit.models.embedding_map.find_spec", lambda name: None)
    assert many.map().method == "pca"


def test_map_of_one_word_and_of_zeros():
    alone = KeyedVectors(["a"], [[1.0, 2.0]]).map()
    assert alone.points.tolist() == [[0, 0]]
    assert alone.neighbours.shape == (1, 0)
    some = KeyedVectors(["a", "b", "c"], [[0.0, 0.0], [1.0, 0.0], [1.0, 0.1]]).map()
    assert (some.neighbours[0] == -1).all()
    assert some.known[some.neighbours[1, 0]] == "c"


def test_map_errors(wv):
    with pytest.raises(UnknownWordError, match="did you mean 'apple'"):
        wv.map(["aple"])
    with pytest.raises(ValueError, match="method is 'umap', expected one of auto, pca, tsne"):
        wv.map(method="umap")
    with pytest.raises(ValueError, match="words is empty"):
        wv.map([])
    for name, value in (("topn", 0), ("near", -1), ("neighbours", True), ("topn", 2.5)):
        with pytest.raises(ValueError, match=f"{name} is {value!r}"):
            wv.map(**{name: value})
    with pytest.raises(ValueError, match="t-SNE: 2 words, expected at least 4"):
        wv.map(["king", "queen"], method="tsne")
