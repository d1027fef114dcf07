"""What every test may rely on: data sets if they are there, hypothesis without deadlines, fixtures of the kernels."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import dlkit
import dlkit.kernels as K

# Deadlines measure the machine, not the code: others may be using it too.
settings.register_profile("dlkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dlkit")

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"
if not os.environ.get("DLKIT_DATA") and _BESIDE_THE_REPOSITORY.is_dir():
    os.environ["DLKIT_DATA"] = str(_BESIDE_THE_REPOSITORY)


@pytest.fixture
def data_folder() -> Path:
    """The folder of official data files, or a skip."""
    value = os.environ.get("DLKIT_DATA", "")
    if not value or not Path(value).is_dir():
        pytest.skip("needs the official data files: set DLKIT_DATA to their folder")
    return Path(value)


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = K.get_num_threads()
    K.set_num_threads(request.param)
    yield request.param
    K.set_num_threads(before)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    # Fresh numbers in every run; the seed is in the report of a failure.
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    request.node.add_report_section("setup", "seed", str(seed))
    dlkit.manual_seed(seed)
    return np.random.default_rng(seed)


class Device:
    """Where the CUDA sources run, and arrays there: NumPy's for the SIMT machine, CuPy's for a GPU."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays: Any = np if name == "simt" else pytest.importorskip("cupy")
        self.module: Any = importlib.import_module(f"dlkit._{name}")
        if name == "cuda":
            try:
                self.module.require_device(0)
            except self.module.DeviceError as error:
                pytest.skip(str(error))

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
    if request.param == "cuda" and importlib.util.find_spec("dlkit._cuda") is None:
        pytest.skip("built without the module for NVIDIA GPUs")
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


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")
