from __future__ import annotations

import numpy as np
import pytest

from dlkit import autograd
from dlkit.recipes.losses import QuadraticCost


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cost_and_gradient_by_the_formula(smoothing):
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    logits = autograd.Tensor(z, requires_grad=True)
    cost = QuadraticCost(smoothing)(logits, labels)
    cost.backward()
    s, target = 1 / (1 + np.exp(-z)), (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    assert cost.item() == pytest.approx(0.5 * ((s - target) ** 2).sum() / 5, rel=1e-12)
    np.testing.assert_allclose(logits.grad.data, (s - target) * s * (1 - s) / 5, rtol=1e-9, atol=1e-12)
