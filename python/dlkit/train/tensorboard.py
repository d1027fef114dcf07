"""Metrics for TensorBoard."""

from __future__ import annotations

import os
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from .callback import Callback
from .checks import integer
from .errors import TrainError

if TYPE_CHECKING:
    from .trainer import Trainer


class TensorBoard(Callback):
    """Write every number of the epoch records as TensorBoard scalars, by step.

    Needs the ``tensorboard`` package alone (no TensorFlow, no PyTorch).

    Parameters
    ----------
    log_dir
        Where the event files go; default: ``tensorboard`` in the trainer's run folder.
    every
        Also write the loss of every n-th batch (0: of none).

    Raises
    ------
    ImportError
        tensorboard is not installed.
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = None, *, every: int = 0) -> None:
        self.every = integer("TensorBoard", "every", every, 0)
        _tensorboard()
        self.log_dir = Path(log_dir) if log_dir is not None else None
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the event file."""
        folder = self.log_dir
        if folder is None:
            if trainer.run is None:
                raise TrainError(
                    "TensorBoard: no log_dir and the trainer has no run folder: give one of them"
                )
            folder = trainer.run.path("tensorboard")
        writer, _, _ = _tensorboard()
        self._writer = writer(str(folder))

    def on_batch_end(self, trainer: Trainer) -> None:
        """Write the batch's loss, if asked to."""
        if self.every and trainer.step % self.every == 0:
            self._write(trainer.step, {"batch/loss": trainer.batch_loss})

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Write the epoch's numbers: ``train_loss`` as ``train/loss``, and so on."""
        values = {}
        for key, value in record.items():
            if key in ("epoch", "step") or not isinstance(value, (int, float)):
                continue
            part, _, name = key.partition("_")
            values[f"{part}/{name}" if part in ("train", "val") else f"run/{key}"] = float(value)
        self._write(trainer.step, values)

    def close(self, trainer: Trainer) -> None:
        """Flush and close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, step: int, values: dict[str, float]) -> None:
        _, event, summary = _tensorboard()
        scalars = [summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._writer.add_event(event(wall_time=time(), step=step, summary=summary(value=scalars)))


def _tensorboard() -> tuple[Any, Any, Any]:
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ImportError("TensorBoard needs the tensorboard package: pip install tensorboard") from error
    return EventFileWriter, Event, Summary
