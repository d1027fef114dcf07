"""Watch one number of the epoch records and tell when it gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from .errors import TrainError

Mode = Literal["auto", "min", "max"]


class Monitor:
    """The best value of one key so far.

    Parameters
    ----------
    owner
        Who asks, for error messages.
    key
        A key of the epoch records, such as ``"val_loss"``.
    mode
        ``"min"``: less is better, ``"max"``: more is better, ``"auto"``: more for keys that end in
        ``accuracy``, less for all others.
    min_delta
        A change smaller than this is no improvement.
    """

    def __init__(self, owner: str, key: str, mode: Mode = "auto", min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{owner}: mode is {mode!r}, expected 'auto', 'min' or 'max'")
        if not min_delta >= 0:
            raise ValueError(f"{owner}: min_delta is {min_delta!r}, expected a number of at least 0")
        self.owner = owner
        self.key = key
        self.maximise = key.endswith("accuracy") if mode == "auto" else mode == "max"
        self.min_delta = float(min_delta)
        self.best = -math.inf if self.maximise else math.inf
        self.epoch = 0

    def improved(self, record: Mapping[str, Any]) -> bool:
        """Whether the record is the best so far (it is remembered then).

        Raises
        ------
        TrainError
            The record has no value for the key.
        """
        value = record.get(self.key)
        if value is None:
            known = ", ".join(name for name, item in record.items() if item is not None)
            hint = " (give fit a validation set)" if self.key.startswith("val_") else ""
            raise TrainError(f"{self.owner}: monitor is {self.key!r}, expected one of {known}{hint}")
        gain = value - self.best if self.maximise else self.best - value
        if not gain > self.min_delta:
            return False
        self.best, self.epoch = float(value), int(record["epoch"])
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch."""
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a best value and its epoch."""
        self.best, self.epoch = float(state["best"]), int(state["epoch"])
