"""Elements and parts of tensors by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import TensorBase, make, mark_changed, normal_dim, operand, record, shape_text, share
from dlkit.autograd.mode import mode

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


def _plain(index: Any) -> Any:
    if isinstance(index, TensorBase):
        return index._array
    if isinstance(index, tuple):
        return tuple(_plain(part) for part in index)
    return index


def _kept(index: Any) -> tuple[Any, tuple[TensorBase, ...] | None]:
    # The index for use in the backward pass: arrays and lists copied, for they may be changed until then; and the
    # tensors in it, whose changes are noticed.
    if isinstance(index, tuple):
        parts = [_kept(part) for part in index]
        tensors = tuple(tensor for _, some in parts for tensor in some or ())
        return tuple(part for part, _ in parts), tensors or None
    if isinstance(index, TensorBase):
        return index._array, (index,)
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
    where = _plain(index)
    try:
        out = x[where]
    except IndexError as error:
        raise IndexError(f"indexing: {error} (the tensor is {shape_text(x.shape)})") from None
    basic = _is_basic(where)
    if basic and out.__class__ is not np.ndarray:
        # A single element as a view, too, not as a number.
        out = x[(*where, ...) if isinstance(where, tuple) else (where, ...)]
    if not a._tracked or not mode.enabled:
        return share(a, make(out)) if basic else make(out)
    shape, saved = x.shape, None
    if not basic:
        where, saved = _kept(index)

    def backward(g: Array) -> tuple[Array]:
        full = np.zeros(shape, g.dtype)
        if basic:
            full[where] = g
        else:
            np.add.at(full, where, g)
        return (full,)

    result = record("index", out, (a,), backward, saved)
    return share(a, result) if basic else result


def setitem(a: Tensor, index: Any, value: Any) -> None:
    """``a[index] = value``, in place. Not recorded: see `Tensor.copy_` for when it is allowed."""
    a._changeable("setitem", value)
    array, where, other = a._array, _plain(index), operand(value, a, "setitem", "value")._array
    if other.dtype.kind == "f" and array.dtype.kind != "f":
        raise TypeError(f"setitem: value is {other.dtype} but the tensor is {array.dtype}; expected integers")
    try:
        array[where] = other
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
    where = np.array(index) if not isinstance(index, TensorBase) else index._array
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
    places = list(np.ogrid[tuple(slice(0, size) for size in where.shape)])
    places[d] = where
    place = tuple(places)
    if not a._tracked or not mode.enabled:
        return make(x[place])
    shape = x.shape

    def backward(g: Array) -> tuple[Array]:
        full = np.zeros(shape, g.dtype)
        np.add.at(full, place, g)
        return (full,)

    return record("gather", x[place], (a,), backward, (index,) if isinstance(index, TensorBase) else None)
