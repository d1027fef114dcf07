"""python/dlkit/kernels/cuda_backend.py, without a GPU: what is missing is said, in one sentence."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.kernels import backend as backends
from dlkit.kernels.backend import DeviceUnavailableError, backend_of, resolve_device, why_not
from dlkit.kernels.cuda_backend import Cuda


class Array:
    """What dlkit looks at of an array of CuPy."""

    def __init__(self, device: int = 0) -> None:
        self.device = types.SimpleNamespace(id=device)
        self.data = types.SimpleNamespace(device_id=device, ptr=4096)


Array.__name__ = Array.__qualname__ = "ndarray"
Array.__module__ = "cupy"


def _cupy(count: int = 2, current: int = 0) -> Any:
    def counted() -> int:
        if count < 0:
            raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        return count

    module = types.ModuleType("cupy")
    stream = types.SimpleNamespace(ptr=77)
    module.ndarray = Array  # type: ignore[attr-defined]
    module.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        runtime=types.SimpleNamespace(getDeviceCount=counted, getDevice=lambda: current),
        Device=lambda: types.SimpleNamespace(id=current),
        get_current_stream=lambda: stream,
    )
    return module


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a machine: with or without CuPy, kernels, GPUs."""

    def make(cupy: Any = None, kernels: Any = None) -> Cuda:
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "dlkit._cuda", kernels)
        if kernels is None:
            monkeypatch.delattr(dl, "_cuda", raising=False)
        else:
            monkeypatch.setattr(dl, "_cuda", kernels, raising=False)
        cuda = Cuda()
        monkeypatch.setattr(backends, "_BY_NAME", {"cpu": backends.CPU, "cuda": cuda})
        monkeypatch.setattr(backends, "_BY_TYPE", {np.ndarray: backends.CPU})
        return cuda

    return make


def _kernels(refused: int | None = None) -> Any:
    def require(index: int) -> None:
        if index == refused:
            raise RuntimeError(f"cuda:{index}: the GPU is of compute capability 7.5; expected 8.0 or newer")

    module = types.ModuleType("dlkit._cuda")
    module.__spec__ = ModuleSpec("dlkit._cuda", None)
    module.require_device = require  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    ("cupy", "kernels", "device", "sentence"),
    [
        (None, None, "cuda", "cuda: CuPy .* pip install cupy-cuda13x"),
        (None, _kernels(), "cuda:0", "cuda: CuPy .* pip install cupy-cuda13x"),
        (_cupy(), None, "cuda", "cuda: this build of dlkit has no CUDA kernels: .*DLKIT_CUDA=ON"),
        (
            _cupy(-1),
            _kernels(),
            "cuda",
            "cuda: no NVIDIA GPU can be used here: .*driver version is insufficient",
        ),
        (_cupy(0), _kernels(), "cuda", "cuda: no NVIDIA GPU can be used here: CUDA finds none"),
        (_cupy(1), _kernels(), "cuda:1", "cuda:1: there is 1 GPU, expected cuda:0$"),
        (_cupy(2), _kernels(), "cuda:2", "cuda:2: there are 2 GPUs, expected cuda:0 to cuda:1"),
        (_cupy(2), _kernels(1), "cuda:1", "compute capability 7.5; expected 8.0 or newer"),
    ],
)
def test_what_is_missing_is_said(machine: Any, cupy: Any, kernels: Any, device: str, sentence: str) -> None:
    machine(cupy, kernels)
    model = dl.nn.Linear(2, 2)
    before = model.weight.data
    for ask in (
        lambda: resolve_device(device, "to"),
        lambda: dl.ones(2).to(device),
        lambda: dl.zeros(2, device=device),
        lambda: model.to(device),
    ):
        with pytest.raises(DeviceUnavailableError, match=sentence) as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert model.weight.data is before
    assert why_not(device) == str(caught.value)
    if device == "cuda":
        assert not dl.cuda.is_available()
        assert dl.cuda.device_count() == 0


def test_names_of_devices(machine: Any) -> None:
    machine(_cupy(2, current=1), _kernels())
    assert resolve_device("cuda", "to") == "cuda:1"
    assert resolve_device(" CUDA:0 ", "to") == "cuda:0"
    assert resolve_device("cpu", "to") == "cpu"
    for wrong in ("cuda:", "cuda:-1", "cuda:x", "cuda:٣", "cpu:0", "simt:1", "gpu", ""):
        with pytest.raises(
            ValueError, match=f"to: device is {wrong!r}; expected 'cpu', 'cuda', 'cuda:0' or 'simt'"
        ):
            resolve_device(wrong, "to")
    for wrong in (None, 0, np.float32, ["cuda"]):
        with pytest.raises(TypeError, match=r"to: device is a .*; expected 'cpu', 'cuda' or 'simt'"):
            resolve_device(wrong, "to")


def test_arrays_are_recognised_and_their_stream_is_the_current_one(machine: Any) -> None:
    cuda = machine(_cupy(2, current=1), _kernels())
    array = Array(1)
    assert backend_of(array) is cuda
    assert backends.device_of(array) == "cuda:1"
    assert cuda.stream(array) == 77
    with pytest.raises(
        ValueError, match=r"on cuda:0 but the current device is cuda:1; .*cupy.cuda.Device\(0\)"
    ):
        cuda.stream(Array(0))


def test_importing_dlkit_imports_no_cupy() -> None:
    import subprocess

    code = "import sys; import dlkit; print([m for m in sys.modules if m.startswith(('cupy', 'dlkit.kernels.'))])"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("cupy", "simt", "device_layers", "device_matmul", "cuda_backend"):
        assert module not in text
