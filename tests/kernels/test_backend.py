"""python/dlkit/kernels/backend.py: what callers pass becomes arrays that kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlkit.kernels.backend import (
    BACKENDS,
    as_array,
    backend_of,
    built_backends,
    check_backend,
    device_of,
    is_device_array,
    is_device_name,
    mixed_devices,
    move,
    namespace,
    nearest,
    resolve_device,
    to_host,
)


def test_check_backend() -> None:
    for name in BACKENDS:
        check_backend(name, "op")
    with pytest.raises(
        ValueError, match=r"op: backend is 'simd'; expected one of cpu, cuda, simt \(did you mean"
    ):
        check_backend("simd", "op")


def test_arrays_are_passed_through() -> None:
    class Sub(np.ndarray):
        pass

    for array in (np.ones(3), np.ones((2, 3)).T, np.ones(3).view(Sub)):
        assert as_array(array, "op", "x") is array


class Interface:
    def __init__(self, array: Any) -> None:
        self.__array_interface__ = array.__array_interface__


class Packed:
    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Convertible:
    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


@pytest.mark.parametrize("kind", [Interface, Packed, Convertible])
def test_memory_is_shared(kind: Any) -> None:
    array = np.arange(12.0).reshape(3, 4)[::-1, ::2]
    got = as_array(kind(array), "op", "x")
    assert np.shares_memory(got, array)
    assert got.shape == array.shape
    np.testing.assert_array_equal(got, array)


def test_numbers_become_float64() -> None:
    for value in (3, 2.5, [1, 2], [[1, 2.5]], (np.float32(1), 2), [np.uint8(3)], [], 10**19):
        assert as_array(value, "op", "x").dtype == np.float64
    assert as_array([True], "op", "x").dtype == np.bool_
    assert as_array([1j], "op", "x").dtype == np.complex128
    assert as_array([2**70], "op", "x").dtype == object
    assert as_array(np.float32(1), "op", "x").dtype == np.float32


@pytest.mark.parametrize("value", [{1}, {}, "text", b"bytes", None, object(), range(3), 1j, len])
def test_what_is_no_array(value: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"op: x is a {type(value).__name__}; expected an array \(NumPy, DLPack"
    ):
        as_array(value, "op", "x")


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __dlpack__(self, **arguments: Any) -> Any:
        raise self.error

    def __dlpack_device__(self) -> Any:
        return (1, 0)


def test_what_numpy_cannot_take() -> None:
    for value in ([[1, 2], [3]], [[1], 2], Failing(BufferError("no")), Failing(RuntimeError("no"))):
        text = f"op: x is a {type(value).__name__} that NumPy cannot make an array of: "
        with pytest.raises(TypeError, match=text) as caught:
            as_array(value, "op", "x")
        assert caught.value.__cause__ is not None
    with pytest.raises(KeyboardInterrupt):
        as_array(Failing(KeyboardInterrupt()), "op", "x")  # type: ignore[arg-type]


def test_nearest() -> None:
    assert nearest("rleu", ["relu", "tanh"]) == " (did you mean 'relu'?)"
    assert nearest("zzz", ("relu", "tanh")) == ""
    assert nearest("", []) == ""


def test_backends_by_type(simt: Any) -> None:
    class Sub(np.ndarray):
        pass

    for host in (np.ones(2), np.ones(2).view(Sub), np.float32(1), 1.0, [1], None):
        assert backend_of(host).name == "cpu"
        assert not is_device_array(host)
        assert device_of(host) == "cpu"
        assert namespace(host) is np
    array = simt.ones(2)
    assert backend_of(array).name == "simt"
    assert is_device_array(array)
    assert device_of(array) == "simt"
    assert namespace(array) is simt


def test_a_name_alone_makes_no_device_array() -> None:
    ndarray = type("ndarray", (), {"__module__": "mine"})
    SimtArray = type("SimtArray", (), {"__module__": "mine"})
    assert not is_device_array(ndarray())
    assert not is_device_array(SimtArray())


def test_move(simt: Any, rng: np.random.Generator) -> None:
    host = rng.normal(size=(3, 4))[:, ::2]
    there = move(host, "simt")
    np.testing.assert_array_equal(there.get(), host)
    assert move(there, "simt") is there
    assert move(host, "cpu") is host
    np.testing.assert_array_equal(move(there, "cpu"), host)
    np.testing.assert_array_equal(to_host(there), host)
    assert to_host(host) is host
    assert move(np.array(2.0), "simt").shape == ()


def test_device_names(simt: Any) -> None:
    assert resolve_device("SIMT", "op") == "simt"
    assert all(is_device_name(name) for name in ("cpu", "cuda", "cuda:3", "simt", "CPU"))
    assert not any(is_device_name(name) for name in ("float32", "f4", None, np.float32, "cudax"))
    assert "cpu" in built_backends()


def test_mixed_devices(simt: Any) -> None:
    host, array = np.ones(2), simt.ones(2)
    assert mixed_devices("op", [("a", host), ("b", host)]) is None
    error = mixed_devices("op", [("a", array), ("b", array), ("c", host)])
    assert str(error) == "op: a is on simt but c is on cpu; expected arrays on one device"
    with pytest.raises(
        TypeError, match="op: x is on simt but the other arrays are on cpu; expected arrays on one"
    ):
        as_array(array, "op", "x")


def test_without_the_emulated_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import dlkit
    from dlkit.kernels import backend
    from dlkit.kernels.simt_backend import Simt

    monkeypatch.setitem(sys.modules, "dlkit._simt", None)
    monkeypatch.delattr(dlkit, "_simt", raising=False)
    monkeypatch.setattr(backend, "_BY_NAME", {"cpu": backend.CPU, "simt": Simt()})
    with pytest.raises(
        backend.DeviceUnavailableError, match=r"simt: this build of dlkit has no .*: make build"
    ):
        resolve_device("simt", "op")
