from __future__ import annotations

import numpy as np
import pytest

from dlkit import nn, optim
from dlkit.recipes import SettingsError, get
from dlkit.recipes.optimizers import make_optimizer, make_schedule


@pytest.mark.parametrize(("name", "kind"), [("sgd", optim.SGD), ("adam", optim.Adam), ("adamw", optim.AdamW)])
def test_optimizer_has_the_settings(name, kind):
    settings = get("mlp").settings(optimizer=name, lr=0.25, weight_decay=0.125)
    optimizer = make_optimizer(settings, nn.Linear(3, 2))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert optimizer.param_groups[0]["weight_decay"] == 0.125


def test_momentum_belongs_to_sgd():
    settings = get("softmax").settings(optimizer="sgd", momentum=0.9, nesterov=True)
    group = make_optimizer(settings, nn.Linear(3, 2)).param_groups[0]
    assert group["momentum"] == 0.9
    assert group["nesterov"]
    with pytest.raises(SettingsError, match=r"momentum is 0\.9 but optimizer is adam"):
        get("softmax").settings(optimizer="adam", momentum=0.9)
    with pytest.raises(SettingsError, match="nesterov is set but momentum is 0"):
        get("softmax").settings(optimizer="sgd", nesterov=True)


def test_cosine_schedule_falls_to_zero():
    settings = get("mlp").settings(schedule="cosine", lr=0.5, optimizer="sgd")
    layer = nn.Linear(2, 1)
    optimizer = make_optimizer(settings, layer)
    schedule = make_schedule(settings, optimizer, updates=10)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        for parameter in layer.parameters():
            parameter.grad = None
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(rates, 0.25 * (1 + np.cos(np.pi * np.arange(10) / 10)), rtol=1e-6)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_constant_rate_needs_no_schedule():
    settings = get("mlp").settings(schedule="constant")
    assert make_schedule(settings, make_optimizer(settings, nn.Linear(2, 1)), 10) is None


def test_epochs_may_change_unless_the_schedule_depends_on_them():
    assert "epochs" in get("mlp").settings(schedule="constant").may_change
    assert "epochs" not in get("mlp").settings(schedule="cosine").may_change
