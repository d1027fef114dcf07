"""Sums, means and extremes over some or all dimensions."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit.autograd.base import constant, make, normal_dim, record, require_float, shape_text, whole
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import namespace

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


class Extreme(NamedTuple):
    """What `max` and `min` along a dimension return."""

    values: Tensor
    indices: Tensor


def _either(dim: Any, axis: Any, op: str) -> Any:
    if axis is None:
        return dim
    if dim is not None:
        raise TypeError(f"{op}: dim and axis are given; they mean the same, expected one")
    return axis


def _axes(dim: Any, axis: Any, ndim: int, op: str) -> tuple[int, ...] | None:
    dim = _either(dim, axis, op)
    if dim is None:
        return None
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = tuple(normal_dim(d, ndim, op) for d in dims)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: dim is {tuple(dims)}; expected each dimension once")
    return axes if ndim else None


def _kept(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    if axes is None:
        return (1,) * len(shape)
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def _spread(g: Array, shape: tuple[int, ...], kept: tuple[int, ...]) -> Array:
    full: Array = namespace(g).empty(shape, g.dtype)
    full[...] = g.reshape(kept)
    return full


def sum(
    a: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Sum over the dimensions `dim` (an integer, several, or None for all). Gradient: g, broadcast back."""
    x = a._array
    axes = None if dim is None and axis is None else _axes(dim, axis, x.ndim, "sum")
    out = x.sum(axis=axes, keepdims=keepdim or keepdims)
    if not a._tracked or not mode.enabled:
        return make(out)
    shape = x.shape
    kept = _kept(shape, axes)
    return record("sum", out, (a,), lambda g: (_spread(g, shape, kept),))


