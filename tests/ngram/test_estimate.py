"""Probabilities of every smoothing against their definitions, and that they are distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ngram_reference import Reference

from dlkit.models import NGramCounts, NGramModel
from dlkit.models.ngram import SMOOTHINGS, tune_k

CAT = [
    line.split() for line in ("the cat is small", "the dog is small", "a cat sat on the dog", "is it the cat")
]


def text_of(rng, words, sentences, longest=9):
    """Sentences with frequent and rare words, so that there are counts of one to many."""
    p = 1 / np.arange(1, words + 1)
    names = np.array([f"w{i}" for i in range(words)])
    return [list(rng.choice(names, rng.integers(1, longest), p=p / p.sum())) for _ in range(sentences)]


def check(model, reference, histories):
    """Every word after each history, by both; and that they sum to one."""
    for history in histories:
        found = model.probabilities(history)
        expected = np.array([0.0 if w == "<s>" else reference.p(w, ["<s>", *history]) for w in model.words])
        assert expected.sum() == pytest.approx(1, abs=1e-9)
        assert found.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-12)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_by_definition(smoothing, order):
    rng = np.random.default_rng(order)
    sentences = text_of(rng, 12, 150)
    model = NGramModel(order, smoothing, k=0.3).fit(sentences)
    reference = Reference(sentences, order, smoothing, k=0.3)
    seen = [sentence[:cut] for sentence in sentences[:12] for cut in range(min(len(sentence), 6))]
    fresh = [[*text_of(rng, 12, 1)[0], "never"] for _ in range(3)] + text_of(rng, 12, 6)
    known = [[w if w in reference.words else "<unk>" for w in history] for history in seen + fresh]
    check(model, reference, known)
    if smoothing in ("kneser-ney", "modified-kneser-ney", "katz"):
        for n, d in enumerate(model.discounts, start=1):
            assert d == pytest.approx(reference.discounts[n])


@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=1, max_size=12),
    st.integers(1, 4),
    st.sampled_from(SMOOTHINGS),
    st.lists(st.sampled_from(["a", "b", "c", "d", "<unk>"]), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_any_text_gives_distributions(sentences, order, smoothing, history):
    """Texts too small for the discounts' formulas among them."""
    model = NGramModel(order, smoothing).fit(sentences)
    reference = Reference(sentences, order, smoothing)
    if not set(history) <= set(reference.words):
        history = [w if w in reference.words else "<unk>" for w in history]
    check(model, reference, [history])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_unknown_is_a_word_where_the_text_has_it(smoothing):
    sentences = [["<unk>", "cat", "sat"], ["the", "<unk>"], ["the", "cat"]]
    model = NGramModel(3, smoothing).fit(sentences)
    check(model, Reference(sentences, 3, smoothing), [[], ["<unk>"], ["the"], ["the", "<unk>"], ["cat"]])


def test_word_order_matters():
    for smoothing in SMOOTHINGS:
        model = NGramModel(3, smoothing, k=0.1).fit(CAT)
        assert model.log_prob("the cat is small") > model.log_prob("small the is cat")


def test_counts():
    counts = NGramCounts(CAT, 3)
    reference = Reference(CAT, 3, "mle")
    assert counts.sentences == 4
    assert counts.tokens == sum(len(s) + 1 for s in CAT)
    for n, size in enumerate(counts.sizes, start=1):
        assert size == len([g for g in reference.raw if len(g) == n]) + (n == 1)  # and <unk>
    for gram, count in reference.raw.items():
        assert counts.count(gram) == count, gram
    assert counts.count("small the") == counts.count("zebra") == 0
    assert counts.words[:3] == ["<unk>", "<s>", "</s>"]
    assert counts.words[3] == "the"


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=7), min_size=1, max_size=9), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_counts_of_any_text(sentences, order):
    if not any(sentences):
        return
    counts = NGramCounts(sentences, order, keep_empty=True)
    reference = Reference(sentences, order, "mle")
    assert all(counts.count(gram) == count for gram, count in reference.raw.items())
    sizes = [len([g for g in reference.raw if len(g) == n]) for n in range(1, order + 1)]
    assert list(counts.sizes)[1:] == sizes[1:]


def test_lower_orders_of_the_same_counts():
    rng = np.random.default_rng(3)
    sentences = text_of(rng, 20, 80)
    counts = NGramCounts(sentences, 5)
    for smoothing in SMOOTHINGS:
        for order in (1, 2, 4):
            one = NGramModel(order, smoothing).fit(counts).log_probs(sentences)
            other = NGramModel(order, smoothing).fit(sentences).log_probs(sentences)
            np.testing.assert_array_equal(one, other)


def test_rare_words_become_unknown():
    model = NGramModel(2, min_count=2).fit(CAT)
    assert "sat" not in model
    assert "cat" in model
    replaced = [[w if w in ("the", "cat", "is", "small", "dog") else "<unk>" for w in s] for s in CAT]
    check(model, Reference(replaced, 2, "modified-kneser-ney"), [[], ["the"], ["<unk>"]])


def test_best_k_is_found():
    rng = np.random.default_rng(0)
    sentences = text_of(rng, 30, 120)
    counts = NGramCounts(sentences[:100], 2)
    k, tried = tune_k(counts, 2, sentences[100:])
    assert min(p for _, p in tried) == dict(tried)[k]
    assert math.isfinite(dict(tried)[k])
    assert len(tried) == 11
    with pytest.raises(ValueError, match="no candidates"):
        tune_k(counts, 2, sentences, [])
