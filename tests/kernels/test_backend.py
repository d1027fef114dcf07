"""python/dlkit/kernels/backend.py: what callers pass becomes arrays that kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlkit.kernels.backend import BACKENDS, as_array, check_backend, nearest


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
