"""The recurrent language model."""

from __future__ import annotations

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
    with pytest.raises(ValueError, match="at least two tokens"):
        model.surprises(np.array([1]))


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
