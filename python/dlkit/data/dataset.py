"""A labelled data set in memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from .errors import DataError


@dataclass(frozen=True)
class Dataset:
    """A labelled data set, split into a training and a test part.

    Attributes
    ----------
    name
        The name that `load` knows it by.
    x_train, x_test
        Inputs, float32 in [0, 1], shape (N, features); features is the product of `image_shape`.
    y_train, y_test
        Class numbers, int64, shape (N,), in 0 … ``len(classes) - 1``.
    classes
        The name of each class.
    image_shape
        Rows and columns of one sample as an image.
    source
        Where the samples came from (folder or package).
    channels
        Image channels (1: grey).
    """

    name: str
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    classes: list[str]
    image_shape: tuple[int, int]
    source: str
    channels: int = 1

    def __post_init__(self) -> None:
        features = prod(self.image_shape) * self.channels
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            if x.ndim != 2 or x.shape[1] != features:
                raise DataError(f"{self.name}: x_{part} is {x.shape}, expected (N, {features})")
            if y.shape != (len(x),):
                raise DataError(
                    f"{self.name}: y_{part} is {y.shape}, expected ({len(x)},): x_{part} has {len(x)} samples"
                )
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(self.classes):
                raise DataError(
                    f"{self.name}: labels of y_{part} lie in {int(y.min())} … {int(y.max())}, expected "
                    f"0 … {len(self.classes) - 1}"
                )

    @property
    def features(self) -> int:
        """Inputs per sample."""
        return int(self.x_train.shape[1])

    @property
    def train(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """``(x_train, y_train)``."""
        return self.x_train, self.y_train

    @property
    def test(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """``(x_test, y_test)``."""
        return self.x_test, self.y_test

    def images(self, split: str = "train") -> NDArray[np.float32]:
        """The inputs of ``"train"`` or ``"test"`` as images: a view (N, channels, rows, columns)."""
        if split not in ("train", "test"):
            raise ValueError(f"images: split is {split!r}, expected 'train' or 'test'")
        x = self.x_train if split == "train" else self.x_test
        return x.reshape(len(x), self.channels, *self.image_shape)

    def __repr__(self) -> str:
        rows, columns = self.image_shape
        return (
            f"Dataset({self.name!r}: {len(self.x_train)} training and {len(self.x_test)} test images of "
            f"{rows}x{columns}, {len(self.classes)} classes, from {self.source})"
        )
