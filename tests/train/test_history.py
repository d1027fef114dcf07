from __future__ import annotations

import pytest

from dlkit.train import History

RECORDS = History(
    [
        {"epoch": 1, "val_loss": 0.5, "val_accuracy": 0.8},
        {"epoch": 2, "val_loss": 0.3, "val_accuracy": 0.7},
        {"epoch": 3, "val_loss": None},
    ]
)


def test_column():
    assert RECORDS.column("val_loss") == [0.5, 0.3, None]
    assert RECORDS.column("val_accuracy") == [0.8, 0.7, None]


def test_best():
    assert RECORDS.best("val_loss")["epoch"] == 2
    assert RECORDS.best("val_accuracy")["epoch"] == 1
    with pytest.raises(ValueError, match="no record has a train_loss"):
        RECORDS.best("train_loss")
