"""Pairs of words and correlations: against gensim and SciPy where they are installed."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.models import KeyedVectors
from dlkit.models.word_pairs import _p_value, _pearson, _ranks

WORDS = [f"w{i}" for i in range(200)] + ["W3", "The", "the"]


def test_pairs(tmp_path, rng):
    gensim = pytest.importorskip("gensim.models")
    table = rng.standard_normal((len(WORDS), 12)).astype(np.float32)
    vectors, theirs = KeyedVectors(WORDS, table), gensim.KeyedVectors(12)
    theirs.add_vectors(WORDS, table)
    # Pairs of which none is there twice, nor one of a word and itself: rounding would make or break ties.
    drawn = rng.permutation(200)[:160].reshape(2, 80)
    lines = [f"w{a}\tw{b}\t{s:.1f}" for a, b, s in zip(*drawn, rng.uniform(0, 9, 80), strict=True)]
    lines += ["# a comment", "the\tunknown\t1.0", "no pair", "The\tw1\tmuch", "W3\tthe\t2.5"]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    for options in ({}, {"dummy4unknown": True}, {"case_insensitive": False}, {"restrict_vocab": 90}):
        ours = vectors.evaluate_word_pairs(tmp_path / "pairs.tsv", **options)
        others = theirs.evaluate_word_pairs(str(tmp_path / "pairs.tsv"), **options)
        np.testing.assert_allclose(ours[0], others[0], atol=1e-5)
        np.testing.assert_allclose(ours[1], others[1], atol=1e-5)
        assert ours[2] == pytest.approx(others[2])


def test_correlation(rng):
    stats = pytest.importorskip("scipy.stats")
    for n in (3, 4, 5, 20, 353, 2000):
        x = rng.integers(0, 8, n).astype(float) + np.arange(n) * 1e-3
        for noise in (0.01, 3.0, 100.0):
            y = np.round(x + noise * rng.standard_normal(n), 1)
            for ours, theirs in (
                (_pearson(x, y), stats.pearsonr(x, y)),
                (_pearson(_ranks(x), _ranks(y)), stats.spearmanr(x, y)),
            ):
                assert ours.statistic == pytest.approx(theirs.statistic, abs=1e-12)
                # Of n = 3 the probability is about the root of 1 - r, which is rounding where r is 1.
                assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-7 if n < 6 else 1e-100)
    assert _p_value(0.0, 10) == pytest.approx(1)
    assert _p_value(1.0, 10) == 0
    assert np.isnan(_pearson(np.ones(5), np.arange(5.0)).statistic)
    np.testing.assert_array_equal(_ranks(np.array([3.0, 1, 3, 7])), [2.5, 1, 2.5, 4])
