"""Elements and parts of tensors by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import TensorBase, make, mark_changed, normal_dim, record, shape_text
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
    if not a._tracked or not mode.enabled:
        return make(out)
    shape, basic = x.shape, _is_basic(where)

    def backward(g: Array) -> tuple[Array]:
        full = np.zeros(shape, g.dtype)
        if basic:
            full[where] = g
        else:
            np.add.at(full, where, g)
        return (full,)

    return record("index", out, (a,), backward)


def setitem(a: Tensor, index: Any, value: Any) -> None:
    """``a[index] = value``, in place. Not recorded: see `Tensor.copy_` for when it is allowed."""
    a._changeable("setitem")
    try:
        a._array[_plain(index)] = _plain(value)
    except IndexError as error:
        raise IndexError(f"indexing: {error} (the tensor is {shape_text(a._array.shape)})") from None
    mark_changed(a)


def gather(a: Tensor, dim: int, index: Any) -> Tensor:
    """Take along `dim` the elements whose numbers are in `index`, an integer tensor of as many dimensions.

    ``out[i][j] = a[index[i][j]][j]`` for ``dim = 0``. Gradient: g, added up at the elements taken.
    """
    x = a._array
    where = np.asarray(_plain(index))
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

    return record("gather", x[place], (a,), backward)
