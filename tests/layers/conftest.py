"""Where the CUDA sources run in this room's tests: the SIMT machine, and a GPU where there is one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tested_backends import needs


class Device:
    """Where the CUDA sources run, and arrays there: NumPy's for the SIMT machine, CuPy's for a GPU."""

    def __init__(self, name: str) -> None:
        needs(name)
        self.name = name
        self.arrays: Any = np if name == "simt" else importlib.import_module("cupy")
        self.module: Any = importlib.import_module(f"dlkit._{name}")

    def empty(self, shape: Any, dtype: Any, shift: int = 0) -> Any:
        """Memory full of NaN (of large integers), that begins `shift` elements past a multiple of 256 bytes."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        item = np.dtype(dtype).itemsize
        size = item * int(np.prod(shape))
        buffer = self.arrays.full(size + 512, 0xFF, dtype=np.uint8)
        begin = -self.address(buffer) % 256 + shift * item
        return buffer[begin : begin + size].view(dtype).reshape(shape)

    def put(self, array: Any, shift: int = 0) -> Any:
        array = np.asarray(array)
        there = self.empty(array.shape, array.dtype, shift)
        there[...] = self.arrays.asarray(array)
        return there

    def scratch(self, size: int) -> Any:
        return self.empty(size, np.uint8)

    def get(self, array: Any) -> Any:
        return np.array(array) if self.name == "simt" else array.get()

    def address(self, array: Any) -> int:
        if array is None:
            return 0
        return int(array.ctypes.data if self.name == "simt" else array.data.ptr)


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> Device:
    return Device(request.param)


@pytest.fixture
def simt() -> Iterator[Device]:
    """The SIMT machine, counting what kernels do."""
    device = Device("simt")
    before = device.module.get_mode()
    device.module.set_mode("both")
    device.module.reset_counters()
    yield device
    device.module.reset_counters()
    device.module.set_mode(before)
