"""Data sets by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .digits import load_digits
from .mnist import load_fashion_mnist, load_mnist

_LOADERS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion-mnist": load_fashion_mnist,
}


def names() -> list[str]:
    """The names that `load` knows."""
    return list(_LOADERS)


@overload
def load(name: str, split: None = None) -> Dataset: ...
@overload
def load(name: str, split: Literal["train", "test"]) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...


def load(
    name: str, split: Literal["train", "test"] | None = None
) -> Dataset | tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load a data set.

    Parameters
    ----------
    name
        ``"digits"`` (bundled with scikit-learn, needs no network), ``"mnist"`` or ``"fashion-mnist"`` (looked
        for in the folder ``DLKIT_DATA``, else downloaded; checksums are verified either way).
    split
        None: the whole `Dataset`; ``"train"`` or ``"test"``: that part alone, as ``(x, y)``.

    Raises
    ------
    ValueError
        Unknown name (the message suggests the nearest) or split.
    DataError
        A file is damaged. `DataNotFoundError` if there is none.
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"load: split is {split!r}, expected 'train', 'test' or None")
    key = str(name).strip().lower().replace("_", "-")
    if key not in _LOADERS:
        near = difflib.get_close_matches(key, _LOADERS, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"load: unknown data set {name!r}, expected one of {', '.join(_LOADERS)}{hint}")
    dataset = _LOADERS[key]()
    if split is None:
        return dataset
    return dataset.train if split == "train" else dataset.test
