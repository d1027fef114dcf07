"""Sums, means and extremes over some or all dimensions."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit.autograd.base import make, normal_dim, record, shape_text
from dlkit.autograd.mode import mode

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


class Extreme(NamedTuple):
    """What `max` and `min` along a dimension return."""

    values: Tensor
    indices: Tensor


def _axes(dim: Any, axis: Any, ndim: int, op: str) -> tuple[int, ...] | None:
    if dim is None:
        dim = axis
    elif axis is not None:
        raise TypeError(f"{op}: dim and axis are given; they mean the same, expected one")
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
    full = np.empty(shape, g.dtype)
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
) -> Tensor:
    """Variance over the dimensions `dim`: the squared distances from the mean, summed, over count - correction.

    `correction` is 1 by default, 0 with ``unbiased=False``.
    """
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
) -> Tensor:
    """Standard deviation: the square root of `var`."""
    return var(a, dim, unbiased, keepdim, correction=correction).sqrt()


def max(a: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with `dim`, a pair (values, indices) along it.

    Gradient: shared evenly by the elements that are largest; with `dim`, for the one whose index is returned.
    """
    return _extreme(a, dim, keepdim, "max")


def min(a: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with `dim`, a pair (values, indices) along it. Gradients as in `max`."""
    return _extreme(a, dim, keepdim, "min")


def _extreme(a: Tensor, dim: Any, keepdim: bool, op: str) -> Any:
    x = a._array
    if x.size == 0 and (dim is None or x.shape[normal_dim(dim, x.ndim, op)] == 0):
        raise ValueError(f"{op}: the tensor is {shape_text(x.shape)}; expected at least one element")
    if dim is None:
        out = np.asarray(x.max() if op == "max" else x.min())
        if not a._tracked or not mode.enabled:
            return make(out)

        def backward(g: Array) -> tuple[Array]:
            chosen = x == out if out == out else np.isnan(x)
            return (chosen * (g / np.count_nonzero(chosen)).astype(x.dtype),)

        return record(op, out, (a,), backward, (a,))
    d = normal_dim(dim, x.ndim, op)
    if x.ndim == 0:
        return Extreme(a.clone(), make(np.zeros((), np.int64)))
    indices = np.expand_dims(x.argmax(axis=d) if op == "max" else x.argmin(axis=d), d)
    values = np.take_along_axis(x, indices, axis=d)
    if not keepdim:
        values = values.squeeze(d)
    shown = make(indices if keepdim else indices.squeeze(d))
    if not a._tracked or not mode.enabled:
        return Extreme(make(values), shown)
    shape = x.shape

    def backward_along(g: Array) -> tuple[Array]:
        full = np.zeros(shape, g.dtype)
        np.put_along_axis(full, indices, g.reshape(indices.shape), axis=d)
        return (full,)

    return Extreme(record(op, values, (a,), backward_along), shown)


def argmax(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the largest element, in the flattened tensor or along `dim`."""
    return _index_of(a, dim, keepdim, "argmax")


def argmin(a: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element, in the flattened tensor or along `dim`."""
    return _index_of(a, dim, keepdim, "argmin")


def _index_of(a: Tensor, dim: int | None, keepdim: bool, op: str) -> Tensor:
    x = a._array
    d = None if dim is None else normal_dim(dim, x.ndim, op)
    if x.size == 0 and (d is None or x.shape[d] == 0):
        raise ValueError(f"{op}: the tensor is {shape_text(x.shape)}; expected at least one element")
    out = np.asarray(x.argmax(d) if op == "argmax" else x.argmin(d))
    if keepdim and d is not None:
        out = np.expand_dims(out, d)
    return make(out)


def all(a: Tensor, dim: Any = None) -> Tensor:
    """Whether every element is true (not 0), over all or along `dim`."""
    return make(a._array.all(axis=_axes(dim, None, a._array.ndim, "all")))


def any(a: Tensor, dim: Any = None) -> Tensor:
    """Whether an element is true (not 0), over all or along `dim`."""
    return make(a._array.any(axis=_axes(dim, None, a._array.ndim, "any")))


def logsumexp(a: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """log(sum(exp(a))) along `dim`, without overflow. Gradient: g softmax(a)."""
    x = a._array
    d = normal_dim(dim, x.ndim, "logsumexp")
    top = x.max(axis=d, keepdims=True)
    top = np.where(np.isfinite(top), top, x.dtype.type(0))
    powers = np.exp(x - top)
    total = powers.sum(axis=d, keepdims=True)
    with np.errstate(divide="ignore"):
        full = np.log(total) + top
    out = full if keepdim else full.squeeze(d)
    if not a._tracked or not mode.enabled:
        return make(out)
    return record("logsumexp", out, (a,), lambda g: (g.reshape(total.shape) * (powers / total),))


def norm(a: Tensor, p: float = 2.0, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The p-norm over all elements or over the dimensions `dim`; p may be ``inf``."""
    if p == float("inf"):
        size = a.abs()
        return max(size) if dim is None else max(size, dim, keepdim).values  # type: ignore[no-any-return]
    if p == 2:
        return sum(a * a, dim, keepdim).sqrt()
    if p == 1:
        return sum(a.abs(), dim, keepdim)
    return sum(a.abs() ** builtins.float(p), dim, keepdim) ** (1 / p)
