"""The models on an emulated GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.models import Perceptron, SoftmaxRegression, perceptron_loss


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_perceptron_learns_the_same(
    simt: Any, rng: np.random.Generator, averaged: bool, outputs: int
) -> None:
    x = rng.normal(size=(70, 4)).astype(np.float32)
    y = rng.integers(0, max(outputs, 2), 70)
    models, scores = [], []
    for device in ("cpu", "simt"):
        model = Perceptron(4, outputs, averaged).to(device)
        scores.append(model.learn(x, y))
        model.learn(dl.tensor(x, device=device), dl.tensor(y, device=device), lr=0.5)
        models.append(model.eval())
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-3, atol=1e-4)
    for name, array in models[0].state_dict().items():
        np.testing.assert_allclose(models[1].state_dict()[name].get(), array, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(models[1].predict(x), models[0].predict(x))
    losses = [
        perceptron_loss(model(dl.tensor(x, device=device)), dl.tensor(y, device=device)).item()
        for model, device in zip(models, ("cpu", "simt"), strict=True)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_softmax_regression(simt: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 4)).astype(np.float32)
    model = SoftmaxRegression(4, 3)
    model.weight.data[...] = rng.normal(size=(3, 4))
    expected = model.predict_proba(x)
    np.testing.assert_allclose(model.to("simt").predict_proba(x), expected, rtol=1e-5)
