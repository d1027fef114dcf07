"""A moving average of the weights, which takes their place at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dlkit.autograd.base import mark_changed
from dlkit.kernels.backend import device_of, move

from .callback import Callback
from .checks import integer

if TYPE_CHECKING:
    from .trainer import Trainer


class AverageWeights(Callback):
    """Keep an exponential moving average of weights and buffers, and end with it.

    Steps jump about the minimum that they are near; their mean is nearer (Polyak & Juditsky, SIAM J. Control Optim. 30,
    1992). Training itself, and what is measured after each epoch, goes on with the weights as they are. Buffers such as
    the statistics of batch normalisation are averaged alike; integers are taken as they are.

    Parameters
    ----------
    decay
        Share of the average that is left after an update of the weights; between 0 and 1. 0.999 remembers about a
        thousand updates. The n-th addition keeps n / (n + 9) of the average at most, so that the start is soon
        forgotten.
    every
        Updates from one addition to the next; `decay` is then to this power. An addition costs three passes over the
        weights.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(self, decay: float = 0.999, every: int = 8) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"AverageWeights: decay is {decay!r}, expected a number between 0 and 1")
        self.decay = float(decay)
        self.every = integer("AverageWeights", "every", every, 1)
        self._averages: dict[str, Any] = {}
        self._additions = 0

    def on_batch_end(self, trainer: Trainer) -> None:
        """Add the weights, every so many updates."""
        if trainer.step % self.every:
            return
        self._additions += 1
        # A memory that grows with the run, to a tenth of it: a short run is not held back by where it began.
        keep = min(self.decay**self.every, self._additions / (self._additions + 9))
        for name, array in trainer.model.state_dict().items():
            average = self._averages.get(name)
            if average is None or array.dtype.kind != "f":
                self._averages[name] = array.copy()
                continue
            average *= keep
            average += array * array.dtype.type(1 - keep)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Put the average in the place of the weights."""
        for name, tensor in trainer.model._state():
            if name in self._averages:
                tensor._array[...] = self._averages[name]
                mark_changed(tensor)

    def state_dict(self) -> dict[str, Any]:
        """The average so far."""
        return {"additions": self._additions, "averages": dict(self._averages)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from it."""
        self._additions = int(state["additions"])
        self._averages = dict(state["averages"])

    def on_fit_start(self, trainer: Trainer) -> None:
        """Bring what a checkpoint held to the device of the weights."""
        for name, array in trainer.model.state_dict().items():
            if name in self._averages:
                self._averages[name] = move(self._averages[name], device_of(array))
