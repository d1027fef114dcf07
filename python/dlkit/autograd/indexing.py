"""Elements and parts of tensors by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import TensorBase, make, mark_changed, normal_dim, operand, record, shape_text, share
from dlkit.autograd.mode import mode
from dlkit.kernels import recording
from dlkit.kernels.backend import backend_of, device_of, is_device_array, mixed_devices, move, namespace

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


def _plain(index: Any, x: Array) -> Any:
    # The index without tensors in it; arrays and lists on the device of the array to index.
    if isinstance(index, TensorBase):
        index = index._array
    if isinstance(index, tuple):
        return tuple(_plain(part, x) for part in index)
    if x.__class__ is np.ndarray:
        if is_device_array(index):
            raise TypeError(
                f"indexing: the index is on {device_of(index)} but the tensor is on cpu; expected one device"
            )
        return index
    if isinstance(index, (np.ndarray, list)):
        index = move(np.array(index, None if len(index) else np.intp), device_of(x))
    return index


def _check_bounds(where: Any, x: Array) -> None:
    # CuPy takes numbers out of range modulo the size. To look at them means to wait for the device.
    if backend_of(x).name != "cuda" or recording.active():
        return
    dimension = 0
    for part in where if isinstance(where, tuple) else (where,):
        if part is Ellipsis:
            return  # what follows counts from the end: rare, and left to CuPy
        if part is None:
            continue
        if is_device_array(part):
            size = x.shape[dimension] if dimension < x.ndim else 0
            if part.dtype.kind == "b":
                dimension += part.ndim
                continue
            if part.size and not -size <= int(part.min()) <= int(part.max()) < size:
                raise IndexError(
                    f"indexing: the index holds {int(part.min())} to {int(part.max())}; expected -{size} to {size - 1} "
                    f"(the tensor is {shape_text(x.shape)})"
                )
        dimension += 1


def _kept(index: Any) -> tuple[Any, tuple[TensorBase, ...] | None]:
    # The index for use in the backward pass: arrays and lists copied, for they may be changed until then; and the
    # tensors in it, whose changes are noticed.
    if isinstance(index, tuple):
        parts = [_kept(part) for part in index]
        tensors = tuple(tensor for _, some in parts for tensor in some or ())
        return tuple(part for part, _ in parts), tensors or None
    if isinstance(index, TensorBase):
        return index._array, (index,)
    if is_device_array(index):
        return index.copy(), None
    if isinstance(index, (np.ndarray, list)):
        return np.array(index, None if len(index) else np.intp) if isinstance(
            index, list
        ) else index.copy(), None
    return index, None


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (int, slice, np.integer)) for part in parts
    ) and not any(isinstance(part, bool) for part in parts)


def getitem(a: Tensor, index: Any) -> Tensor:
    """``a[index]``, as NumPy indexes: a view for integers and slices, a copy for arrays and masks.

    Gradient: g at the elements taken, added up where one was taken more than once.
    """
    x = a._array
    where = _plain(index, x)
    basic = _is_basic(where)
    if not basic and x.__class__ is not np.ndarray:
        _check_bounds(where, x)
    try:
        out = x[where]
    except IndexError as error:
        raise IndexError(f"indexing: {error} (the tensor is {shape_text(x.shape)})") from None
    if basic and x.__class__ is np.ndarray and out.__class__ is not np.ndarray:
        # A single element as a view, too, not as a number.
        out = x[(*where, ...) if isinstance(where, tuple) else (where, ...)]
    if not a._tracked or not mode.enabled:
        return share(a, make(out)) if basic else make(out)
    shape, saved = x.shape, None
    if not basic:
        kept, saved = _kept(index)
        where = _plain(kept, x)

    def backward(g: Array) -> tuple[Array]:
        full = namespace(g).zeros(shape, g.dtype)
        if basic:
            full[where] = g
        else:
            backend_of(full).add_at(full, where, g)
        return (full,)

    result = record("index", out, (a,), backward, saved)
    return share(a, result) if basic else result


def setitem(a: Tensor, index: Any, value: Any) -> None:
    """``a[index] = value``, in place. Not recorded: see `Tensor.copy_` for when it is allowed."""
    a._changeable("setitem", value)
    array, where, other = a._array, _plain(index, a._array), operand(value, a, "setitem", "value")._array
    if other.dtype.kind == "f" and array.dtype.kind != "f":
        raise TypeError(f"setitem: value is {other.dtype} but the tensor is {array.dtype}; expected integers")
    try:
        if array.__class__ is not np.ndarray and not _is_basic(where):
            _check_bounds(where, array)
        array[where] = other
    except TypeError as error:
        raise (mixed_devices("setitem", [("the tensor", array), ("value", other)]) or error) from None
    except IndexError as error:
        raise IndexError(f"indexing: {error} (the tensor is {shape_text(array.shape)})") from None
    except ValueError:
        raise ValueError(
            f"setitem: value is {shape_text(other.shape)}; it does not broadcast to {shape_text(array[where].shape)}"
        ) from None
    mark_changed(a)


def gather(a: Tensor, dim: int, index: Any) -> Tensor:
    """Take along `dim` the elements whose numbers are in `index`, an integer tensor of as many dimensions.

    ``out[i][j] = a[index[i][j]][j]`` for ``dim = 0``. Gradient: g, added up at the elements taken.
    """
    x = a._array
    where = _plain(index if isinstance(index, TensorBase) else np.array(index), x)
    d = normal_dim(dim, x.ndim, "gather")
    if where.dtype.kind not in "iu":
        raise TypeError(f"gather: index is of dtype {where.dtype}; expected integers")
    if where.ndim != x.ndim or any(where.shape[k] > x.shape[k] for k in range(x.ndim) if k != d):
        raise ValueError(
            f"gather: index is {shape_text(where.shape)} but the tensor is {shape_text(x.shape)}; expected as many "
            f"dimensions, and no size larger but in dimension {d}"
        )
    if where.size and not 0 <= int(where.min()) <= int(where.max()) < x.shape[d]:
        raise IndexError(
            f"gather: index holds {int(where.min())} to {int(where.max())}; expected 0 to {x.shape[d] - 1}"
        )
    xp, ndim = namespace(x), where.ndim
    places = [
        xp.arange(size).reshape([-1 if k == i else 1 for k in range(ndim)])
        for i, size in enumerate(where.shape)
    ]
    places[d] = where
    place = tuple(places)
    if not a._tracked or not mode.enabled:
        return make(x[place])
    shape = x.shape

    def backward(g: Array) -> tuple[Array]:
        full = namespace(g).zeros(shape, g.dtype)
        backend_of(full).add_at(full, place, g)
        return (full,)

    return record("gather", x[place], (a,), backward, (index,) if isinstance(index, TensorBase) else None)
