from __future__ import annotations

import numpy as np
import pytest

from dlkit import autograd
from dlkit.recipes.losses import QuadraticCost


def test_cost_and_gradient_by_the_formula():
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    logits = autograd.Tensor(z, requires_grad=True)
    cost = QuadraticCost()(logits, labels)
    cost.backward()
    s, target = 1 / (1 + np.exp(-z)), np.eye(3)[labels]
    assert cost.item() == pytest.approx(0.5 * ((s - target) ** 2).sum() / 5, rel=1e-12)
    np.testing.assert_allclose(logits.grad.data, (s - target) * s * (1 - s) / 5, rtol=1e-9, atol=1e-12)
