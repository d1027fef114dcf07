"""Batches of a task whose samples are drawn as they are needed: no sample is seen twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import DataError


class DrawnTask(Protocol):
    """What `DrawnBatches` draws from, such as `AddingProblem`."""

    def draw(self, samples: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """Draw samples."""

    def state_dict(self) -> dict[str, Any]:
        """What tells whether it is the same task."""


class DrawnBatches:
    """Batches of new samples of a task; each pass of a ``for`` loop is one epoch and yields ``(x, y)``.

    Each batch is drawn from the counter-based generator Philox with the seed and the batch's number as its key: it
    depends on nothing else, so that any epoch can be entered in the middle. `state_dict` and `load_state_dict` are
    those of `Batches`.

    Parameters
    ----------
    task
        Has ``draw(samples, rng)`` and ``state_dict()``.
    batch_size
        Samples of a batch.
    batches
        Batches of an epoch.
    seed
        Of the drawing, 0 … 2**63 - 1.

    Raises
    ------
    DataError
        A setting is out of range.
    """

    def __init__(self, task: DrawnTask, batch_size: int = 64, batches: int = 100, seed: int = 0) -> None:
        given: tuple[tuple[str, Any, int], ...] = (
            ("batch_size", batch_size, 1),
            ("batches", batches, 1),
            ("seed", seed, 0),
        )
        for name, value, at_least in given:
            if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
                raise DataError(
                    f"DrawnBatches: {name} is {value!r}, expected an integer of at least {at_least}"
                )
        if seed >= 2**63:
            raise DataError(f"DrawnBatches: seed is {seed!r}, expected an integer below 2**63")
        self.task, self.batch_size, self.batches, self.seed = task, int(batch_size), int(batches), int(seed)
        self._epoch = self._position = self._resume_at = 0

    @property
    def samples(self) -> int:
        """Samples handed out per epoch."""
        return self.batch_size * self.batches

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.batches

    def held_out(self, samples: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Draw samples that no epoch hands out, to evaluate on; the same for every seed of training."""
        return self.task.draw(samples, _generator(2**63, 0))

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""
        start, self._resume_at = self._resume_at, 0
        for number in range(start, self.batches):
            self._position = number + 1
            rng = _generator(self.seed, self._epoch * self.batches + number)
            yield self.task.draw(self.batch_size, rng)
        self._epoch += 1
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the data stands, and what tells whether it is the same data."""
        return {"epoch": self._epoch, "position": self._position, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises
        ------
        DataError
            It was taken from another task or with other settings.
        """
        identity = self._identity()
        if missing := sorted({"epoch", "position", *identity} - set(state)):
            raise DataError(f"DrawnBatches: the state lacks {', '.join(missing)}")
        for name, mine in identity.items():
            if state[name] != mine:
                raise DataError(
                    f"DrawnBatches: the state belongs to other data: {name} is {mine!r} here but {state[name]!r} "
                    f"in the state"
                )
        epoch, position = int(state["epoch"]), int(state["position"])
        if epoch < 0 or not 0 <= position <= self.batches:
            raise DataError(f"DrawnBatches: state is epoch {epoch}, batch {position} of {self.batches}")
        self._epoch, self._position, self._resume_at = epoch, position, position

    def _identity(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "batches": self.batches,
            "seed": self.seed,
            **self.task.state_dict(),
        }


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))
