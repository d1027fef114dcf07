"""Weights in safetensors files, which PyTorch, JAX and others read and write, too."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.autograd.base import as_array
from dlkit.kernels.backend import to_host
from dlkit.nn.module import Module, without_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            'safetensors files need the safetensors package: pip install "dlkit[cli]"'
        ) from error
    return safetensors


def save_safetensors(
    module_or_state: Module | Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a module's ``state_dict``, or any mapping of names to arrays, to a safetensors file.

    The file is written under another name and renamed: what was there stays until the new one is complete. Arrays go
    to it as they lie, a few megabytes at a time where they are not contiguous, one by one where they are on a device.
    The safetensors package is not needed for that, only for reading.

    Parameters
    ----------
    module_or_state : Module or mapping of str to array or Tensor
    path : path
    metadata : mapping of str to str, optional
        Stored in the file's header.

    Raises
    ------
    TypeError
        If a name is no string, or a value no array of numbers.
    ValueError
        If a name is ``__metadata__``.
    OSError
        If the file cannot be written.
    """
    state = module_or_state.state_dict() if isinstance(module_or_state, Module) else module_or_state
    if not isinstance(state, Mapping):
        raise TypeError(
            f"save_safetensors: state is a {type(state).__name__}; expected a Module or a mapping"
        )
    arrays = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(
                f"save_safetensors: {name!r} is a {type(name).__name__}; expected names that are strings"
            )
        if name == "__metadata__":
            raise ValueError(
                "save_safetensors: the name '__metadata__' is the format's own; expected another"
            )
        arrays[name] = as_array(without_graph(value), "save_safetensors", name, half=True)
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save_safetensors: metadata has {key!r}: {text!r}; expected strings")
    from dlkit.data.safetensors_file import write_safetensors  # here: it takes the whole room of data with it

    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write_safetensors(file, arrays, metadata, to_host)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read a safetensors file.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to array
        For `Module.load_state_dict`.

    Raises
    ------
    ImportError
        If the safetensors package is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If it is no safetensors file, is cut short, has a name twice, or holds a dtype that NumPy has not (bfloat16).
    """
    library = _safetensors()
    with open(path, "rb"):  # a missing file, a folder or missing rights are reported as OSError
        pass
    try:
        state: dict[str, NDArray[Any]] = library.numpy.load_file(os.fspath(path))
    except library.SafetensorError as error:
        raise ValueError(
            f"load_safetensors: {os.fspath(path)} is no complete safetensors file ({error})"
        ) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"load_safetensors: {os.fspath(path)} holds a dtype that NumPy has not ({error}); convert it to float32"
        ) from error
    _check_names(path)
    for name, array in state.items():
        if array.dtype.kind not in "biufc":  # bfloat16, where ml_dtypes brings it along
            raise ValueError(
                f"load_safetensors: {os.fspath(path)} holds a dtype that NumPy has not ({name} is {array.dtype}); "
                "convert it to float32"
            )
    return state


def _check_names(path: str | os.PathLike[str]) -> None:
    # Of several tensors of one name the library takes the last; by now it has checked everything else.
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"load_safetensors: {os.fspath(path)} has {repeated!r} more than once")
        return entries

    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        json.loads(file.read(length), object_pairs_hook=unique)
