"""What can hook into the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Base class: override what is needed; everything does nothing here.

    A method that is not overridden costs nothing per batch: the loop calls `on_batch_end` only of callbacks
    that have their own.
    """

    def on_fit_start(self, trainer: Trainer) -> None:
        """Training is about to start (after a checkpoint has been loaded, if it resumes)."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """An epoch is about to start, or to go on in the middle after a resume."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """A batch has been trained on: ``trainer.step``, ``batch_loss`` and ``partial`` are new."""

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """An epoch is complete, validation included; `record` is the last of ``trainer.history``."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Training has come to its end (not called if it was interrupted or failed)."""

    def close(self, trainer: Trainer) -> None:
        """Called last, however `Trainer.fit` was left: release files and terminals here."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep so that a resumed run goes on as if never stopped."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state that a checkpoint kept."""
