"""safetensors files: to PyTorch and back, byte for byte, and what a hostile one gets."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl
from dlkit import nn

pytest.importorskip("safetensors")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2, bias=False), nn.Tanh()))


def file_of(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file by hand: length of the header, header in JSON, data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


_DTYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">i8"]


class TestThereAndBack:
    def test_module(self, tmp_path: Path) -> None:
        model = network()
        path = tmp_path / "model.safetensors"
        nn.save_safetensors(model, path)
        assert os.listdir(tmp_path) == ["model.safetensors"]
        state = nn.load_safetensors(str(path))
        assert set(state) == set(model.state_dict())
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(state[name], value)
            assert state[name].dtype == value.dtype
            assert state[name].flags.writeable
        other = network()
        other.load_state_dict(state)
        x = dl.ones(2, 4)
        np.testing.assert_array_equal(other(x).data, model(x).data)

    @pytest.mark.parametrize(
        "dtype", ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">i8"]
    )
    def test_dtypes(self, dtype: str, tmp_path: Path) -> None:
        array = np.arange(-3, 3).astype(dtype).reshape(2, 3)
        nn.save_safetensors({"a": array}, tmp_path / "file")
        back = nn.load_safetensors(tmp_path / "file")["a"]
        np.testing.assert_array_equal(back, array)
        assert back.dtype == np.dtype(dtype).newbyteorder("=")

    def test_layouts(self, tmp_path: Path) -> None:
        base = np.arange(24, dtype=np.float32).reshape(4, 6)
        arrays = {
            "transposed": base.T,
            "strided": base[::2, ::-1],
            "fortran": np.asfortranarray(base),
            "scalar": np.array(3.5),
            "empty": np.zeros((0, 3), np.float32),
            "list": [1.0, 2.0],
            "broadcast": np.broadcast_to(np.float32(2), (2, 2)),
            "number": 3,
        }
        nn.save_safetensors({**arrays, "tensor": dl.ones(2, requires_grad=True) * 2}, tmp_path / "file")
        back = nn.load_safetensors(tmp_path / "file")
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array)
            assert back[name].shape == np.shape(array)
        assert back["tensor"].tolist() == [2, 2]

    def test_names_of_any_letters(self, tmp_path: Path) -> None:
        names = ["", "a.b.c", "größe", "名前", 'quo"te\\', "line\nbreak", "x" * 1000]
        nn.save_safetensors({name: np.array([float(i)]) for i, name in enumerate(names)}, tmp_path / "file")
        assert {n: v.item() for n, v in nn.load_safetensors(tmp_path / "file").items()} == {
            name: i for i, name in enumerate(names)
        }

    def test_nothing(self, tmp_path: Path) -> None:
        nn.save_safetensors({}, tmp_path / "file")
        assert nn.load_safetensors(tmp_path / "file") == {}

    def test_the_bytes_of_the_package(self, tmp_path: Path) -> None:
        library = pytest.importorskip("safetensors.numpy")
        state = network().state_dict()
        nn.save_safetensors(state, tmp_path / "file", {"made by": "dlkit"})
        assert (tmp_path / "file").read_bytes() == library.save(dict(state), {"made by": "dlkit"})

    def test_memory_beside_the_arrays(self, tmp_path: Path) -> None:
        wide = np.ones((100_000, 64), np.float32)  # 26 MB
        nn.save_safetensors({}, tmp_path / "file")  # what is imported for it is no memory of the arrays
        tracemalloc.start()
        nn.save_safetensors({"whole": wide, "columns": wide[:, :50]}, tmp_path / "file")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8e6
        np.testing.assert_array_equal(nn.load_safetensors(tmp_path / "file")["columns"], wide[:, :50])

    def test_metadata_is_in_the_header(self, tmp_path: Path) -> None:
        nn.save_safetensors({"a": np.zeros(1)}, tmp_path / "file", {"made by": "dlkit"})
        content = (tmp_path / "file").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        assert json.loads(content[8 : 8 + length])["__metadata__"] == {"made by": "dlkit"}
        assert list(nn.load_safetensors(tmp_path / "file")) == ["a"]

    def test_a_file_made_by_hand(self, tmp_path: Path) -> None:
        weight, bias = np.arange(6, dtype="<f4").reshape(2, 3), np.array([7, 8], "<f4")
        header = {"bias": entry("F32", [2], 24, 32), "weight": entry("F32", [2, 3], 0, 24)}
        (tmp_path / "file").write_bytes(file_of(header, weight.tobytes() + bias.tobytes()))
        layer = nn.Linear(3, 2)
        layer.load_state_dict(nn.load_safetensors(tmp_path / "file"))
        np.testing.assert_array_equal(layer.weight.data, weight)
        np.testing.assert_array_equal(layer.bias.data, bias)


class TestPyTorch:
    def make(self, torch: Any) -> Any:
        return torch.nn.Sequential(
            torch.nn.Linear(4, 3),
            torch.nn.ReLU(),
            torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), torch.nn.Tanh()),
        )

    def test_there(self, torch: Any, tmp_path: Path, rng: np.random.Generator) -> None:
        library = pytest.importorskip("safetensors.torch")
        ours, theirs = network(), self.make(torch)
        nn.save_safetensors(ours, tmp_path / "file")
        state = library.load_file(tmp_path / "file")
        theirs.load_state_dict(state)  # strict: the same names and shapes
        x = rng.standard_normal((5, 4)).astype(np.float32)
        np.testing.assert_allclose(
            theirs(torch.tensor(x)).detach().numpy(), ours(dl.tensor(x)).data, rtol=1e-5, atol=1e-6
        )

    def test_back(self, torch: Any, tmp_path: Path, rng: np.random.Generator) -> None:
        library = pytest.importorskip("safetensors.torch")
        ours, theirs = network(), self.make(torch)
        library.save_file(theirs.state_dict(), tmp_path / "file")
        ours.load_state_dict(nn.load_safetensors(tmp_path / "file"))
        x = rng.standard_normal((5, 4)).astype(np.float32)
        np.testing.assert_allclose(
            theirs(torch.tensor(x)).detach().numpy(), ours(dl.tensor(x)).data, rtol=1e-5, atol=1e-6
        )

    def test_saving_pytorchs_tensors(self, torch: Any, tmp_path: Path) -> None:
        theirs = self.make(torch)
        nn.save_safetensors(theirs.state_dict(), tmp_path / "a")
        nn.save_safetensors(dict(theirs.named_parameters()), tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_bfloat16_is_refused_in_words(self, torch: Any, tmp_path: Path) -> None:
        library = pytest.importorskip("safetensors.torch")
        library.save_file({"a": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "file")
        with pytest.raises(
            ValueError, match=r"holds a dtype that NumPy has not \(.*bfloat16.*\); convert it to float32"
        ):
            nn.load_safetensors(tmp_path / "file")


_F32 = entry("F32", [2], 0, 8)
_HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "shorter than a length": b"\x01\x02\x03",
    "length alone": struct.pack("<Q", 10),
    "length of half the address space": struct.pack("<Q", 2**63) + b"{}",
    "largest length": b"\xff" * 8 + b"{}",
    "length past the end": struct.pack("<Q", 50_000_000) + b"{}",
    "header cut short": file_of({"a": _F32})[:-3],
    "header that is no JSON": file_of(b"certainly not JSON"),
    "header that is no text": file_of(b"\xff\xfe\x00{}"),
    "header that is a list": file_of([1, 2]),
    "header that is nested deep": file_of(b"[" * 200_000),
    "entries that are nested deep": file_of(b'{"a":' * 50_000),
    "entry that is a number": file_of({"a": 3}),
    "entry without offsets": file_of({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "entry without dtype": file_of({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "unknown dtype": file_of({"a": entry("Q4", [2], 0, 8)}, bytes(8)),
    "dtype that NumPy has not": file_of({"a": entry("BF16", [2], 0, 4)}, bytes(4)),
    "dtype of eight bits": file_of({"a": entry("F8_E4M3", [2], 0, 2)}, bytes(2)),
    "dtype that does not fit the size": file_of({"a": entry("F64", [2], 0, 8)}, bytes(8)),
    "shape that does not fit the size": file_of({"a": entry("F32", [3], 0, 8)}, bytes(8)),
    "shape below 0": file_of({"a": entry("F32", [-2], 0, 8)}, bytes(8)),
    "shape that overflows": file_of({"a": entry("F32", [2**62, 8], 0, 8)}, bytes(8)),
    "shape that overflows to 0": file_of({"a": entry("F32", [2**32, 2**32], 0, 0)}),
    "huge shape of no data": file_of({"a": entry("F32", [2**40], 0, 2**42)}),
    "fractional shape": file_of({"a": entry("F32", [2.5], 0, 8)}, bytes(8)),  # type: ignore[list-item]
    "offset past the end": file_of({"a": entry("F32", [4], 0, 16)}, bytes(8)),
    "offset below 0": file_of({"a": entry("F32", [2], -8, 0)}, bytes(8)),
    "offsets in the wrong order": file_of({"a": entry("F32", [2], 8, 0)}, bytes(8)),
    "offset that overflows": file_of({"a": entry("F32", [2], 2**64 - 8, 2**64)}, bytes(8)),
    "three offsets": file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}}, bytes(8)),
    "tensors that overlap": file_of({"a": _F32, "b": entry("F32", [2], 4, 12)}, bytes(12)),
    "tensors in one place": file_of({"a": _F32, "b": _F32}, bytes(8)),
    "a hole between tensors": file_of({"a": _F32, "b": entry("F32", [2], 12, 20)}, bytes(20)),
    "more data than tensors": file_of({"a": _F32}, bytes(9)),
    "less data than tensors": file_of({"a": _F32}, bytes(7)),
    "one name twice": file_of(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "one name twice, in one place": file_of(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "metadata that is no text": file_of({"__metadata__": {"a": 1}, "a": _F32}, bytes(8)),
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94.",
    "a zip": b"PK\x03\x04" + bytes(60),
}


class TestHostileFiles:
    @pytest.mark.parametrize("content", _HOSTILE.values(), ids=_HOSTILE)
    def test_each_is_a_clear_error(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "hostile.safetensors"
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"^load_safetensors: .*hostile\.safetensors (is no complete|holds a|has 'a')"
        ):
            nn.load_safetensors(path)

    def test_every_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        nn.save_safetensors(nn.Linear(2, 2), path)
        content = path.read_bytes()
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(ValueError, match="is no complete safetensors file"):
                nn.load_safetensors(path)

    @given(data=st.data())
    def test_every_flipped_byte(self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
        # An error, or arrays: of what is in the file nothing else can become.
        path = tmp_path_factory.mktemp("flipped") / "file"
        nn.save_safetensors({"w": np.ones((3, 2), np.float32), "n": np.arange(3)}, path, {"a": "b"})
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        try:
            state = nn.load_safetensors(path)
        except ValueError as error:
            assert str(error).startswith("load_safetensors: ")  # noqa: PT017
        else:
            assert sum(array.nbytes for array in state.values()) <= len(content)

    def test_complex_numbers_are_refused_when_they_are_loaded_into_a_module(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(file_of({"factor": entry("C64", [1], 0, 8)}, bytes(8)))
        state = nn.load_safetensors(tmp_path / "file")
        with pytest.raises(TypeError, match="weight is an array of complex64"):
            nn.Linear(1, 1).load_state_dict({"weight": state["factor"].reshape(1, 1), "bias": np.zeros(1)})

    def test_a_file_of_another_model(self, tmp_path: Path) -> None:
        nn.save_safetensors(nn.Linear(2, 2), tmp_path / "file")
        with pytest.raises(ValueError, match=r"missing: 0\.weight.*unexpected: .*weight"):
            network().load_state_dict(nn.load_safetensors(tmp_path / "file"))

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            nn.load_safetensors(tmp_path / "nothing")
        with pytest.raises(IsADirectoryError):
            nn.load_safetensors(tmp_path)


class TestSavingErrors:
    def test_what_was_there_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "file"
        nn.save_safetensors({"a": np.ones(3)}, path)
        before = path.read_bytes()

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            nn.save_safetensors({"a": np.zeros(300)}, path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["file"]

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            nn.save_safetensors({"a": np.ones(3)}, tmp_path / "nothing" / "file")

    def test_values(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        for wrong in ("text", None, np.zeros(2, complex), object()):
            with pytest.raises(TypeError, match=r"save_safetensors: a\.b is .*; expected"):
                nn.save_safetensors({"a.b": wrong}, path)
        with pytest.raises(TypeError, match=r"save_safetensors: 3 is a int; expected names that are strings"):
            nn.save_safetensors({3: np.ones(1)}, path)  # type: ignore[dict-item]
        with pytest.raises(
            TypeError, match=r"save_safetensors: state is a list; expected a Module or a mapping"
        ):
            nn.save_safetensors([np.ones(1)], path)  # type: ignore[arg-type]
        with pytest.raises(
            ValueError, match=r"save_safetensors: the name '__metadata__' is the format's own"
        ):
            nn.save_safetensors({"__metadata__": np.ones(1)}, path)
        with pytest.raises(TypeError, match=r"save_safetensors: metadata has 'epoch': 3; expected strings"):
            nn.save_safetensors({}, path, {"epoch": 3})  # type: ignore[dict-item]
        assert os.listdir(tmp_path) == []

    def test_without_the_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
        nn.save_safetensors({"a": np.ones(3)}, tmp_path / "file")  # writing does without
        with pytest.raises(ImportError, match=r"pip install \"dlkit\[cli\]\""):
            nn.load_safetensors(tmp_path / "file")
