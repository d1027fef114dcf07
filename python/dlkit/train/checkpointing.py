"""When to write checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from .callback import Callback
from .errors import TrainError
from .monitor import Mode, Monitor
from .state import plain

if TYPE_CHECKING:
    from .trainer import Trainer


class Checkpoint(Callback):
    """Write the trainer's state to a file at intervals and at the end, and the best weights if asked.

    Parameters
    ----------
    path
        The checkpoint file; default: that of the trainer's run folder.
    every, unit
        The interval: a number of ``"epoch"``, ``"step"`` (batches) or ``"second"``.
    best
        A key of the epoch records (such as ``"val_loss"``): whenever it improves, the weights alone are
        written to ``best.safetensors`` beside the checkpoint.
    mode
        As for `EarlyStopping`.

    Notes
    -----
    Ctrl-C writes a checkpoint whatever the interval. A run that is killed goes on from the last one, and ends
    with the same bits as if it had not been killed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        every: float = 1,
        unit: Literal["epoch", "step", "second"] = "epoch",
        best: str | None = None,
        mode: Mode = "auto",
    ) -> None:
        if unit not in ("epoch", "step", "second"):
            raise ValueError(f"Checkpoint: unit is {unit!r}, expected 'epoch', 'step' or 'second'")
        if not every > 0 or (unit != "second" and int(every) != every):
            kind = "a positive number" if unit == "second" else "a positive integer"
            raise ValueError(f"Checkpoint: every is {every!r}, expected {kind}")
        self.path = Path(path) if path is not None else None
        self.every = every
        self.unit = unit
        self.best = Monitor("Checkpoint", best, mode) if best is not None else None
        self._last = 0.0

    def file(self, trainer: Trainer) -> Path:
        """Where this callback writes for the given trainer."""
        if self.path is not None:
            return self.path
        if trainer.run is None:
            raise TrainError("Checkpoint: no path and the trainer has no run folder: give one of them")
        return trainer.run.checkpoint

    def on_fit_start(self, trainer: Trainer) -> None:
        """Start the clock."""
        self.file(trainer)
        self._last = monotonic()

    def on_batch_end(self, trainer: Trainer) -> None:
        """Write if the interval in steps or seconds is over."""
        if self.unit == "epoch":
            return
        if self.unit == "step":
            if trainer.step % int(self.every) == 0:
                trainer.save(self.file(trainer))
        elif monotonic() - self._last >= self.every:
            trainer.save(self.file(trainer))
            self._last = monotonic()

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Write if the interval in epochs is over, and the weights if they are the best so far."""
        if self.best is not None and self.best.improved(record):
            from dlkit.nn import save_safetensors

            save_safetensors(
                plain(trainer.model.state_dict()), self.file(trainer).with_name("best.safetensors")
            )
        if self.unit == "epoch" and trainer.epoch % int(self.every) == 0:
            trainer.save(self.file(trainer))

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write the last state."""
        trainer.save(self.file(trainer))

    def state_dict(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best.state_dict()} if self.best is not None else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the best value so far."""
        if self.best is not None and "best" in state:
            self.best.load_state_dict(state["best"])
