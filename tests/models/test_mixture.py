"""Two language models as one."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.models import FeedForwardLanguageModel, MixtureLanguageModel, NGramModel
from dlkit.models.mixture import mixed_log_probs, mixture_weight

WORDS = ["<eos>", "the", "cat", "dog", "sat", "<unk>"]
LINES = ["the cat sat", "the dog sat", "", "a cat", "the cat"]


def mixture(weight=0.3, **settings):
    dl.manual_seed(0)
    network = FeedForwardLanguageModel(6, order=4, dimensions=5, hidden=7, spread=0.8, **settings)
    known = [" ".join(w if w in WORDS else "<unk>" for w in line.split()) for line in LINES]
    return MixtureLanguageModel(network, NGramModel(3, keep_empty=True).fit(known), WORDS, weight)


def test_the_weight_is_the_best_of_a_grid(rng):
    first, second = np.log(rng.uniform(1e-6, 1, (2, 400)))
    weight = mixture_weight(first, second)
    grid = np.linspace(0, 1, 2001)
    values = [mixed_log_probs(first, second, w).mean() for w in grid]
    assert abs(weight - grid[int(np.argmax(values))]) < 1e-3
    assert mixed_log_probs(first, second, weight).mean() >= max(values)
    assert mixture_weight(second, first) == pytest.approx(1 - weight, abs=1e-12)


def test_a_model_that_is_always_better_gets_all():
    first = np.log([0.5, 0.9, 0.2])
    assert mixture_weight(first, first - 1) == 1
    assert mixture_weight(first - 1, first) == 0
    assert mixture_weight(first, first) == 0.5


def test_words_that_one_model_holds_for_impossible():
    first, second = np.log([0.5, 0.5, 0.1]), np.array([np.log(0.1), -np.inf, np.log(0.9)])
    weight = mixture_weight(first, second)
    assert 0 < weight < 1
    assert np.isfinite(mixed_log_probs(first, second, weight)).all()
    assert mixed_log_probs(first, second, 0.0)[1] == -np.inf
    np.testing.assert_allclose(mixed_log_probs(first, second, 1.0), first)
    with pytest.raises(ValueError, match="1 of them impossible to both"):
        mixture_weight([-1.0, -np.inf], [-2.0, -np.inf])


def test_tiny_probabilities_do_not_vanish():
    found = mixed_log_probs([-900.0], [-905.0], 0.5)
    np.testing.assert_allclose(found, np.logaddexp(-900, -905) - np.log(2))
    assert mixture_weight([-900.0, -2.0], [-905.0, -1.0]) == pytest.approx(
        mixture_weight([0.0, -2.0], [-5.0, -1.0])
    )


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match=r"first is \(2,\) and second \(1,\)"):
        mixture_weight([-1.0, -1.0], [-1.0])
    with pytest.raises(ValueError, match="0 words"):
        mixture_weight([], [])
    with pytest.raises(ValueError, match=r"weight is 1\.5; expected 0 to 1"):
        mixed_log_probs([-1.0], [-1.0], 1.5)
    with pytest.raises(ValueError, match="weight is -1"):
        mixture(-1)
    with pytest.raises(ValueError, match="weight is nan"):
        mixture(float("nan"))
    model = mixture()
    with pytest.raises(ValueError, match="2 words; expected 6"):
        MixtureLanguageModel(model.network, model.ngrams, ["a", "b"], 0.5)
    with pytest.raises(ValueError, match="keep_empty=True"):
        MixtureLanguageModel(model.network, NGramModel(2).fit(LINES), WORDS, 0.5)
    with pytest.raises(ValueError, match="an end of a line"):
        model.surprises(np.array([1, 2]))


def test_probabilities_are_the_weighted_sum():
    model = mixture()
    for text in ([0], [0, 1], [0, 1, 2, 4, 0], [0, 1, 3], [0, 5, 2]):
        tokens = np.array(text)
        of_network = np.exp(model.network.log_probs_after(tokens))
        line = text[len(text) - text[::-1].index(0) :]
        of_ngrams = model.ngrams.probabilities([WORDS[i] for i in line])
        names = ["</s>" if word == "<eos>" else word for word in WORDS]
        expected = 0.3 * of_network + 0.7 * of_ngrams[[model.ngrams.words.index(name) for name in names]]
        found = np.exp(model.log_probs_after(tokens))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert found.sum() == pytest.approx(1, rel=1e-6)


def test_surprises_are_those_of_one_word_after_the_other():
    model = mixture()
    text = np.array([0, 1, 2, 4, 0, 0, 5, 2, 0, 1])  # an empty line within, and a stop within a line
    expected = [-model.log_probs_after(text[: i + 1])[text[i + 1]] for i in range(len(text) - 1)]
    np.testing.assert_allclose(model.surprises(text), expected, rtol=1e-6)
    assert model.sentences(text[1:]) == [["the", "cat", "sat"], [], ["<unk>", "cat"], ["the"]]


def test_samples():
    model = mixture()
    a, b = (model.sample(np.array([0]), 30, rng=np.random.default_rng(1), forbidden=(5,)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert 5 not in a
    alone = mixture(1.0)
    np.testing.assert_array_equal(
        alone.sample(np.array([0, 1]), 8, temperature=0),
        alone.network.sample(np.array([0, 1]), 8, temperature=0),
    )
