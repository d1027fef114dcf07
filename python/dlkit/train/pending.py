"""What a device has computed of the epoch under way and nobody has read: to read it means to wait for the device."""

from __future__ import annotations

from typing import Any

import numpy as np


class Pending:
    """Sums over batches, kept on the device that computes them."""

    def __init__(self) -> None:
        self.batches = 0
        self._loss_sum: Any = None
        self._last: Any = None
        self._correct: Any = None

    def add(self, loss: Any, samples: int, correct: Any) -> None:
        """Take in a batch: its mean loss and the number of its samples that were right (or None), on the device."""
        self.batches += 1
        self._last = loss.reshape(())
        weighted = self._last.astype(np.float64) * samples
        self._loss_sum = weighted if self._loss_sum is None else self._loss_sum + weighted
        if correct is not None:
            self._correct = correct if self._correct is None else self._correct + correct

    def read(self) -> tuple[float, float, int | None]:
        """Wait for the device, return the sum of the losses, the last one, and how many were right; and start anew."""
        total, last = float(self._loss_sum.item()), float(self._last.item())
        correct = None if self._correct is None else int(self._correct.item())
        self.__init__()  # type: ignore[misc]
        return total, last, correct
