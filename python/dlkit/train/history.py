"""The record of a training run."""

from __future__ import annotations

from typing import Any


class History(list[dict[str, Any]]):
    """One record (dict) per epoch, in order.

    Keys: ``epoch`` (from 1), ``step`` (updates so far), ``train_loss``, ``train_accuracy``, ``val_loss``,
    ``val_accuracy`` (None where unknown), ``seconds`` (training alone, without validation),
    ``samples_per_s``, ``gflops`` (10^9 floating-point operations of matrix products per second of training),
    ``lr``.
    """

    def column(self, key: str) -> list[Any]:
        """The values of one key over the epochs (None where a record lacks it)."""
        return [record.get(key) for record in self]

    def best(self, key: str) -> dict[str, Any]:
        """The record with the best value of `key`: the greatest accuracy, or the least of anything else.

        Raises
        ------
        ValueError
            No record has a value for `key`.
        """
        known = [record for record in self if record.get(key) is not None]
        if not known:
            raise ValueError(f"history: no record has a {key}")
        choose = max if key.endswith("accuracy") else min
        return choose(known, key=lambda record: record[key])
