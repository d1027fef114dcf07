"""State dicts as checkpoints want them: NumPy arrays in place of tensors and of arrays of devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dlkit.autograd import Tensor
from dlkit.kernels.backend import is_device_array, to_host


def plain(value: Any, *, copy: bool = False) -> Any:
    """The same nested state with every tensor as its array.

    Parameters
    ----------
    value
        Nested mappings, lists and tuples of tensors, arrays and anything else.
    copy
        Copy the arrays, so that later updates in place do not reach them. What comes from a device is a copy anyway.
    """
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, np.ndarray):
        return value.copy() if copy else value
    if is_device_array(value):
        return to_host(value)
    if isinstance(value, Mapping):
        return {key: plain(item, copy=copy) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item, copy=copy) for item in value)
    return value
