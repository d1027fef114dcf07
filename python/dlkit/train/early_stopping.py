"""Stop when the model no longer gets better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .callback import Callback
from .checks import integer
from .monitor import Mode, Monitor
from .state import plain

if TYPE_CHECKING:
    from .trainer import Trainer


class EarlyStopping(Callback):
    """Stop training after `patience` epochs without improvement (Prechelt, *Early Stopping - But When?*,
    1998).

    Parameters
    ----------
    monitor
        The key of the epoch records to watch.
    patience
        Epochs without improvement after which training stops, at least 1.
    min_delta
        A change smaller than this is no improvement.
    mode
        ``"min"``, ``"max"`` or ``"auto"`` (more is better for accuracies, less for all else).
    restore_best
        At the end, put the weights of the best epoch back into the model.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best: bool = True,
    ) -> None:
        self.monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience = integer("EarlyStopping", "patience", patience, 1)
        self.restore_best = restore_best
        self.waited = 0
        self._weights: dict[str, Any] | None = None

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Compare with the best so far; ask the trainer to stop when patience has run out."""
        if self.monitor.improved(record):
            self.waited = 0
            if self.restore_best:
                self._weights = plain(trainer.model.state_dict(), copy=True)
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(
                f"{self.monitor.key} has not improved for {self.waited} epochs "
                f"(best {self.monitor.best:.6g} in epoch {self.monitor.epoch})"
            )

    def on_fit_end(self, trainer: Trainer) -> None:
        """Put the best weights back."""
        if self.restore_best and self._weights is not None and self.waited:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Best value, epochs waited, best weights."""
        return {"monitor": self.monitor.state_dict(), "waited": self.waited, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the run did that the state is from."""
        self.monitor.load_state_dict(state["monitor"])
        self.waited = int(state["waited"])
        self._weights = state["weights"]
