"""What the tests of convolution and pooling share: variants that do not take a problem, arrays within other memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def run(call: Any, *args: Any, **settings: Any) -> Any:
    """The result, or a skip where the variant says that it does not take the problem."""
    try:
        return call(*args, **settings)
    except ValueError as error:
        if f"variant '{settings['variant']}' needs " in str(error):
            pytest.skip(str(error))
        raise


def framed(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """An array to write to that begins anywhere, and the memory of NaN around it."""
    size = int(np.prod(shape))
    memory = np.full(size + 80, np.nan, dtype)
    start = int(rng.integers(0, 40))
    return memory[start : start + size].reshape(shape), memory


def outside(memory: Any, out: Any) -> Any:
    start = (out.ctypes.data - memory.ctypes.data) // memory.itemsize
    return np.concatenate([memory[:start], memory[start + out.size :]])
