from __future__ import annotations

import errno
import json
import os
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dlkit.train import CheckpointError, RunFolderError, load_checkpoint, save_checkpoint

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "int32",
    "int64",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
]

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    )
)
keys = st.text(max_size=6).filter(lambda key: not key.startswith("__")) | st.integers(-5, 100)
states = st.dictionaries(
    st.text(max_size=6).filter(lambda key: not key.startswith("__")),
    st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(keys, inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(states)
def test_round_trip(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("checkpoint") / "file"
    assert save_checkpoint(path, state) == path
    assert same(load_checkpoint(path), state)


def test_floats_keep_their_bits(tmp_path):
    values = [0.1, 1 / 3, np.nextafter(1.0, 2.0), 5e-324, 1.7976931348623157e308, -0.0, float("inf")]
    save_checkpoint(tmp_path / "c", {"values": [float(v) for v in values], "nan": float("nan")})
    found = load_checkpoint(tmp_path / "c")
    assert [struct.pack("<d", v) for v in found["values"]] == [struct.pack("<d", v) for v in values]
    assert np.isnan(found["nan"])


def test_arrays_are_writable_and_contiguous(tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    save_checkpoint(tmp_path / "c", {"t": base.T, "step": base[::2, ::3], "swapped": base.astype(">f4")})
    found = load_checkpoint(tmp_path / "c")
    np.testing.assert_array_equal(found["t"], base.T)
    np.testing.assert_array_equal(found["step"], base[::2, ::3])
    np.testing.assert_array_equal(found["swapped"], base)
    for array in found.values():
        array[0, 0] = 5
        assert array.flags.c_contiguous
        assert array.dtype.isnative


def test_numpy_scalars_become_plain_numbers(tmp_path):
    save_checkpoint(tmp_path / "c", {"a": np.float64(0.1), "b": np.int32(3), "c": np.bool_(True)})
    assert same(load_checkpoint(tmp_path / "c"), {"a": 0.1, "b": 3, "c": True})


def test_opens_with_safetensors(tmp_path):
    from safetensors.numpy import load_file

    weight = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    save_checkpoint(tmp_path / "c", {"model": {"0.weight": weight}})
    np.testing.assert_array_equal(load_file(tmp_path / "c")["state.model.0.weight"], weight)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": object()}}, "state.a.b is a object"),
        ({"a": [1, {2, 3}]}, "state.a.1 is a set"),
        ({"a": np.zeros(2, complex)}, "state.a has dtype complex128"),
        ({"a": np.array(["x"])}, "state.a has dtype <U1"),
        ({"a": np.array([object()])}, "state.a has dtype object"),
        ({"a": {1.5: 1}}, "state.a has the key 1.5"),
        ({"__array__": 1}, "state has the key '__array__'"),
    ],
)
def test_what_cannot_be_kept(tmp_path, state, message):
    with pytest.raises(TypeError, match=message):
        save_checkpoint(tmp_path / "c", state)
    assert not (tmp_path / "c").exists()


@pytest.fixture
def good(tmp_path):
    random = np.random.default_rng(0)
    return save_checkpoint(
        tmp_path / "good",
        {"model": {"w": random.normal(size=(5, 7)), "b": random.normal(size=5)}, "epoch": 3},
    )


def test_every_truncation_is_told(good, tmp_path):
    data = good.read_bytes()
    cut = tmp_path / "cut"
    for length in range(0, len(data), 7):
        cut.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"cut short|not a checkpoint|damaged") as caught:
            load_checkpoint(cut)
        assert str(cut) in str(caught.value)


def test_truncation_names_the_sizes(good):
    data = good.read_bytes()
    good.write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match=f"cut short: {len(data) - 1} bytes, expected {len(data)}"):
        load_checkpoint(good)


def test_every_changed_byte_is_told(good, tmp_path):
    """Not one flipped bit may reach the weights."""
    data = good.read_bytes()
    changed = tmp_path / "changed"
    for position in range(len(data)):
        wrong = bytearray(data)
        wrong[position] ^= 0x10
        changed.write_bytes(wrong)
        try:
            found = load_checkpoint(changed)
        except CheckpointError:
            continue
        # Only names of no consequence (padding) may differ without notice: the state must be the same.
        assert same(found, load_checkpoint(good)), f"byte {position}"


@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_checkpoint_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("c") / "file"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{}",
        b"null",
        b'{"__metadata__": 3}',
        b'{"__metadata__": {}, "x": {"data_offsets": "no"}}',
        b'{"__metadata__": {"format": "dlkit-checkpoint-1"}, "x": {"data_offsets": [0, 0]}}',
        b"[" * 5000,
        b"\xff\xfe",
    ],
)
def test_hostile_headers(tmp_path, header):
    path = tmp_path / "file"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_header_that_claims_gigabytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="claim a header of 1099511627776 bytes"):
        load_checkpoint(path)


def test_weights_are_no_checkpoint(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "weights")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "weights")
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "weights", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="format 'pt', expected 'dlkit-checkpoint-1'"):
        load_checkpoint(tmp_path / "weights")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path)


def test_full_disk_keeps_the_old_checkpoint(good, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = good.read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunFolderError, match="disk is full"):
        save_checkpoint(good, {"epoch": 4})
    assert good.read_bytes() == before
    assert os.listdir(good.parent) == ["good"]


def test_memory_beside_the_arrays(tmp_path):
    state = {"weights": [np.ones((50_000, 64), np.float32)] * 2}  # 26 MB
    save_checkpoint(tmp_path / "c", {"a": np.zeros(1)})  # what is imported for it is no memory of the arrays
    tracemalloc.start()
    save_checkpoint(tmp_path / "c", state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "c")["weights"][1], state["weights"][1])


def test_without_safetensors(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "dlkit\[cli\]"'):
        save_checkpoint(tmp_path / "c", {})


def test_metadata_is_json(good):
    data = good.read_bytes()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert metadata["format"] == "dlkit-checkpoint-1"
    assert json.loads(metadata["state"])["epoch"] == 3
