"""Arrays written to safetensors files as they lie: no copy of them, nor of the file, in memory.

The format: the length of the header in 8 bytes, the header in JSON (name, dtype, shape and place of each array, padded
with spaces to a multiple of 8 bytes), the arrays end to end. Those of wide elements come first, then by name, so that
each lies at a multiple of its element's size: the order of the safetensors package, and its bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

#: The format's names of NumPy's dtypes, in the package's order; the last are written first.
_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
_RANK = {name: rank for rank, name in enumerate(_DTYPES)}
_BLOCK = 1 << 22  # bytes that are copied at once of an array that is not contiguous


def write_safetensors(
    file: IO[bytes],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    to_host: Callable[[Any], NDArray[Any]] = np.asarray,
) -> None:
    """Write arrays to an open file, one after the other.

    Parameters
    ----------
    file
        At its beginning.
    arrays
        Of truth values, integers, or floating-point numbers of 2 to 8 bytes; in any layout and byte order.
    metadata
        Stored in the header.
    to_host
        What makes an array of NumPy of each when its turn comes.

    Raises
    ------
    TypeError
        If an array is of another dtype.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"write_safetensors: {name} is an array of {array.dtype}; expected real numbers")
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    order = sorted(arrays, key=lambda name: (-_RANK[arrays[name].dtype.name], name))
    for name in order:
        array = arrays[name]
        end = begin + int(array.nbytes)
        header[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in order:
        _write_elements(file, to_host(arrays[name]))


def _write_elements(file: IO[bytes], array: NDArray[Any]) -> None:
    little = array.dtype.newbyteorder("<")
    if array.flags.c_contiguous and array.dtype == little:
        file.write(array.reshape(-1).view(np.uint8).data)
    elif array.nbytes <= _BLOCK:
        file.write(np.ascontiguousarray(array, little).reshape(-1).view(np.uint8).data)
    elif len(array) == 1:
        _write_elements(file, array[0])
    else:
        rows = max(1, _BLOCK // array[0].nbytes)
        for first in range(0, len(array), rows):
            _write_elements(file, array[first : first + rows])
