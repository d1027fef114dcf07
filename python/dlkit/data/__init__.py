"""Data sets, their files, and batches.

Examples
--------
>>> import dlkit as dl
>>> digits = dl.data.load("digits")
>>> digits.x_train.shape
(1442, 64)
>>> batches = dl.data.Batches(digits.x_train, digits.y_train, batch_size=64, seed=0)
>>> len(batches)
23
"""

from __future__ import annotations

from .augment import Augment
from .batches import Batches, holdout
from .dataset import Dataset
from .errors import DataError, DataNotFoundError
from .idx import read_idx
from .registry import load, names

__all__ = [
    "Augment",
    "Batches",
    "DataError",
    "DataNotFoundError",
    "Dataset",
    "holdout",
    "load",
    "names",
    "read_idx",
]
