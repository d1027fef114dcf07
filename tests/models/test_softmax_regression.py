from __future__ import annotations

import numpy as np

import dlkit.nn as nn
from dlkit import autograd, optim
from dlkit.models import SoftmaxRegression


def test_starts_at_zero_and_gives_equal_probabilities():
    model = SoftmaxRegression(6, 4)
    assert not model.weight.data.any()
    np.testing.assert_allclose(model.predict_proba(np.ones((3, 6), np.float32)), 0.25)


def test_probabilities_are_the_softmax_of_the_logits():
    rng = np.random.default_rng(0)
    model = SoftmaxRegression(6, 4)
    model.weight.data[...] = rng.standard_normal((4, 6))
    x = rng.standard_normal((5, 6)).astype(np.float32)
    logits = model(autograd.Tensor(x)).data.astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(x), expected, rtol=1e-5)


def test_reaches_the_same_minimum_as_torch(torch):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((60, 3)).astype(np.float32)
    y = rng.integers(0, 3, 60)
    model = SoftmaxRegression(3, 3)
    optimizer = optim.SGD(list(model.parameters()), lr=0.5)
    loss = nn.CrossEntropyLoss()
    theirs = torch.nn.Linear(3, 3)
    torch.nn.init.zeros_(theirs.weight)
    torch.nn.init.zeros_(theirs.bias)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        loss(model(autograd.Tensor(x)), y).backward()
        optimizer.step()
        their_optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        their_optimizer.step()
    np.testing.assert_allclose(model.weight.data, theirs.weight.detach().numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.bias.data, theirs.bias.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_state_dict_opens_in_torch(torch):
    model = SoftmaxRegression(6, 4)
    model.weight.data[...] = np.random.default_rng(2).standard_normal((4, 6))
    theirs = torch.nn.Linear(6, 4)
    theirs.load_state_dict({n: torch.from_numpy(np.array(v.data)) for n, v in model.state_dict().items()})
    x = np.random.default_rng(3).standard_normal((5, 6)).astype(np.float32)
    np.testing.assert_allclose(
        model(autograd.Tensor(x)).data, theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )
