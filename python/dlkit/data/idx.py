"""Reader of the IDX format (the MNIST files), plain or gzip-compressed.

The format (LeCun, Cortes and Burges, *The MNIST database*): two zero bytes, a type code, the number of
dimensions, one big-endian uint32 per dimension, then the elements, big-endian, last dimension fastest.

Every file is treated as hostile: nothing the header says is believed before it is checked against what the
file can hold, and no more memory is used than the checked size.
"""

from __future__ import annotations

import gzip
import os
import stat
import struct
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, DataNotFoundError

_DTYPES: dict[int, str] = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 8
# RFC 1951: a deflate stream cannot expand by more than a factor of 1032.
_MAX_DEFLATE_RATIO = 1032
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 1 << 31) -> NDArray[Any]:
    """Read an IDX file, gzip-compressed or not (told by its first bytes, not by its name).

    Parameters
    ----------
    path
        The file.
    max_bytes
        Largest payload accepted, in bytes after decompression (default 2 GiB). A header that asks for more
        is an error, so that a small hostile file cannot fill the memory.

    Returns
    -------
    ndarray
        A new, writable array in native byte order with the shape of the header: uint8, int8, int16, int32,
        float32 or float64.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        The file is not IDX, is cut short, has bytes left over, claims a size that it cannot hold, or its
        gzip stream is corrupt. The message names the file, what was found and what was expected.
    """
    name = os.fspath(path)
    size = _regular_file_size(name)
    try:
        with open(name, "rb") as raw:
            if raw.read(2) != b"\x1f\x8b":
                raw.seek(0)
                return _read(raw, name, stored=size, compressed=False, max_bytes=max_bytes)
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                # GzipFile is a binary reader; typeshed does not say so.
                return _read(unpacked, name, stored=size, compressed=True, max_bytes=max_bytes)  # type: ignore[arg-type]
    except EOFError as error:
        raise DataError(f"read_idx: {name}: the gzip stream is cut short ({size} bytes on disk)") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"read_idx: {name}: the gzip stream is corrupt ({error})") from error
    except PermissionError as error:
        raise DataError(f"read_idx: {name}: permission to read it is denied") from error


def _regular_file_size(name: str) -> int:
    try:
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataNotFoundError(f"read_idx: {name}: no such file") from error
    if not stat.S_ISREG(status.st_mode):
        # A FIFO or a terminal would block for ever, a folder cannot be read.
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise DataError(f"read_idx: {name} is {kind}, expected an IDX file")
    return status.st_size


def _read(file: IO[bytes], name: str, *, stored: int, compressed: bool, max_bytes: int) -> NDArray[Any]:
    magic = _exactly(file, 4, name, "the 4-byte magic number")
    zeros, code, dimensions = magic[:2], magic[2], magic[3]
    if zeros != b"\0\0" or code not in _DTYPES:
        codes = ", ".join(f"0x{c:02x}" for c in _DTYPES)
        raise DataError(
            f"read_idx: {name}: magic number is 0x{magic.hex()}, expected 0x0000TTDD with type TT in "
            f"{{{codes}}} and DD dimensions: this is not an IDX file"
        )
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise DataError(
            f"read_idx: {name}: header says {dimensions} dimensions, expected 1 to {_MAX_DIMENSIONS}"
        )
    sizes = _exactly(file, 4 * dimensions, name, f"{dimensions} dimension sizes")
    shape = struct.unpack(f">{dimensions}I", sizes)

    dtype = np.dtype(_DTYPES[code])
    payload = dtype.itemsize
    for extent in shape:
        payload *= extent
    header = 4 + 4 * dimensions
    if payload > max_bytes:
        raise DataError(
            f"read_idx: {name}: header says shape {shape} of {dtype.name}, {payload} bytes: more than the "
            f"limit of {max_bytes} bytes (max_bytes)"
        )
    if compressed:
        room = stored * _MAX_DEFLATE_RATIO
        if header + payload > room:
            raise DataError(
                f"read_idx: {name}: header says shape {shape} of {dtype.name}, {payload} bytes, but a gzip "
                f"file of {stored} bytes cannot hold more than {room}"
            )
    elif header + payload != stored:
        what = "cut short" if stored < header + payload else "too long"
        raise DataError(
            f"read_idx: {name} is {what}: {stored} bytes, expected {header + payload} for shape {shape} "
            f"of {dtype.name}"
        )

    buffer = np.empty(payload, dtype=np.uint8)
    view = buffer.data
    done = 0
    while done < payload:
        chunk = file.read(min(_CHUNK, payload - done))
        if not chunk:
            raise DataError(
                f"read_idx: {name} is cut short: {header + done} bytes, expected {header + payload} for "
                f"shape {shape} of {dtype.name}"
            )
        view[done : done + len(chunk)] = chunk
        done += len(chunk)
    # Asking for one byte more finds trailing bytes without unpacking them, and makes gzip verify its CRC.
    if file.read(1):
        raise DataError(
            f"read_idx: {name} is too long: more than {header + payload} bytes, which is all that shape "
            f"{shape} of {dtype.name} needs"
        )
    array = buffer.view(dtype).reshape(shape)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _exactly(file: IO[bytes], count: int, name: str, what: str) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise DataError(f"read_idx: {name} is cut short: expected {what}, found {len(data)} bytes")
    return data
