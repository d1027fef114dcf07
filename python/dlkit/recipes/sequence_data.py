"""The tasks of recurrent networks: images read step by step, the adding problem, copying from memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import nn
from dlkit.autograd import Tensor
from dlkit.data import AddingProblem, Batches, CopyMemory, Dataset, DrawnBatches, load

#: Images row by row or pixel by pixel, and what is drawn as it is needed.
TASKS = ("digits-rows", "digits-pixels", "mnist-rows", "mnist-pixels", "adding", "copy")
_HELD_OUT = 1000  # sequences to evaluate on, of those that are drawn


@dataclass(frozen=True)
class Task:
    """What a recurrent network is to learn.

    Attributes
    ----------
    name
        One of `TASKS`.
    steps, inputs, outputs
        Of a sequence; numbers of a step; numbers of an answer.
    every_step
        Whether there is an answer for every step.
    batches
        To train on.
    held_out
        To evaluate on, x and y.
    loss
        Of outputs and labels.
    baseline
        The loss of who remembers nothing, where there is one.
    dataset
        The images, where there are any.
    """

    name: str
    steps: int
    inputs: int
    outputs: int
    every_step: bool
    batches: Any
    held_out: tuple[NDArray[Any], NDArray[Any]]
    loss: Callable[[Tensor, Any], Tensor]
    baseline: float | None = None
    dataset: Dataset | None = None

    @property
    def classifies(self) -> bool:
        """Whether there is an accuracy."""
        return self.dataset is not None

    def sequences(self, count: int) -> NDArray[Any]:
        """Return inputs to look at gradients on, time first, shape (steps, count, inputs)."""
        x = self.held_out[0][:count]
        by_sequence: NDArray[Any] = x.reshape(len(x), self.steps, self.inputs)
        return np.ascontiguousarray(by_sequence.transpose(1, 0, 2))


def load_task(name: str, *, batch_size: int, length: int, batches: int, seed: int) -> Task:
    """Load or make a task.

    Parameters
    ----------
    name
        One of `TASKS`.
    batch_size
        Sequences of a batch.
    length, batches
        Of the drawn tasks: steps (of copying, of the wait), and batches of an epoch.
    seed
        Of the order, or of the drawing.

    Raises
    ------
    dlkit.data.DataError
        A file is missing or damaged.
    """
    if name in ("adding", "copy"):
        adding = name == "adding"
        drawn: Any = AddingProblem(length) if adding else CopyMemory(length)
        made = DrawnBatches(drawn, batch_size, batches, seed)
        return Task(
            name,
            length if adding else drawn.steps,
            2 if adding else drawn.classes,
            1 if adding else drawn.classes - 1,
            not adding,
            made,
            made.held_out(_HELD_OUT),
            nn.MSELoss() if adding else _loss_of_every_step,
            drawn.baseline,
        )
    images, _, how = name.partition("-")
    dataset = load(images)
    inputs = dataset.image_shape[1] if how == "rows" else 1
    return Task(
        name,
        dataset.features // inputs,
        inputs,
        len(dataset.classes),
        False,
        Batches(*dataset.train, batch_size=batch_size, seed=seed),
        dataset.test,
        nn.CrossEntropyLoss(),
        dataset=dataset,
    )


def _loss_of_every_step(outputs: Tensor, labels: Any) -> Tensor:
    return nn.functional.cross_entropy(outputs.reshape(-1, outputs.shape[2]), labels.reshape(-1))
