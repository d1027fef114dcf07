"""Fixtures of the optim room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl

SHAPES: list[tuple[int, ...]] = [(3, 4), (5,), (), (0, 3), (2, 3, 2), (70, 33)]


class Course:
    """Some steps with the same gradients: in dlkit, in PyTorch, in a textbook."""

    def __init__(self, rng: np.random.Generator, steps: int = 25) -> None:
        self.starts = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]
        self.gradients = [
            [np.asarray(rng.standard_normal(shape) * scale) for shape in SHAPES]
            for scale in np.exp(rng.uniform(-3, 2, steps))
        ]

    def tensors(self, dtype: Any) -> list[dl.Tensor]:
        return [dl.tensor(start.astype(dtype), requires_grad=True) for start in self.starts]

    def ours(self, make: Any, dtype: Any) -> tuple[list[Any], Any]:
        tensors = self.tensors(dtype)
        optimizer = make(tensors)
        for gradients in self.gradients:
            for tensor, gradient in zip(tensors, gradients, strict=True):
                tensor.grad = gradient.astype(dtype)
            optimizer.step()
        return [tensor.data for tensor in tensors], optimizer

    def torchs(self, make: Any, torch: Any, dtype: Any) -> tuple[list[Any], Any]:
        tensors = [torch.nn.Parameter(torch.tensor(start.astype(dtype))) for start in self.starts]
        optimizer = make(tensors)
        for gradients in self.gradients:
            for tensor, gradient in zip(tensors, gradients, strict=True):
                tensor.grad = torch.tensor(gradient.astype(dtype))
            optimizer.step()
        return [tensor.detach().numpy() for tensor in tensors], optimizer

    def textbook(self, update: Any) -> list[Any]:
        """`update(p, g, state, t)` gives the new p, of arrays of float64."""
        values = [start.copy() for start in self.starts]
        states: list[dict[str, Any]] = [{} for _ in values]
        for t, gradients in enumerate(self.gradients, 1):
            values = [update(p, g, s, t) for p, g, s in zip(values, gradients, states, strict=True)]
        return values


@pytest.fixture
def course(rng: np.random.Generator) -> Course:
    return Course(rng)


def close(got: list[Any], expected: list[Any], tolerance: float) -> None:
    """Of each array, the distance against the norm, or that of what it began with: its elements were of about 1."""
    for a, b in zip(got, expected, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        assert np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(b), np.sqrt(b.size))


@pytest.fixture(name="close")
def _close() -> Any:
    return close
