"""Optimizers on an emulated GPU: the steps of the CPU, and state that follows the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl

OPTIMIZERS = {
    "Adam": lambda p: dl.optim.Adam(p, lr=0.1, weight_decay=0.01),
    "AdamW": lambda p: dl.optim.AdamW(p, lr=0.1),
    "SGD": lambda p: dl.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: dl.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "maximize": lambda p: dl.optim.Adam(p, lr=0.1, maximize=True),
}


def _train(device: str, make: Any, moves: dict[int, str], before: bool = False) -> tuple[Any, Any]:
    """Six steps of a small model; `moves` says before which step it goes to another device."""
    dl.manual_seed(3)
    rng = np.random.default_rng(4)
    model = dl.models.MLP(5, (6,), 3)
    if not before:
        model.to(device)
    optimizer = make(list(model.parameters()))
    model.to(device)
    for step in range(6):
        if step in moves:
            device = moves[step]
            model.to(device)
        x = dl.tensor(rng.normal(size=(4, 5)).astype(np.float32), device=device)
        loss = dl.nn.functional.cross_entropy(model(x), dl.tensor(rng.integers(0, 3, 4), device=device))
        optimizer.zero_grad(set_to_none=step % 2 == 0)
        loss.backward()
        optimizer.step()
    return model, optimizer


def _close(model: Any, expected: Any) -> None:
    for got, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(got.cpu().detach().numpy(), wanted.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("before", [False, True], ids=["made after .to", "made before .to"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_steps(simt: Any, name: str, before: bool) -> None:
    expected, _ = _train("cpu", OPTIMIZERS[name], {})
    model, optimizer = _train("simt", OPTIMIZERS[name], {}, before)
    _close(model, expected)
    for entry in optimizer.state.values():
        assert {type(value) for value in entry.values()} <= {int, simt.SimtArray}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_follows_the_parameters(simt: Any, name: str) -> None:
    expected, _ = _train("cpu", OPTIMIZERS[name], {})
    _close(_train("cpu", OPTIMIZERS[name], {2: "simt", 4: "cpu", 5: "simt"})[0], expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("source", "target"), [("cpu", "simt"), ("simt", "cpu"), ("simt", "simt")])
def test_state_is_loaded_onto_the_device_of_the_parameters(
    simt: Any, name: str, source: str, target: str
) -> None:
    _, first = _train(source, OPTIMIZERS[name], {})
    model, second = _train(target, OPTIMIZERS[name], {})
    second.load_state_dict(first.state_dict())
    for parameter, entry in second.state.items():
        for value in entry.values():
            assert isinstance(value, int) or dl.Tensor(value).device == parameter.device == target
    model.zero_grad()
    for parameter in model.parameters():
        parameter.grad = dl.ones_like(parameter)
    second.step()
