"""Adadelta: against the textbook in float64 and against PyTorch, over many steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.optim import Adadelta

_SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"rho": 0.95},
    {"rho": 0.0},
    {"eps": 1e-3, "lr": 0.5},
    {"maximize": True, "weight_decay": 0.1},
]
settings = pytest.mark.parametrize("options", _SETTINGS, ids=str)


def textbook(options: dict[str, Any]) -> Any:
    """Zeiler, 2012, algorithm 1, its change times lr."""
    lr, rho = options.get("lr", 1.0), options.get("rho", 0.9)
    eps, decay = options.get("eps", 1e-6), options.get("weight_decay", 0.0)

    def update(p: Any, g: Any, state: dict[str, Any], t: int) -> Any:
        g = (-g if options.get("maximize") else g) + decay * p
        s = state["s"] = rho * state.get("s", 0) + (1 - rho) * g**2
        u = state.get("u", 0 * p)
        change = np.sqrt(u + eps) / np.sqrt(s + eps) * g
        state["u"] = rho * u + (1 - rho) * change**2
        return p - lr * change

    return update


@settings
def test_against_the_textbook(options: Any, dtype: Any, course: Any, close: Any) -> None:
    values, _ = course.ours(lambda p: Adadelta(p, **options), dtype)
    assert all(value.dtype == dtype for value in values)
    close(values, course.textbook(textbook(options)), 3e-6 if dtype is np.float32 else 1e-13)


@settings
def test_against_pytorch(options: Any, dtype: Any, course: Any, close: Any, torch: Any) -> None:
    values, optimizer = course.ours(lambda p: Adadelta(p, **options), dtype)
    theirs, other = course.torchs(lambda p: torch.optim.Adadelta(p, **options), torch, dtype)
    close(values, theirs, 3e-6 if dtype is np.float32 else 1e-13)
    mine, saved = optimizer.state_dict()["state"], other.state_dict()["state"]
    assert {key: set(entry) for key, entry in mine.items()} == {k: set(entry) for k, entry in saved.items()}
    optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["rho"] == options.get("rho", 0.9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"rho": 1.5}, "rho is 1.5; expected a number from 0 to 1"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
    ],
)
def test_wrong_settings(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"Adadelta: {text}"):
        Adadelta([dl.zeros(2, requires_grad=True)], **options)


def test_parameters_without_a_gradient_stay() -> None:
    still, moved = dl.ones(3, requires_grad=True), dl.ones(3, requires_grad=True)
    optimizer = Adadelta([still, moved])
    (moved * moved).sum().backward()
    optimizer.step()
    assert (still.numpy() == 1).all()
    assert (moved.numpy() < 1).all()
    assert still not in optimizer.state
