"""NVIDIA GPUs as a backend: CuPy has the arrays, the memory and the streams, ``dlkit._cuda`` the kernels."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.kernels.backend import Capture, DeviceUnavailableError, Numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BUILD = "build dlkit where nvcc is, with DLKIT_CUDA=ON"
_INSTALL = "pip install cupy-cuda13x"


class Cuda(Numbered):
    """Arrays of CuPy, kernels of ``dlkit._cuda``."""

    name = "cuda"

    @functools.cached_property
    def xp(self) -> Any:
        """The module ``cupy``."""
        try:
            import cupy
        except Exception as error:  # a CuPy for another CUDA fails with errors of its own
            missing = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
            what = "CuPy is not installed" if missing else f"CuPy cannot be imported ({error})"
            raise DeviceUnavailableError(f"cuda: {what}: {_INSTALL}{self._and_kernels()}") from error
        return cupy

    @functools.cached_property
    def library(self) -> Any:
        """The module ``dlkit._cuda``."""
        self.xp  # noqa: B018 (what to install comes before what to build)
        try:
            from dlkit import _cuda
        except ImportError as error:
            # Not there, or there and unable to load.
            text = f"cannot load its CUDA kernels ({error})" if self._is_built() else "has no CUDA kernels"
            raise DeviceUnavailableError(f"cuda: this build of dlkit {text}: {_BUILD}") from error
        return _cuda

    @staticmethod
    def _is_built() -> bool:
        from importlib.util import find_spec

        return find_spec("dlkit._cuda") is not None

    def _and_kernels(self) -> str:
        return "" if self._is_built() else f"; and this build of dlkit has no CUDA kernels: {_BUILD}"

    def resolve(self, number: str) -> str:
        """Return ``cuda:N``, once it is certain that the GPU is there and that the kernels run on it."""
        try:
            count = int(self.xp.cuda.runtime.getDeviceCount())
        except Exception as error:  # CUDARuntimeError: no driver, no GPU, a driver too old
            raise DeviceUnavailableError(f"cuda: no NVIDIA GPU can be used here: {error}") from error
        if not count:
            raise DeviceUnavailableError("cuda: no NVIDIA GPU can be used here: CUDA finds none")
        index = int(number) if number else int(self.xp.cuda.Device().id)
        if index >= count:
            raise DeviceUnavailableError(
                f"cuda:{index}: there {'is 1 GPU' if count == 1 else f'are {count} GPUs'}, expected cuda:0"
                + (f" to cuda:{count - 1}" if count > 1 else "")
            )
        self._require(index)
        return f"cuda:{index}"

    def _require(self, index: int) -> None:
        if index not in self._usable:
            try:
                self.library.require_device(index)
            except RuntimeError as error:
                raise DeviceUnavailableError(str(error)) from error
            self._usable.add(index)

    def __init__(self) -> None:
        self._usable: set[int] = set()

    def device(self, array: Any) -> str:
        """Return ``cuda:N``."""
        return f"cuda:{array.device.id}"

    def stream(self, array: Any) -> int:
        """Return CuPy's current stream.

        Raises
        ------
        ValueError
            If the array is on a GPU that is not the current one, whose stream could not take the work.
        """
        cuda = self.xp.cuda
        here, there = cuda.runtime.getDevice(), array.data.device_id
        if here != there:
            raise ValueError(
                f"cuda: the arrays are on cuda:{there} but the current device is cuda:{here}; "
                f"expected the work within `with cupy.cuda.Device({there}):`"
            )
        self._require(there)
        return int(cuda.get_current_stream().ptr)

    def on_device(self, device: str) -> AbstractContextManager[Any]:
        """Make a GPU the current one of this thread for a while."""
        current: AbstractContextManager[Any] = self.xp.cuda.Device(int(device.partition(":")[2]))
        return current

    def from_host(self, array: Any, device: str) -> Any:
        """Copy an array of the host to a GPU: by pinned memory of CuPy's, on its current stream, without waiting."""
        with self.on_device(device):
            return self.xp.asarray(np.ascontiguousarray(array).reshape(array.shape))

    def write(self, target: Any, values: NDArray[Any]) -> None:
        """Copy numbers of the host into an array on the device, on the current stream, without waiting."""
        target.set(values, stream=self.xp.cuda.get_current_stream())

    def add_at(self, target: Any, index: Any, values: Any) -> None:
        """Add values to elements of an array, in no certain order."""
        import cupyx

        cupyx.scatter_add(target, index, values)

    @functools.cached_property
    def capture(self) -> Capture:
        """What a function launches becomes a CUDA graph."""
        return self._capture

    def _capture(self, body: Callable[[], None]) -> Callable[[], None]:
        cuda = self.xp.cuda
        # The memory that the step takes while it is recorded is the graph's as long as there is the graph: from a pool
        # that nobody else takes from. The null stream cannot be recorded.
        pool = cuda.MemoryPool()
        stream, outer = cuda.Stream(non_blocking=True), cuda.get_current_stream()
        stream.wait_event(outer.record())
        with cuda.using_allocator(pool.malloc), stream:
            stream.begin_capture()
            try:
                body()
            except BaseException:
                with contextlib.suppress(Exception):  # the step's own error is the one to tell
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        outer.wait_event(stream.record())

        def launch() -> None:
            graph.launch(cuda.get_current_stream())

        launch.pool = pool  # type: ignore[attr-defined]
        return launch
