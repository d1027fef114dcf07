"""A small convolutional network on an emulated GPU: the numbers of the CPU, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlkit as dl
from dlkit import nn
from dlkit.kernels.backend import to_host

F = nn.functional


def _train(device: str, x: Any, labels: Any) -> tuple[list[float], dict[str, Any]]:
    dl.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
    ).to(device)  # fmt: skip
    optimizer = dl.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(model(dl.tensor(x, device=device)), dl.tensor(labels, device=device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: to_host(value) for name, value in model.state_dict().items()}


def test_steps_are_those_of_the_cpu(simt: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 1, 9, 9)).astype(np.float32)
    labels = rng.integers(0, 5, 3)
    expected, weights = _train("cpu", x, labels)
    losses, found = _train("simt", x, labels)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for name, value in weights.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_text(simt: Any, rng: np.random.Generator) -> None:
    """Convolution over words, in one dimension."""
    layer = nn.Conv1d(5, 3, 4, padding=2)
    x = rng.standard_normal((2, 5, 9)).astype(np.float32)
    found = []
    for device in ("cpu", "simt"):
        layer.to(device)
        layer.zero_grad()
        words = dl.tensor(x, device=device, requires_grad=True)
        y = F.relu(layer(words))
        (y * y).sum().backward()
        gradients = words.grad, layer.weight.grad, layer.bias.grad
        found.append([array.cpu().numpy() for array in (y.detach(), *gradients)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
