"""The recurrent language model."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn, optim
from dlkit.models import RecurrentLanguageModel
from dlkit.models.language_model import count_weights


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru", "coupled_lstm"])
def test_surprises_are_the_logits_of_one_pass(rng, cell):
    model = RecurrentLanguageModel(11, 6, 8, 2, cell, dropout=0.4)
    tokens = rng.integers(0, 11, 23)
    model.eval()
    with dl.no_grad():
        logits, _ = model(tokens[:-1, None])
    logs = nn.functional.log_softmax(logits, 1).numpy()
    expected = -logs[np.arange(22), tokens[1:]]
    model.train()
    for steps in (1, 5, 100):
        np.testing.assert_allclose(model.surprises(tokens, steps), expected, rtol=1e-5)
    assert model.training


def test_it_learns_a_sequence_by_heart():
    dl.manual_seed(0)
    tokens = np.array([0, 3, 1, 4, 1, 5, 2, 6] * 4)
    model = RecurrentLanguageModel(7, 12, 24, 1, "gru")
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        logits, _ = model(tokens[:-1, None])
        loss = nn.functional.cross_entropy(logits, tokens[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.surprises(tokens)[1:].max() < 0.5
    assert model.sample(tokens[:2], 6, temperature=0).tolist() == tokens[2:8].tolist()


def test_tied_weights_are_one_parameter_and_learn_from_both_ends(rng):
    model = RecurrentLanguageModel(9, 5, 5, 1, "tanh", tied=True)
    assert model.output.weight is model.embedding.weight
    assert sum(p is model.embedding.weight for p in model.parameters()) == 1
    tokens = rng.integers(0, 9, 12)
    logits, _ = model(tokens[:-1, None])
    nn.functional.cross_entropy(logits, tokens[1:]).backward()
    assert (np.abs(model.embedding.weight.grad.numpy()).sum(axis=1) > 0).all()
    with pytest.raises(ValueError, match="tied is set but dimensions is 4 and hidden 5"):
        RecurrentLanguageModel(9, 4, 5, tied=True)


def test_samples(rng):
    model = RecurrentLanguageModel(6, 4, 4, 1, "lstm")
    start = np.array([0, 1])
    a = model.sample(start, 50, rng=np.random.default_rng(1), forbidden=(2, 3))
    b = model.sample(start, 50, rng=np.random.default_rng(1), forbidden=(2, 3))
    np.testing.assert_array_equal(a, b)
    assert set(a.tolist()) <= {0, 1, 4, 5}
    assert len(model.sample(start, 0)) == 0
    for arguments, message in (((np.array([], int), 3), "start"), ((start, -1), "count")):
        with pytest.raises(ValueError, match=message):
            model.sample(*arguments)
    with pytest.raises(ValueError, match="temperature"):
        model.sample(start, 3, temperature=-1)
    with pytest.raises(ValueError, match="at least 2 tokens"):
        model.surprises(np.array([1]))


def test_tokens_may_be_a_list_or_a_tensor(rng):
    model = RecurrentLanguageModel(6, 4, 4, 1, "gru")
    tokens = rng.integers(0, 6, 9)
    expected = model.surprises(tokens)
    drawn = model.sample(tokens, 5, temperature=0)
    for same in (tokens.tolist(), dl.tensor(tokens), tokens.astype(np.uint8)):
        np.testing.assert_array_equal(model.surprises(same), expected)
        np.testing.assert_array_equal(model.sample(same, 5, temperature=0), drawn)


def test_bad_input():
    model = RecurrentLanguageModel(6, 4, 4, 1, "gru")
    for call, kind, message in (
        (lambda: model(np.array([1])), ValueError, r"x is \(1,\); expected \(T, B\)"),
        (lambda: model(np.zeros((0, 2), int)), ValueError, r"x is \(0, 2\); expected \(T, B\)"),
        (lambda: model.surprises([1]), ValueError, r"tokens is \(1,\); expected .* at least 2 tokens"),
        (lambda: model.surprises([1.0, 2.0]), TypeError, "tokens has dtype float.*; expected integers"),
        (lambda: model.surprises([1, 2], steps=0), ValueError, "surprises: steps is 0; expected at least 1"),
        (lambda: model.surprises([1, 2], steps=-1), ValueError, "surprises: steps is -1"),
        (lambda: model.surprises([1, 2], steps=1.5), TypeError, "surprises: steps is a float"),
        (lambda: model.sample([], 2), ValueError, r"start is \(0,\)"),
        (lambda: model.sample([1], 2.5), TypeError, "sample: count is a float; expected an integer"),
        (lambda: model.sample([1], 2, forbidden=tuple(range(6))), ValueError, "the 6 forbidden tokens"),
        (lambda: model.sample([1], 2, temperature=0, forbidden=tuple(range(6))), ValueError, "forbidden"),
        (lambda: RecurrentLanguageModel(6, layers=1, dropout=1.0), ValueError, "dropout is 1.0"),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_dropout_of_one_layer_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = RecurrentLanguageModel(6, 4, 4, layers=1, dropout=0.5)
    assert model.dropout.p == 0.5


SOFTMAXES = [{"softmax": "adaptive", "cutoffs": (5, 12)}, {"softmax": "sampled", "samples": 6}]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("softmax", SOFTMAXES, ids=["adaptive", "sampled"])
def test_softmaxes_for_large_vocabularies(rng, softmax, tied):
    model = RecurrentLanguageModel(20, dimensions=7, hidden=7, layers=1, tied=tied, **softmax)
    assert (getattr(model.output, "weight", None) is model.embedding.weight) == tied
    tokens = rng.integers(0, 20, 31)
    logs, _ = model.eval()(tokens[:-1, None])
    np.testing.assert_allclose(np.exp(logs.numpy()).sum(1), 1, rtol=1e-5)
    expected = -logs.numpy()[np.arange(30), tokens[1:]]
    np.testing.assert_allclose(model.surprises(tokens, steps=7), expected, rtol=1e-4)
    loss, _ = model.loss(tokens[:-1, None], tokens[1:])
    np.testing.assert_allclose(loss.item(), expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("softmax", SOFTMAXES, ids=["adaptive", "sampled"])
def test_they_learn_a_sequence_by_heart(softmax, tied):
    dl.manual_seed(0)
    model = RecurrentLanguageModel(
        20, dimensions=32 if tied else 16, hidden=32, layers=1, tied=tied, **softmax
    )
    tokens = np.tile(np.arange(20), 3)
    optimizer = dl.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        loss, _ = model.loss(tokens[:-1, None], tokens[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert np.exp(model.surprises(tokens).mean()) < 1.5
    np.testing.assert_array_equal(model.sample(tokens[:5], 15, temperature=0), np.arange(5, 20))


def test_softmaxes_that_do_not_fit():
    with pytest.raises(ValueError, match="softmax is 'half'; expected one of"):
        RecurrentLanguageModel(20, softmax="half")


@pytest.mark.parametrize("div_value", [1.0, 1.5, 4.0])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("softmax", ["full", "adaptive", "sampled"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh"])
def test_weights_are_counted_without_making_them(cell, softmax, tied, div_value):
    arguments = {"words": 20, "dimensions": 7, "hidden": 7, "layers": 3, "cell": cell, "cutoffs": (5, 12)}
    arguments |= {"tied": tied, "softmax": softmax, "div_value": div_value}
    model = RecurrentLanguageModel(**arguments)
    held = sum(p.data.size for p in model.parameters() if p.data.ndim > 1)
    assert count_weights(**arguments) == held
