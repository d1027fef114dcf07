from __future__ import annotations

import gzip
import os
import struct
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlkit.data import DataError, DataNotFoundError, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(folder: Path, data: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("dtype", list(CODES))
def test_reads_every_type(tmp_path, pack, dtype):
    wanted = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found = read_idx(write(tmp_path, pack(idx_bytes(wanted))))
    assert found.dtype == wanted.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, wanted)
    found[0, 0, 0] = 7  # writable


@given(
    array=hnp.arrays(
        dtype=st.sampled_from([np.dtype(code) for code in CODES]),
        shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    ),
    packed=st.booleans(),
)
def test_round_trip(tmp_path_factory, array, packed):
    data = idx_bytes(array)
    path = write(tmp_path_factory.mktemp("idx"), gzip.compress(data) if packed else data)
    found = read_idx(path)
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


@given(st.binary(max_size=64))
def test_any_bytes_give_an_array_or_a_data_error(tmp_path_factory, data):
    path = write(tmp_path_factory.mktemp("idx"), data)
    try:
        found = read_idx(path)
    except DataError as error:
        told = str(path) in str(error)
    else:
        told = idx_bytes(found) == data
    assert told


@given(cut=st.integers(0, 39), packed=st.booleans())
def test_every_truncation_is_told(tmp_path_factory, cut, packed):
    data = idx_bytes(PIXELS)
    assert len(data) == 40
    data = data[:cut]
    path = write(tmp_path_factory.mktemp("idx"), gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match="cut short") as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_truncation_names_given_and_expected_sizes(tmp_path):
    path = write(tmp_path, idx_bytes(PIXELS)[:-5])
    with pytest.raises(DataError, match=r"35 bytes, expected 40 for shape \(2, 3, 4\) of uint8"):
        read_idx(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_trailing_bytes(tmp_path, pack):
    path = write(tmp_path, pack(idx_bytes(PIXELS) + b"x"))
    with pytest.raises(DataError, match="too long"):
        read_idx(path)


@pytest.mark.parametrize(
    "magic",
    [b"\x00\x00\x07\x01", b"\x01\x00\x08\x01", b"\x00\x01\x08\x01", b"\x89PNG", b"\x00\x00\x0f\x01"],
)
def test_wrong_magic(tmp_path, magic):
    path = write(tmp_path, magic + b"\0\0\0\x01x")
    with pytest.raises(DataError, match=f"magic number is 0x{magic.hex()}, expected"):
        read_idx(path)


@pytest.mark.parametrize("dimensions", [0, 9, 255])
def test_wrong_number_of_dimensions(tmp_path, dimensions):
    path = write(tmp_path, bytes([0, 0, 8, dimensions]) + bytes(4 * dimensions))
    with pytest.raises(DataError, match=f"{dimensions} dimensions, expected 1 to 8"):
        read_idx(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", [(1 << 32) - 1, 1 << 30])
def test_lying_sizes_cost_no_memory(tmp_path, pack, shape):
    data = struct.pack(">BBBB2I", 0, 0, 0x0E, 2, shape, 2**20) + b"abc"
    path = write(tmp_path, pack(data))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"limit of \d+ bytes"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_lying_size_under_the_limit_is_checked_against_the_file(tmp_path):
    header = struct.pack(">BBBB2I", 0, 0, 0x08, 2, 1000, 1000)
    with pytest.raises(DataError, match="15 bytes, expected 1000012"):
        read_idx(write(tmp_path, header + b"abc"))
    with pytest.raises(DataError, match="cannot hold more than"):
        read_idx(write(tmp_path, gzip.compress(header + b"abc")))


def test_gzip_bomb_is_not_unpacked(tmp_path):
    bomb = gzip.compress(idx_bytes(PIXELS) + bytes(200 << 20), compresslevel=9)
    assert len(bomb) < 1 << 20
    path = write(tmp_path, bomb)
    tracemalloc.start()
    with pytest.raises(DataError, match="too long"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_max_bytes(tmp_path):
    path = write(tmp_path, idx_bytes(PIXELS))
    assert read_idx(path, max_bytes=24).shape == (2, 3, 4)
    with pytest.raises(DataError, match="24 bytes: more than the limit of 23 bytes"):
        read_idx(path, max_bytes=23)


@given(position=st.integers(10, 10_000), bit=st.integers(0, 7))
def test_corrupt_gzip_never_gives_wrong_pixels(tmp_path_factory, position, bit):
    wanted = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    data = bytearray(gzip.compress(idx_bytes(wanted), mtime=0))
    data[10 + position % (len(data) - 10)] ^= 1 << bit
    path = write(tmp_path_factory.mktemp("idx"), bytes(data))
    with pytest.raises(DataError):
        read_idx(path)


def test_truncated_gzip(tmp_path):
    data = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)))
    for cut in (3, 12, len(data) // 2, len(data) - 4):
        path = write(tmp_path, data[:cut])
        with pytest.raises(DataError, match=r"cut short|corrupt"):
            read_idx(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")
    write(tmp_path, b"", "plain")
    with pytest.raises(DataNotFoundError):
        read_idx(tmp_path / "plain" / "below")


def test_folder(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_named_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    outcome: list[BaseException] = []

    def attempt() -> None:
        try:
            read_idx(tmp_path / "pipe")
        except DataError as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    assert outcome
    assert "not a regular file" in str(outcome[0])


def test_permission_denied(tmp_path, monkeypatch):
    path = write(tmp_path, idx_bytes(PIXELS))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match="permission"):
        read_idx(path)
