"""dlkit.data.safetensors_file: the package's bytes, without its memory."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest

from dlkit.data.safetensors_file import write_safetensors

DTYPES = ["bool", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8"]


def written(arrays: dict[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    write_safetensors(file, arrays, metadata)
    return file.getvalue()


@pytest.mark.parametrize("metadata", [None, {}, {"größe": 'a "text"\n\x01'}])
def test_the_bytes_of_the_package(metadata: dict[str, str] | None) -> None:
    library = pytest.importorskip("safetensors.numpy")
    names = [
        "z",
        "",
        "größe",
        "名",
        "\U0001f600",
        "\uffff",
        'quo"te\\',
        "line\nbreak\x7f\x01",
        "b",
        "a.b",
        "/",
        "B",
    ]
    arrays = {
        name + kind: np.arange(at, at + 5, dtype=np.int64).astype(kind)
        for at, name in enumerate(names)
        for kind in DTYPES
    }
    arrays |= {"scalar": np.array(3.5), "empty": np.zeros((0, 3), np.float32), "cube": np.ones((2, 3, 4))}
    assert written(arrays, metadata) == library.save(arrays, metadata or None)
    assert written({}, metadata) == library.save({}, metadata or None)


@pytest.mark.parametrize("kind", ["<f4", ">f8", "u1"])
def test_any_layout_in_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("safetensors.numpy")
    monkeypatch.setattr("dlkit.data.safetensors_file._BLOCK", 40)
    base = np.arange(960).reshape(8, 4, 30).astype(kind)
    arrays = {
        "columns": base[:, :, :7],
        "transposed": base.T,
        "back": base[::-1, ::2, ::-3],
        "one row": base[:1].transpose(0, 2, 1),
        "one number": base[0, 0, 0],
        "fortran": np.asfortranarray(base),
        "broadcast": np.broadcast_to(base[0], (3, 4, 30)),
    }
    read = library.load(written(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].shape == array.shape


def test_another_dtype_is_refused_before_anything_is_written() -> None:
    file = io.BytesIO()
    with pytest.raises(TypeError, match="b is an array of complex128; expected real numbers"):
        write_safetensors(file, {"a": np.ones(2), "b": np.ones(2, complex)})
    assert file.getvalue() == b""


def test_arrays_come_from_their_device_one_at_a_time() -> None:
    order: list[int] = []

    def taken(array: Any) -> Any:
        order.append(len(array))
        return np.asarray(array)

    write_safetensors(io.BytesIO(), {"a": np.ones(3, np.float32), "b": np.ones(2)}, None, taken)
    assert order == [2, 3]


def test_memory_beside_the_arrays(tmp_path: Any) -> None:
    wide = np.ones((200_000, 64), np.float32)  # 51 MB
    with open(tmp_path / "file", "wb") as file:
        tracemalloc.start()
        write_safetensors(file, {"whole": wide, "columns": wide[:, :50], "transposed": wide[:, :4].T})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10e6
