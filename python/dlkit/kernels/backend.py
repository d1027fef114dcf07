"""The one place that picks a backend: by the type of an array, or by the name of a device.

=========  ===============================  =======================  ==================
backend    arrays                           kernels                  devices
=========  ===============================  =======================  ==================
``cpu``    NumPy's                          ``dlkit._cpu``           ``cpu``
``cuda``   CuPy's                           ``dlkit._cuda``          ``cuda:0``, …
``simt``   `dlkit.kernels.simt.SimtArray`   ``dlkit._simt``          ``simt``
=========  ===============================  =======================  ==================

CuPy and the modules of kernels but ``_cpu`` are imported when an array or a name asks for them.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKENDS = ("cpu", "cuda", "simt")

#: Records what a function launches, without running it, and returns a function that launches all of it.
Capture = Callable[[Callable[[], None]], Callable[[], None]]

_ndarray = np.ndarray


class OnDemand:
    """A module that is imported when something of it is asked for.

    Parameters
    ----------
    name : str
        Of the module.
    """

    def __init__(self, name: str) -> None:
        self._module = name

    def __getattr__(self, name: str) -> Any:
        import importlib

        return getattr(importlib.import_module(self._module), name)


class DeviceUnavailableError(RuntimeError):
    """A device was asked for that this machine, or this build of dlkit, does not have."""


class Backend(ABC):
    """Where arrays of one type live, and what computes on them.

    Attributes
    ----------
    name : str
        One of `BACKENDS`.
    xp : module
        The namespace of the arrays: ``xp.zeros(shape, dtype)`` is one of them.
    library : module
        The kernels: ``dlkit._cuda`` or ``dlkit._simt``, which have one interface.
    """

    name: str
    xp: Any
    library: Any

    def device(self, array: Any) -> str:
        """Return the name of the device that the array is on."""
        return self.name

    def stream(self, array: Any) -> int:
        """Return the stream that work on the array is to be launched on, as an address."""
        return 0

    def on_device(self, device: str) -> AbstractContextManager[Any]:
        """Make a device the current one of this thread for a while: each thread begins with the first."""
        return nullcontext()

    def scratch(self, nbytes: int) -> Any:
        """Return memory for a kernel to work in, or None for no bytes. It is used again once it is let go."""
        return self.xp.empty(nbytes, np.uint8) if nbytes else None

    def to_host(self, array: Any) -> NDArray[Any]:
        """Copy an array to the host."""
        host: NDArray[Any] = array.get()
        return host

    def from_host(self, array: Any, device: str) -> Any:
        """Copy an array of the host to a device of this backend."""
        return self.xp.asarray(np.ascontiguousarray(array).reshape(array.shape))

    def write(self, target: Any, values: NDArray[Any]) -> None:
        """Copy numbers of the host into an array on the device, of the same shape and dtype."""
        target.set(values)

    @abstractmethod
    def add_at(self, target: Any, index: Any, values: Any) -> None:
        """Add values to elements of an array, one after another where an element appears more than once."""

    @functools.cached_property
    def capture(self) -> Capture | None:
        """What records launches, or None where they cannot be recorded."""
        return None


class _Cpu(Backend):
    name = "cpu"
    xp = np

    def to_host(self, array: Any) -> NDArray[Any]:
        return np.asarray(array)

    def from_host(self, array: Any, device: str) -> Any:
        return array

    def add_at(self, target: Any, index: Any, values: Any) -> None:
        np.add.at(target, index, values)


CPU: Backend = _Cpu()

_BY_TYPE: dict[type, Backend] = {np.ndarray: CPU}
_BY_NAME: dict[str, Backend] = {"cpu": CPU}


def backend_of(array: Any) -> Backend:
    """Return the backend of an array, by its type; of anything that is no device array that of the CPU."""
    kind = type(array)
    found = _BY_TYPE.get(kind)
    return _recognised(kind) if found is None else found


def _recognised(kind: type) -> Backend:
    if kind.__module__ == "builtins":
        return CPU
    for base in kind.__mro__:
        name = {"SimtArray": "simt", "ndarray": "cuda"}.get(base.__name__)
        room = base.__module__.partition(".")[0]
        if (name == "simt" and base.__module__ == "dlkit.kernels.simt") or (
            name == "cuda" and room == "cupy"
        ):
            found = _BY_TYPE[kind] = backend_named(name)
            return found
    return CPU


def backend_named(name: str) -> Backend:
    """Return the backend of that name, one of `BACKENDS`.

    Raises
    ------
    DeviceUnavailableError
        If this build or machine does not have it; the message says what is missing.
    """
    found = _BY_NAME.get(name)
    if found is None:
        if name == "simt":
            from dlkit.kernels.simt_backend import Simt

            found = Simt()
        else:
            from dlkit.kernels.cuda_backend import Cuda

            found = Cuda()
        _BY_NAME[name] = found
    return found


def namespace(array: Any) -> Any:
    """Return the namespace of an array's type: ``numpy``, ``cupy`` or `dlkit.kernels.simt`."""
    return np if type(array) is _ndarray else backend_of(array).xp


