"""Arrays of the SIMT machine: an emulated GPU's memory, with the part of CuPy's interface that dlkit uses.

The machine runs the CUDA kernels on the CPU, so its memory is the computer's own; but a `SimtArray` keeps to what an
array on a GPU can do. It is no NumPy array, does not turn into one unasked (``.get()`` copies it to the host), and
refuses to be mixed with one. What works on it works on CuPy's arrays: functions that CuPy has not, or arguments that
it does not take, are not here either.

This module is to `SimtArray` what ``cupy`` is to ``cupy.ndarray``: ``simt.zeros``, ``simt.asarray``, …
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Host = NDArray[Any]

_ALIGNMENT = 256
"""Bytes that every allocation is aligned to, as a GPU's are: what coalesces there coalesces here."""


class Pointer:
    """What ``array.data`` is: where the memory begins, as in CuPy."""

    __slots__ = ("ptr",)

    def __init__(self, ptr: int) -> None:
        self.ptr = ptr


class Flags:
    """What ``array.flags`` is. As in CuPy there is no ``writeable``."""

    __slots__ = ("c_contiguous", "f_contiguous", "owndata")

    def __init__(self, array: SimtArray) -> None:
        self.c_contiguous: bool = array._host.flags.c_contiguous
        self.f_contiguous: bool = array._host.flags.f_contiguous
        self.owndata: bool = array.base is None


