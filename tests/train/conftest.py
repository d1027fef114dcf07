"""A small task that every test of this room can train on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.data import Batches
from dlkit.train import Trainer


@pytest.fixture(scope="session")
def points() -> tuple[np.ndarray, np.ndarray]:
    """300 points of three classes in eight dimensions that a small network tells apart."""
    random = np.random.default_rng(0)
    y = np.arange(300) % 3
    centres = random.normal(size=(3, 8))
    return (centres[y] + 0.6 * random.normal(size=(300, 8))).astype(np.float32), y


@pytest.fixture(autouse=True)
def _same_numbers_in_every_test() -> None:
    dl.manual_seed(0)


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """A trainer of a network with dropout, made from a seed."""

    def make(
        seed: int = 0, optimizer: str = "adam", loss: Any = None, dropout: float = 0.3, **options: Any
    ) -> Trainer:
        dl.manual_seed(seed)
        model = dl.models.MLP(8, hidden=(16,), out_features=3, dropout=dropout)
        if optimizer == "sgd":
            update = dl.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        else:
            update = dl.optim.Adam(model.parameters(), lr=0.01)
        scheduler = options.pop("scheduler", None)
        if scheduler is not None:
            options["scheduler"] = scheduler(update)
        return Trainer(model, update, loss or dl.nn.CrossEntropyLoss(), **{"progress": False, **options})

    return make


@pytest.fixture
def make_batches(points) -> Callable[..., Batches]:
    """Shuffled batches of the points: 10 in an epoch, the last one shorter."""

    def make(**options: Any) -> Batches:
        return Batches(*points, **{"batch_size": 32, "seed": 5, **options})

    return make


@pytest.fixture
def weights() -> Callable[[Trainer], dict[str, bytes]]:
    """All bits of a trainer's model."""

    def get(trainer: Trainer) -> dict[str, bytes]:
        return {name: parameter.data.tobytes() for name, parameter in trainer.model.named_parameters()}

    return get
