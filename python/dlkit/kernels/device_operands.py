"""Checks of device arrays, before their addresses go to kernels: device, dtype, shape, layout, overlap.

Kernels see addresses alone, so that everything they rely on is made sure of here, in the words that the CPU's kernels
use. Nothing here waits for a device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.kernels import recording
from dlkit.kernels.backend import Backend, backend_of, is_device_array, mixed_devices

CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
"""dtypes by name, as the modules of kernels number them."""

_MOST = 2**31 - 1


def text(shape: tuple[int, ...]) -> str:
    """Return a shape as errors show it."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def common_backend(operation: str, *arrays: tuple[str, Any]) -> Backend:
    """Return the backend of arrays that are on one device; those that are None are left out.

    Raises
    ------
    TypeError
        If one is no device array, or on another device.
    """
    given = [(argument, array) for argument, array in arrays if array is not None]
    device_first = sorted(given, key=lambda pair: not is_device_array(pair[1]))
    first, array = device_first[0]
    for argument, other in given:
        if not is_device_array(other) and not isinstance(other, np.ndarray):
            there = backend_of(array).device(array)
            raise TypeError(
                f"{operation}: {argument} is a {type(other).__name__}; expected an array on {there}, as {first} is"
            )
    error = mixed_devices(operation, given)
    if error is not None:
        raise error
    return backend_of(array)


def code(
    operation: str, argument: str, array: Any, accepted: tuple[str, ...] = ("float32", "float64")
) -> int:
    """Return the number of an array's dtype.

    Raises
    ------
    TypeError
        If it is not one of those accepted.
    """
    name = array.dtype.name
    if name not in accepted:
        expected = " or ".join(", ".join(accepted).rsplit(", ", 1))
        raise TypeError(f"{operation}: {argument} has dtype {name}; expected {expected}")
    return CODES[name]


def same_dtype(operation: str, first: tuple[str, Any], other: tuple[str, Any]) -> None:
    """Raise TypeError unless two arrays have one dtype."""
    if first[1].dtype != other[1].dtype:
        raise TypeError(
            f"{operation}: {first[0]} is {first[1].dtype.name} but {other[0]} is {other[1].dtype.name}; "
            "expected one dtype"
        )


def same_shape(operation: str, first: tuple[str, Any], other: tuple[str, Any]) -> None:
    """Raise ValueError unless two arrays have one shape."""
    if first[1].shape != other[1].shape:
        raise ValueError(
            f"{operation}: {first[0]} is {text(first[1].shape)} but {other[0]} is {text(other[1].shape)}; "
            "expected one shape"
        )


def pointer(array: Any) -> int:
    """Return the address of an array, 0 for None. A recording keeps what it has the address of."""
    if array is None:
        return 0
    recording.keep(array)
    return int(array.data.ptr)


def contiguous(backend: Backend, array: Any) -> Any:
    """Return the array itself if its elements lie in row-major order and are aligned, else a copy that does."""
    if array.flags.c_contiguous and array.data.ptr % array.itemsize == 0:
        return array
    return array.copy() if array.flags.c_contiguous else backend.xp.ascontiguousarray(array)


def extent(array: Any) -> tuple[int, int]:
    """Return the first address of an array and the one after its last."""
    begin = int(array.data.ptr)
    if not array.size:
        return begin, begin
    end = begin + array.itemsize
    for size, stride in zip(array.shape, array.strides, strict=True):
        if stride < 0:
            begin += (size - 1) * stride
        else:
            end += (size - 1) * stride
    return begin, end


def overlap(one: Any, other: Any) -> bool:
    """Return whether the memory that two arrays span has bytes in common."""
    (a, b), (c, d) = extent(one), extent(other)
    return a < d and c < b


def repeats_elements(array: Any) -> bool:
    """Return whether elements of an array may share memory with each other, as after broadcasting."""
    span = array.itemsize
    steps = sorted(
        (abs(stride), size) for size, stride in zip(array.shape, array.strides, strict=True) if size > 1
    )
    for step, size in steps:
        if step < span:
            return bool(array.size)
        span += step * (size - 1)
    return False


class Output:
    """Where a kernel writes: a contiguous array, and what becomes of it.

    Parameters
    ----------
    backend, operation
        Of the call.
    out : array or None
        What the caller wants the result in; a new array for None.
    shape, dtype
        Of the result.
    inputs : tuples of (argument, array)
        What `out` must not overlap.
    in_place : bool
        Whether `out` may be one of the inputs itself.
    keep : bool
        Whether the kernel reads what `out` holds.

    Raises
    ------
    TypeError, ValueError
        If `out` is of another dtype or shape, or overlaps an input or itself.
    """

    def __init__(
        self,
        backend: Backend,
        operation: str,
        out: Any,
        shape: tuple[int, ...],
        dtype: Any,
        inputs: tuple[tuple[str, Any], ...] = (),
        in_place: bool = True,
        keep: bool = False,
    ) -> None:
        self.result = out
        if out is None:
            self.result = self.target = backend.xp.empty(shape, dtype)
            return
        if out.dtype != dtype:
            raise TypeError(
                f"{operation}: out has dtype {out.dtype.name}; expected {np.dtype(dtype).name}, as the inputs have"
            )
        if out.shape != shape:
            raise ValueError(f"{operation}: out is {text(out.shape)}; expected {text(shape)}")
        if repeats_elements(out):
            raise ValueError(
                f"{operation}: out has elements that share memory; expected an array that owns each element once"
            )
        for argument, array in inputs:
            if array is None or not overlap(out, array):
                continue
            same = (
                out.data.ptr == array.data.ptr and out.strides == array.strides and out.shape == array.shape
            )
            if not (in_place and same):
                expected = f"{argument} itself or memory of its own" if in_place else "memory of its own"
                raise ValueError(f"{operation}: out overlaps {argument}; expected {expected}")
        plain = out.flags.c_contiguous and out.data.ptr % out.itemsize == 0
        if plain:
            self.target = out
        else:
            self.target = backend.xp.ascontiguousarray(out) if keep else backend.xp.empty(shape, dtype)
            if self.target is out:
                self.target = out.copy()

    def done(self) -> Any:
        """Return the result, once the kernel has been launched."""
        if self.target is not self.result:
            np.copyto(self.result, self.target)
        return self.result
