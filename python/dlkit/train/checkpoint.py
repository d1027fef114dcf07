"""Checkpoints: a nested state of numbers, text and arrays in one safetensors file.

The arrays are the tensors of the file; everything else is JSON in its metadata, with a SHA-256 over all of
it, so that a file that was cut short or changed is told from a good one before anything is loaded. The file
opens with any safetensors reader.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlkit.data.safetensors_file import write_safetensors

from .errors import CheckpointError
from .files import write_atomic

_FORMAT = "dlkit-checkpoint-1"
_ARRAY = "__array__"
_TUPLE = "__tuple__"
_PAIRS = "__pairs__"
_KINDS = "biuf"
# A header larger than this is hostile: safetensors itself refuses more than 100 MB.
_MAX_HEADER = 100_000_000


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> Path:
    """Write `state` to `path`, atomically (temporary file, fsync, rename).

    Parameters
    ----------
    path
        The file to write.
    state
        Nested mappings (with string keys), lists and tuples of None, bool, int, float, str, NumPy scalars and
        NumPy arrays (bool, integer or floating point).

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    TypeError
        The state holds something else; the message says where.
    RunFolderError
        The disk is full or the folder cannot be written; an older file of that name is as it was.
    ImportError
        safetensors is not installed.
    """
    require_safetensors()  # which reads it: else nobody could resume
    arrays: dict[str, NDArray[Any]] = {}
    tree = _pack(state, "state", arrays)
    text = json.dumps(tree, separators=(",", ":"))
    metadata = {"format": _FORMAT, "state": text, "sha256": _digest(text, arrays)}
    # safetensors refuses a file without tensors in some versions; an empty one costs nothing.
    whole = {**arrays, "_": np.zeros(0, np.uint8)}
    # Not through bytes: a large model's checkpoint takes no more memory than the model.
    write_atomic(
        path,
        lambda file: write_safetensors(file, whole, metadata),
        size=len(text) + sum(array.nbytes for array in arrays.values()),
    )
    return Path(path)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state written by `save_checkpoint`.

    Returns
    -------
    dict
        The state; its arrays are new and writable.

    Raises
    ------
    CheckpointError
        There is no such file, or it is cut short, damaged, or no checkpoint of dlkit.
    ImportError
        safetensors is not installed.
    """
    safetensors = require_safetensors()
    file = Path(path)
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"load_checkpoint: {file}: no such file") from error
    except OSError as error:
        raise CheckpointError(f"load_checkpoint: {file} cannot be read: {error.strerror or error}") from error

    metadata = _metadata(file, data)
    try:
        arrays: dict[str, NDArray[Any]] = safetensors.load(data)
    except Exception as error:  # its Rust side raises its own error types
        raise CheckpointError(f"load_checkpoint: {file} ({len(data)} bytes) is damaged: {error}") from error
    arrays.pop("_", None)
    if _digest(metadata["state"], arrays) != metadata["sha256"]:
        raise CheckpointError(
            f"load_checkpoint: {file} ({len(data)} bytes) is damaged: its SHA-256 is not the one in it"
        )
    return cast("dict[str, Any]", _unpack(json.loads(metadata["state"]), arrays))


def _metadata(file: Path, data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, once the file's length has been checked against its header."""
    if len(data) < 8:
        raise CheckpointError(f"load_checkpoint: {file} is cut short: {len(data)} bytes, expected a header")
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER:
        raise CheckpointError(
            f"load_checkpoint: {file} is not a checkpoint: its first bytes claim a header of {length} bytes"
        )
    if 8 + length > len(data):
        raise CheckpointError(
            f"load_checkpoint: {file} is cut short: {len(data)} bytes, its header alone needs {8 + length}"
        )
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header["__metadata__"]
        end = max(int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"load_checkpoint: {file} is not a checkpoint: its header is not readable"
        ) from error
    if 8 + length + end > len(data):
        raise CheckpointError(
            f"load_checkpoint: {file} is cut short: {len(data)} bytes, expected {8 + length + end}"
        )
    if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise CheckpointError(f"load_checkpoint: {file} has format {found!r}, expected {_FORMAT!r}")
    if not all(isinstance(metadata.get(key), str) for key in ("state", "sha256")):
        raise CheckpointError(f"load_checkpoint: {file} is not a checkpoint: its metadata is incomplete")
    return metadata


def _digest(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        if array.size:
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _pack(value: Any, where: str, arrays: dict[str, NDArray[Any]]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        # np.float64 is a float too; json writes it as one.
        return float(value) if isinstance(value, np.floating) else value
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _KINDS or value.dtype.itemsize > 8:
            raise TypeError(
                f"save_checkpoint: {where} has dtype {value.dtype}, expected bool, integer or float"
            )
        arrays[where] = np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")
        return {_ARRAY: where}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, (str, int)) or key in (_ARRAY, _TUPLE, _PAIRS):
                raise TypeError(f"save_checkpoint: {where} has the key {key!r}, expected text or an integer")
        if any(isinstance(key, int) for key in value):
            # JSON turns integer keys (an optimizer's parameter numbers) into text: keep the pairs instead.
            pairs = [[key, _pack(item, f"{where}.{key}", arrays)] for key, item in value.items()]
            return {_PAIRS: pairs}
        return {key: _pack(item, f"{where}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_pack(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    raise TypeError(
        f"save_checkpoint: {where} is a {type(value).__name__}, "
        f"expected a mapping, list, tuple, number, text or array"
    )


def _unpack(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if isinstance(value, dict):
        if _ARRAY in value:
            # What safetensors hands out may be a read-only view of the file's bytes.
            return np.array(arrays[value[_ARRAY]])
        if _TUPLE in value:
            return tuple(_unpack(item, arrays) for item in value[_TUPLE])
        if _PAIRS in value:
            return {key: _unpack(item, arrays) for key, item in value[_PAIRS]}
        return {key: _unpack(item, arrays) for key, item in value.items()}
    return value


def require_safetensors() -> Any:
    """The module ``safetensors.numpy``, or an ImportError that says what to install."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('checkpoints need safetensors: pip install "dlkit[cli]"') from error
    return safetensors.numpy
