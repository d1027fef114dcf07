from __future__ import annotations

import numpy as np
import pytest

from dlkit.models import MLP, Perceptron
from dlkit.recipes import Committee, Predictor, PredictorError
from dlkit.recipes.card import Card


def member(seed=0, classes=3, features=4):
    arguments = {"in_features": features, "hidden": [], "out_features": classes}
    model = MLP(**arguments)
    generator = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data[...] = generator.standard_normal(parameter.shape)
    return Predictor(model, Card("MLP", arguments, [str(i) for i in range(classes)], features))


def test_probabilities_are_the_mean(rng):
    x = rng.standard_normal((9, 4)).astype(np.float32)
    members = [member(seed) for seed in range(3)]
    expected = np.mean([m.predict(x).probabilities for m in members], axis=0)
    np.testing.assert_allclose(Committee(members).probabilities(x), expected, rtol=1e-6)


def test_members_that_do_not_fit():
    with pytest.raises(PredictorError, match="no members"):
        Committee([])
    with pytest.raises(PredictorError, match="member 2 takes 5 inputs"):
        Committee([member(), member(features=5)])
    with pytest.raises(PredictorError, match="knows 4 classes"):
        Committee([member(), member(classes=4)])
    card = Card("Perceptron", {"in_features": 4, "out_features": 3}, ["0", "1", "2"], 4, probabilities="none")
    with pytest.raises(PredictorError, match="member 2, a Perceptron, has no probabilities"):
        Committee([member(), Predictor(Perceptron(4, 3), card)])