def mean(
    a: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Mean over the dimensions `dim`. Gradient: g / count, broadcast back. Of no elements it is NaN."""
    x = a._array
    if x.dtype.kind != "f":
        raise TypeError(f"mean: the tensor is of dtype {x.dtype}; expected floats (use .float())")
    axes = None if dim is None and axis is None else _axes(dim, axis, x.ndim, "mean")
    total = x.sum(axis=axes, keepdims=keepdim or keepdims)
    count = x.size // total.size if total.size else 1
    scale = 1 / count if count else float("nan")
    out = total * x.dtype.type(scale)
    if not a._tracked or not mode.enabled:
        return make(out)
    shape = x.shape
    kept = _kept(shape, axes)
    return record("mean", out, (a,), lambda g: (_spread(g * x.dtype.type(scale), shape, kept),))


def var(
    a: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """Variance over the dimensions `dim`: the squared distances from the mean, summed, over count - correction.

    `correction` is 1 by default, 0 with ``unbiased=False``.
    """
    dim, keepdim = _either(dim, axis, "var"), keepdim or keepdims
    taken = (1.0 if unbiased else 0.0) if correction is None else correction
    centred = a - mean(a, dim, True)
    axes = _axes(dim, None, a.ndim, "var")
    count = a._array.size if axes is None else int(np.prod([a._array.shape[i] for i in axes]))
    freedom = count - taken
    return sum(centred * centred, dim, keepdim) * (1 / freedom if freedom > 0 else float("nan"))


def std(
    a: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """Standard deviation: the square root of `var`."""
    return var(a, dim, unbiased, keepdim, correction=correction, axis=axis, keepdims=keepdims).sqrt()


def max(
    a: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Any:
    """The largest element; with `dim`, a pair (values, indices) along it.

    Gradient: shared evenly by the elements that are largest; with `dim`, for the one whose index is returned.
    """
    return _extreme(a, _either(dim, axis, "max"), keepdim or keepdims, "max")


def min(
    a: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Any:
    """The smallest element; with `dim`, a pair (values, indices) along it. Gradients as in `max`."""
    return _extreme(a, _either(dim, axis, "min"), keepdim or keepdims, "min")


def _extreme(a: Tensor, dim: Any, keepdim: bool, op: str) -> Any:
    x = a._array
    if x.size == 0 and (dim is None or x.shape[normal_dim(dim, x.ndim, op)] == 0):
        raise ValueError(f"{op}: the tensor is {shape_text(x.shape)}; expected at least one element")
    if dim is None:
        out = whole(x.max() if op == "max" else x.min())
        if not a._tracked or not mode.enabled:
            return make(out)

        def backward(g: Array) -> tuple[Array]:
            chosen = (x == out) | (np.isnan(x) & np.isnan(out))
            return (chosen * (g / np.count_nonzero(chosen)).astype(x.dtype),)

        return record(op, out, (a,), backward, (a,))
    d = normal_dim(dim, x.ndim, op)
    if x.ndim == 0:
        return Extreme(a.clone(), make(constant(0, np.int64, x)))
    indices = np.expand_dims(x.argmax(axis=d) if op == "max" else x.argmin(axis=d), d)
    values = np.take_along_axis(x, indices, axis=d)
    if not keepdim:
        values = values.squeeze(d)
    shown = make(indices if keepdim else indices.squeeze(d))
    if not a._tracked or not mode.enabled:
        return Extreme(make(values), shown)
    shape = x.shape

    def backward_along(g: Array) -> tuple[Array]:
        g = g.reshape(indices.shape)
        if x.__class__ is np.ndarray:
            full = np.zeros(shape, g.dtype)
            np.put_along_axis(full, indices, g, axis=d)
            return (full,)
        numbers = namespace(x).arange(shape[d]).reshape([-1 if k == d else 1 for k in range(len(shape))])
        return (np.where(numbers == indices, g, g.dtype.type(0)),)

    return Extreme(record(op, values, (a,), backward_along), shown)


def argmax(
    a: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The index of the largest element, in the flattened tensor or along `dim`."""
    return _index_of(a, _either(dim, axis, "argmax"), keepdim or keepdims, "argmax")


def argmin(
    a: Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The index of the smallest element, in the flattened tensor or along `dim`."""
    return _index_of(a, _either(dim, axis, "argmin"), keepdim or keepdims, "argmin")


def _index_of(a: Tensor, dim: int | None, keepdim: bool, op: str) -> Tensor:
    x = a._array
    d = None if dim is None else normal_dim(dim, x.ndim, op)
    if x.size == 0 and (d is None or x.shape[d] == 0):
        raise ValueError(f"{op}: the tensor is {shape_text(x.shape)}; expected at least one element")
    out = whole(x.argmax(d) if op == "argmax" else x.argmin(d))
    if keepdim:
        out = out.reshape((1,) * x.ndim) if d is None else np.expand_dims(out, d) if x.ndim else out
    return make(out)


def all(
    a: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Whether every element is true (not 0), over all or along `dim`."""
    x = a._array
    return make(x.all(axis=_axes(dim, axis, x.ndim, "all"), keepdims=keepdim or keepdims))


def any(
    a: Tensor, dim: Any = None, keepdim: bool = False, *, axis: Any = None, keepdims: bool = False
) -> Tensor:
    """Whether an element is true (not 0), over all or along `dim`."""
    x = a._array
    return make(x.any(axis=_axes(dim, axis, x.ndim, "any"), keepdims=keepdim or keepdims))


def logsumexp(a: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """log(sum(exp(a))) along `dim`, without overflow. Gradient: g softmax(a)."""
    x = require_float(a, "logsumexp")
    d = normal_dim(dim, x.ndim, "logsumexp")
    if x.size:
        top = x.max(axis=d, keepdims=True)
    else:
        top = namespace(x).full([1 if k == d else n for k, n in enumerate(x.shape)], -np.inf, x.dtype)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    with np.errstate(divide="ignore", over="ignore"):
        powers = np.exp(x - top)
        total = powers.sum(axis=d, keepdims=True)
        full = np.log(total) + top
    out = full if keepdim else full.squeeze(d)
    if not a._tracked or not mode.enabled:
        return make(out)
    return record("logsumexp", out, (a,), lambda g: (g.reshape(total.shape) * (powers / total),))


def norm(a: Tensor, p: float = 2.0, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The p-norm over all elements or over the dimensions `dim`; p may be ``inf``.

    Gradient: g sign(a) (abs(a) / norm)^(p-1); 0 where the norm is 0, and for p below 1 where the element is 0.
    """
    if not p > 0:
        raise ValueError(f"norm: p is {p}; expected more than 0")
    if p == float("inf"):
        size = a.abs()
        largest: Tensor = max(size) if dim is None else max(size, dim, keepdim).values
        return largest.reshape((1,) * a.ndim) if dim is None and keepdim else largest
    x = require_float(a, "norm")
    axes = _axes(dim, None, x.ndim, "norm")
    if p == 2:
        full = np.sqrt((x * x).sum(axis=axes, keepdims=True))
    else:
        full = (np.abs(x) ** builtins.float(p)).sum(axis=axes, keepdims=True) ** builtins.float(1 / p)
    out = full if keepdim else np.squeeze(full, axes)
    if not a._tracked or not mode.enabled:
        return make(out)

    def backward(g: Array) -> tuple[Array]:
        scale = np.where(full == 0, x.dtype.type(1), full)
        if p == 2:
            slope = x / scale
        else:
            size = np.where(x == 0, x.dtype.type(p < 1), np.abs(x) / scale)
            slope = np.sign(x) * size ** builtins.float(p - 1)
        return (slope * g.reshape(full.shape),)

    return record("norm", out, (a,), backward, (a,))