def _aligned(shape: Any, dtype: Any) -> Host:
    kind = np.dtype(dtype)
    if kind.hasobject or kind.kind not in "biufcV":
        raise TypeError(f"Unsupported dtype {kind}")
    extents = (operator.index(shape),) if hasattr(shape, "__index__") else tuple(map(operator.index, shape))
    size = kind.itemsize
    for extent in extents:
        size *= extent
    memory = np.empty(max(size, 0) + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    host: Host = memory[begin : begin + max(size, 0)].view(kind).reshape(extents)
    return host


def _own(values: Any) -> SimtArray:
    # A new array with these values; without a copy where nobody else has their memory and it is aligned.
    host = np.asarray(values)
    if host.base is not None or host.ctypes.data % _ALIGNMENT or not host.flags.c_contiguous:
        copied = _aligned(host.shape, host.dtype)
        copied[...] = host
        host = copied
    return SimtArray._of(host, None)


def _refuse(value: Any) -> NoReturn:
    raise TypeError(f"Unsupported type {type(value)}")


def _operand(value: Any) -> Any:
    # What a function of device arrays takes: one of them, or a number.
    if isinstance(value, SimtArray):
        return value._host
    if isinstance(value, (bool, int, float, np.generic)):
        return value
    _refuse(value)


def _argument(value: Any) -> Any:
    if isinstance(value, SimtArray):
        return value._host
    if isinstance(value, np.ndarray):
        _refuse(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_argument(item) for item in value)
    return value


def _index(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_index(part) for part in value)
    return _argument(value)


def _sources(value: Any) -> Iterator[SimtArray]:
    if isinstance(value, SimtArray):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _sources(item)


def _result(value: Any, sources: Sequence[SimtArray]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_result(item, sources) for item in value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    if isinstance(value, np.ndarray):
        for source in sources:
            if np.may_share_memory(value, source._host):
                return SimtArray._of(value, source if source.base is None else source.base)
    return _own(value)


class SimtArray(NDArrayOperatorsMixin):
    """An array in the memory of the SIMT machine. Made by the functions of this module, not by its class."""

    __slots__ = ("__weakref__", "_host", "base")

    _host: Host
    base: SimtArray | None

    def __init__(self) -> None:
        raise TypeError("SimtArray: expected dlkit.kernels.simt.array(values), or empty, zeros, …")

    @classmethod
    def _of(cls, host: Host, base: SimtArray | None) -> SimtArray:
        array = object.__new__(cls)
        array._host, array.base = host, base
        return array

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return self._host.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """The bytes from one element to the next in each dimension."""
        return self._host.strides

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self._host.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._host.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._host.size

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self._host.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self._host.nbytes

    @property
    def data(self) -> Pointer:
        """Where it is: ``data.ptr``."""
        return Pointer(self._host.ctypes.data)

    @property
    def flags(self) -> Flags:
        """Its layout."""
        return Flags(self)

    @property
    def T(self) -> SimtArray:  # noqa: N802 (NumPy's name)
        """With all dimensions in reverse order."""
        return self.transpose()

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[SimtArray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(self._host)

    def __str__(self) -> str:
        return str(self._host)

    # To the host.

    def get(self) -> Host:
        """Copy it to the host."""
        return np.array(self._host, order="C")

    def set(self, values: Host) -> None:
        """Copy numbers of the host into it."""
        if not isinstance(values, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to SimtArray")
        if values.dtype != self.dtype or values.shape != self.shape:
            raise ValueError(
                f"Shape or dtype mismatch: {values.shape}, {values.dtype}; {self.shape}, {self.dtype}"
            )
        self._host[...] = values

    def item(self) -> Any:
        """The value of an array of one element, as a Python number."""
        return self._host.item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self._host.tolist()

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __index__(self) -> int:
        return operator.index(self._host)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __reduce__(self) -> Any:
        return array, (self.get(),)

    def __copy__(self) -> SimtArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> SimtArray:
        return self.copy()

    # Elements.

    def __getitem__(self, index: Any) -> SimtArray:
        where = _index(index)
        taken = self._host[where]
        if not isinstance(taken, np.ndarray):
            # A single element is a view, too.
            taken = self._host[(*where, ...) if isinstance(where, tuple) else (where, ...)]
        return _result(taken, (self,))  # type: ignore[no-any-return]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_index(index)] = _operand(value)

    def fill(self, value: Any) -> None:
        """Set all elements to a number."""
        self._host.fill(_operand(value))

    # Arrangements and conversions.

    def _method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return _result(getattr(self._host, name)(*args, **kwargs), (self,))

    def reshape(self, *shape: Any) -> SimtArray:
        """The elements in row-major order in another shape: a view where that can be."""
        return self._method("reshape", *shape)  # type: ignore[no-any-return]

    def ravel(self) -> SimtArray:
        """As one dimension: a view where that can be."""
        return self._method("ravel")  # type: ignore[no-any-return]

    def transpose(self, *axes: Any) -> SimtArray:
        """With the dimensions in another order; reversed by default. A view."""
        return self._method("transpose", *axes)  # type: ignore[no-any-return]

    def squeeze(self, axis: Any = None) -> SimtArray:
        """Without dimensions of size 1. A view."""
        return self._method("squeeze", axis)  # type: ignore[no-any-return]

    def view(self, dtype: Any = None) -> SimtArray:
        """The same memory, as another dtype if one is given."""
        return self._method("view") if dtype is None else self._method("view", dtype)  # type: ignore[no-any-return]

    def copy(self) -> SimtArray:
        """A copy, in row-major order."""
        return _own(np.array(self._host, order="C"))

    def astype(self, dtype: Any, copy: bool = True) -> SimtArray:
        """As another dtype; the array itself where nothing changes and `copy` is False."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        with np.errstate(all="ignore"):
            return _own(self._host.astype(dtype, order="C"))

    # Reductions. The arguments are those of CuPy: there is no `initial`.

    def _reduced(self, name: str, axis: Any, keepdims: bool, **more: Any) -> SimtArray:
        with np.errstate(all="ignore"):
            return _own(getattr(self._host, name)(axis=axis, keepdims=keepdims, **more))

    def sum(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> SimtArray:
        """The sum over some or all dimensions."""
        return self._reduced("sum", axis, keepdims, dtype=dtype)

    def mean(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> SimtArray:
        """The mean over some or all dimensions."""
        return self._reduced("mean", axis, keepdims, dtype=dtype)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> SimtArray:
        """The largest element over some or all dimensions."""
        return self._reduced("max", axis, keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> SimtArray:
        """The smallest element over some or all dimensions."""
        return self._reduced("min", axis, keepdims)

    def all(self, axis: Any = None, *, keepdims: bool = False) -> SimtArray:
        """Whether all elements are true."""
        return self._reduced("all", axis, keepdims)

    def any(self, axis: Any = None, *, keepdims: bool = False) -> SimtArray:
        """Whether an element is true."""
        return self._reduced("any", axis, keepdims)

    def argmax(self, axis: Any = None) -> SimtArray:
        """The number of the largest element."""
        return _own(self._host.argmax(axis))

    def argmin(self, axis: Any = None) -> SimtArray:
        """The number of the smallest element."""
        return _own(self._host.argmin(axis))

    # NumPy's protocols.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or ufunc.nout != 1 or not set(kwargs) <= {"out", "dtype", "casting"}:
            return NotImplemented
        operands = [_operand(value) for value in inputs]
        (target,) = kwargs.pop("out", (None,))
        if target is not None and not isinstance(target, SimtArray):
            _refuse(target)
        with np.errstate(all="ignore"):
            if target is None:
                return _own(ufunc(*operands, **kwargs))
            ufunc(*operands, out=target._host, **kwargs)
        return target

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = _FUNCTIONS.get(function)
        if name is None:
            return NotImplemented
        plain = [_argument(value) for value in args]
        named = {key: _argument(value) for key, value in kwargs.items()}
        with np.errstate(all="ignore"):
            result = function(*plain, **named)
        if function is np.copyto:
            return None
        return _result(result, tuple(_sources((*args, *kwargs.values()))))


# NumPy's functions that CuPy has, too, and that dlkit calls: those that are not methods or ufuncs.
_FUNCTIONS: dict[Callable[..., Any], str] = {
    getattr(np, name): name
    for name in (
        *("all", "any", "argmax", "argwhere", "array_equal", "broadcast_to", "clip"),
        *("concatenate", "copyto", "count_nonzero", "cumsum", "diagonal", "empty_like", "expand_dims"),
        *(
            "flatnonzero",
            "full_like",
            "max",
            "may_share_memory",
            "mean",
            "min",
            "moveaxis",
            "ndim",
            "nonzero",
        ),
        *(
            "ones_like",
            "prod",
            "ravel",
            "repeat",
            "reshape",
            "shape",
            "size",
            "split",
            "squeeze",
            "stack",
            "sum",
        ),
        *("swapaxes", "take", "take_along_axis", "transpose", "tril", "triu", "where", "zeros_like"),
    )
}

ndarray = SimtArray


def array(values: Any, dtype: Any = None) -> SimtArray:
    """Copy an array of the host or of the machine, a number or a nested list into a new array."""
    host = values._host if isinstance(values, SimtArray) else np.asarray(values)
    copied = _aligned(host.shape, host.dtype if dtype is None else dtype)
    copied[...] = host
    return SimtArray._of(copied, None)


def asarray(values: Any, dtype: Any = None) -> SimtArray:
    """As `array`, but an array of the machine is returned as it is where the dtype fits."""
    if isinstance(values, SimtArray) and dtype in (None, values.dtype):
        return values
    return array(values, dtype)


def asnumpy(values: Any) -> Host:
    """Copy an array to the host."""
    return values.get() if isinstance(values, SimtArray) else np.asarray(values)


def ascontiguousarray(values: SimtArray, dtype: Any = None) -> SimtArray:
    """The array itself if its elements lie in row-major order, else a copy that does."""
    if values.flags.c_contiguous and dtype in (None, values.dtype):
        return values
    return array(values, dtype)


def empty(shape: Any, dtype: Any = float) -> SimtArray:
    """An array whose contents are undefined: filled with a pattern, so that nobody takes them for zeros."""
    host = _aligned(shape, dtype)
    host.reshape(-1).view(np.uint8).fill(0xA5)
    return SimtArray._of(host, None)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> SimtArray:
    """An array with every element the same number."""
    value = fill_value._host if isinstance(fill_value, SimtArray) else np.asarray(fill_value)
    host = _aligned(shape, value.dtype if dtype is None else dtype)
    host[...] = value
    return SimtArray._of(host, None)


def zeros(shape: Any, dtype: Any = float) -> SimtArray:
    """An array of zeros."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = float) -> SimtArray:
    """An array of ones."""
    return full(shape, 1, dtype)


def arange(*bounds: Any, dtype: Any = None) -> SimtArray:
    """Evenly spaced numbers: ``arange(stop)``, ``arange(start, stop, step)``."""
    return array(np.arange(*bounds, dtype=dtype))
