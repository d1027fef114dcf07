"""The GPU module as `make cuda` builds it: it imports without a driver, and then says what is missing."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

BUILD = Path(__file__).resolve().parents[2] / "build" / "cuda"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    # Of this interpreter: the folder may hold another's.
    files = [BUILD / f"_cuda{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    found = next((file for file in files if file.exists()), None)
    if found is None:
        pytest.skip("needs build/cuda, which `make cuda` builds where nvcc is")
    spec = importlib.util.spec_from_file_location("_cuda", found)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_imports_and_tells_of_itself(module: ModuleType) -> None:
    assert module.runtime_version() >= 12000
    assert module.driver_version() >= 0
    assert module.device_count() >= 0
    assert module.architectures()
    assert all(name.startswith(("sm_", "compute_")) for name in module.architectures())


def test_has_what_the_emulated_gpu_has(module: ModuleType) -> None:
    simt = pytest.importorskip("dlkit._simt")
    own = {"counters", "reset_counters", "set_mode", "get_mode", "set_num_threads", "specimens", "specimen"}
    public = {name for name in dir(simt) if not name.startswith("_")}
    assert public - own <= set(dir(module))
    assert module.matmul_variants() == simt.matmul_variants()
    assert module.layer_variants() == simt.layer_variants()


def test_without_a_driver_one_sentence_says_so(module: ModuleType) -> None:
    if module.driver_version() > 0:
        pytest.skip("this machine has an NVIDIA driver")
    with pytest.raises(
        module.DeviceError, match=r"^cuda: no NVIDIA driver on this machine; expected one of CUDA"
    ):
        module.require_device(0)
    with pytest.raises(module.DeviceError, match=r"^cuda: device is 0; this machine has 0"):
        module.compute_capability(0)


def test_a_launch_without_a_driver_raises(module: ModuleType) -> None:
    if module.driver_version() > 0:
        pytest.skip("this machine has an NVIDIA driver")
    import numpy as np

    x = np.ones(64, np.float32)
    with pytest.raises(module.DeviceError):
        module.activation(0, 0, 0, x.ctypes.data, x.ctypes.data, x.size, 0.0, 3)


def test_a_missing_device_is_named(module: ModuleType) -> None:
    if module.device_count() == 0:
        pytest.skip("needs a GPU")
    with pytest.raises(module.DeviceError, match=r"device is 99; expected 0 to"):
        module.require_device(99)