def is_device_array(value: Any) -> bool:
    """Return whether it is an array in the memory of a device other than the CPU."""
    return type(value) is not _ndarray and backend_of(value) is not CPU


def device_of(array: Any) -> str:
    """Return the name of the device that an array is on: ``cpu``, ``cuda:0``, ``simt``."""
    return "cpu" if type(array) is _ndarray else backend_of(array).device(array)


def to_host(array: Any) -> NDArray[Any]:
    """Return an array as one of NumPy: itself, or a copy of what a device holds (which waits for the device)."""
    if type(array) is _ndarray:
        return array
    return backend_of(array).to_host(array)


def move(array: Any, device: str) -> Any:
    """Return the array on a device, named as `resolve_device` names it: itself if it is there."""
    here = device_of(array)
    if here == device:
        return array
    host = to_host(array)
    return host if device == "cpu" else backend_named(device.partition(":")[0]).from_host(host, device)


def is_device_name(value: Any) -> bool:
    """Return whether a text is meant as the name of a device: ``cpu``, ``cuda``, ``cuda:1``, ``simt``."""
    return isinstance(value, str) and value.strip().lower().partition(":")[0] in BACKENDS


def resolve_device(device: Any, operation: str) -> str:
    """Return the full name of a device: ``cuda`` becomes that of CuPy's current device.

    Raises
    ------
    TypeError, ValueError
        If it is no name of a device.
    DeviceUnavailableError
        If it is not there; the message says what is missing.
    """
    if not isinstance(device, str):
        raise TypeError(f"{operation}: device is a {type(device).__name__}; expected 'cpu', 'cuda' or 'simt'")
    text = device.strip().lower()
    name, colon, number = text.partition(":")
    if name not in BACKENDS or (colon and (name != "cuda" or not (number.isascii() and number.isdigit()))):
        raise ValueError(
            f"{operation}: device is {device!r}; expected 'cpu', 'cuda', 'cuda:0' or 'simt'{nearest(name, BACKENDS)}"
        )
    if name == "cpu":
        return name
    backend = backend_named(name)
    backend.library  # noqa: B018 (raises here, before any work, if there are no kernels)
    return backend.resolve(number) if isinstance(backend, Numbered) else name


class Numbered(Backend):
    """A backend that may have several devices."""

    @abstractmethod
    def resolve(self, number: str) -> str:
        """Return the full name of the device of that number, of the current one for an empty text."""


def built_backends() -> list[str]:
    """Return the backends whose kernels this build of dlkit has."""
    from importlib.util import find_spec

    return [name for name in BACKENDS if find_spec(f"dlkit._{name}") is not None]


def why_not(device: str) -> str | None:
    """Return why a device cannot be used here, as a sentence, or None if it can."""
    try:
        resolve_device(device, "device")
    except DeviceUnavailableError as error:
        return str(error)
    return None


def check_backend(name: Any, operation: str) -> None:
    """Raise ValueError unless `name` is that of a backend."""
    if name not in BACKENDS:
        close = nearest(str(name), BACKENDS)
        raise ValueError(f"{operation}: backend is {name!r}; expected one of {', '.join(BACKENDS)}{close}")


def mixed_devices(operation: str, arrays: list[tuple[str, Any]]) -> TypeError | None:
    """Return the error for arrays, given with their arguments' names, that are on several devices, or None."""
    first, array = arrays[0]
    here = device_of(array)
    for argument, other in arrays[1:]:
        there = device_of(other)
        if there != here:
            return TypeError(
                f"{operation}: {first} is on {here} but {argument} is on {there}; expected arrays on one device"
            )
    return None


def as_array(value: Any, operation: str, argument: str) -> NDArray[Any]:
    """Return `value` as a NumPy array, without a copy where it shares memory by DLPack or the buffer protocols.

    Raises
    ------
    TypeError
        If it is no array and cannot be made one without guessing, or is on another device.
    """
    if isinstance(value, np.ndarray):
        return value
    given = f"{operation}: {argument} is a {type(value).__name__}"
    if is_device_array(value):
        raise TypeError(
            f"{operation}: {argument} is on {device_of(value)} but the other arrays are on cpu; "
            "expected arrays on one device"
        )
    try:
        if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.asarray(np.from_dlpack(value))
        if isinstance(value, (list, tuple, float, int)):
            array = np.asarray(value)
            return array.astype(np.float64) if array.dtype.kind in "fiu" else array
    except (AttributeError, BufferError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{given} that NumPy cannot make an array of: {error}") from error
    raise TypeError(f"{given}; expected an array (NumPy, DLPack or __array_interface__)")


def host_array(value: Any, operation: str, argument: str) -> NDArray[Any]:
    """Return `value` as `as_array` does, for an operation that no device has.

    Raises
    ------
    TypeError
        If it is no array, or is on a device.
    """
    if type(value) is np.ndarray:
        return value
    if is_device_array(value):
        raise TypeError(
            f"{operation}: {argument} is on {device_of(value)}, where there is no kernel for this operation; "
            "expected an array of the CPU (copy it with Tensor.cpu)"
        )
    return as_array(value, operation, argument)


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return " (did you mean 'x'?)" for the closest of `known`, or an empty string."""
    import difflib  # here, for the sake of `import dlkit`

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
