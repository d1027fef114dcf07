"""Functions of one tensor, element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import constant, make, operand, record, require_float, unbroadcast, whole
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import mixed_devices

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_NEEDS_INPUT = frozenset(("silu", "gelu"))


def activate(a: Tensor, kind: str, alpha: float | None = None) -> Tensor:
    """Apply an activation of `dlkit.kernels.activation`, by name."""
    x = a._array
    if x.dtype.kind != "f":
        x = require_float(a, kind)
    if a._tracked and alpha is not None and alpha < 0:
        return _steep(a, kind, alpha)
    out = kernels.activation(x, kind, alpha=alpha)
    if not a._tracked or not mode.enabled:
        return make(out)
    if kind in _NEEDS_INPUT:
        return record(
            kind, out, (a,), lambda g: (kernels.activation_backward(g, kind, x=x, alpha=alpha),), (a,)
        )
    return record(kind, out, (a,), lambda g: (kernels.activation_backward(g, kind, y=out, alpha=alpha),))


def _steep(a: Tensor, kind: str, alpha: float) -> Tensor:
    # With a negative slope the output does not tell on which side of 0 the input was.
    x = a._array
    out = kernels.activation(x, kind, alpha=alpha)
    if not mode.enabled:
        return make(out)
    if kind == "elu":
        return record(
            kind,
            out,
            (a,),
            lambda g: (g * np.where(x > 0, x.dtype.type(1), alpha * np.exp(x)).astype(x.dtype),),
            (a,),
        )
    return record(kind, out, (a,), lambda g: (np.where(x > 0, g, g * x.dtype.type(alpha)),), (a,))


def relu(a: Tensor) -> Tensor:
    """max(a, 0). Gradient: g where a is positive, else 0."""
    return activate(a, "relu")


def sigmoid(a: Tensor) -> Tensor:
    """1 / (1 + exp(-a)). Gradient: g y (1 - y)."""
    return activate(a, "sigmoid")


def tanh(a: Tensor) -> Tensor:
    """Hyperbolic tangent. Gradient: g (1 - y^2)."""
    return activate(a, "tanh")


def exp(a: Tensor) -> Tensor:
    """e^a. Gradient: g y."""
    return activate(a, "exp")


def log(a: Tensor) -> Tensor:
    """Natural logarithm. Gradient: g / a."""
    x = require_float(a, "log")
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.log(x)
    if not a._tracked or not mode.enabled:
        return make(out)
    return record("log", out, (a,), lambda g: (g / x,), (a,))


def log1p(a: Tensor) -> Tensor:
    """log(1 + a), exact near 0. Gradient: g / (1 + a)."""
    x = require_float(a, "log1p")
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.log1p(x)
    if not a._tracked or not mode.enabled:
        return make(out)
    return record("log1p", out, (a,), lambda g: (g / (1 + x),), (a,))


def sqrt(a: Tensor) -> Tensor:
    """Square root. Gradient: g / (2 y)."""
    with np.errstate(invalid="ignore"):
        out = whole(np.sqrt(require_float(a, "sqrt")))
    if not a._tracked or not mode.enabled:
        return make(out)
    return record("sqrt", out, (a,), lambda g: (g / (out + out),))


def sin(a: Tensor) -> Tensor:
    """Sine, of radians. Gradient: g cos(a)."""
    x = require_float(a, "sin")
    if not a._tracked or not mode.enabled:
        return make(np.sin(x))
    return record("sin", np.sin(x), (a,), lambda g: (g * np.cos(x),), (a,))


def cos(a: Tensor) -> Tensor:
    """Cosine, of radians. Gradient: -g sin(a)."""
    x = require_float(a, "cos")
    if not a._tracked or not mode.enabled:
        return make(np.cos(x))
    return record("cos", np.cos(x), (a,), lambda g: (-g * np.sin(x),), (a,))


def abs(a: Tensor) -> Tensor:
    """Absolute value. Gradient: g sign(a), 0 at 0."""
    x = a._array
    if not a._tracked or not mode.enabled:
        return make(np.abs(x))
    return record("abs", np.abs(x), (a,), lambda g: (g * np.sign(x),), (a,))


def square(a: Tensor) -> Tensor:
    """a^2. Gradient: 2 g a."""
    return a**2


def clamp(a: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Bring every element into [min, max]. Gradient: g inside, bounds included, else 0.

    Raises
    ------
    ValueError
        If neither bound is given.
    """
    if min is None and max is None:
        raise ValueError("clamp: min and max are None; expected at least one bound")
    x = a._array
    out = x
    if min is not None:
        out = np.maximum(out, x.dtype.type(min) if x.dtype.kind == "f" else min)
    if max is not None:
        out = np.minimum(out, x.dtype.type(max) if x.dtype.kind == "f" else max)
    if not a._tracked or not mode.enabled:
        return make(out)

    def backward(g: Array) -> tuple[Array]:
        inside: Any = True
        if min is not None:
            inside = x >= min
        if max is not None:
            inside = (x <= max) & inside
        return (g * inside,)

    return record("clamp", out, (a,), backward, (a,))


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Take elements of `a` where `condition` holds, else of `b`; all three broadcast.

    Parameters
    ----------
    condition : Tensor or array of bool
    a, b : Tensor, array or number
        At least one a tensor, or both numbers.
    """
    from dlkit.autograd.arithmetic import _pair
    from dlkit.autograd.base import TensorBase, as_array

    like = next((t._array for t in (condition, a, b) if isinstance(t, TensorBase)), None)
    mask = as_array(condition, "where", "condition", like=like)
    if mask.dtype.kind != "b":
        raise TypeError(
            f"where: condition is an array of {mask.dtype}; expected bool (compare it with something)"
        )
    if not isinstance(a, TensorBase):
        a = (
            operand(a, b, "where")
            if isinstance(b, TensorBase)
            else make(as_array(a, "where", "a", like=like))
        )
    x_tensor, y_tensor = _pair(a, b, "where")
    x, y = x_tensor._array, y_tensor._array
    try:
        out = np.where(mask, x, y)
    except TypeError as error:
        raise (mixed_devices("where", [("condition", mask), ("a", x), ("b", y)]) or error) from None
    except ValueError:
        raise ValueError(
            f"where: condition is {mask.shape}, a is {x.shape} and b is {y.shape}: shapes do not broadcast"
        ) from None
    p, q = x_tensor._tracked, y_tensor._tracked
    if not (p or q) or not mode.enabled:
        return make(out)

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        return (
            unbroadcast(np.where(mask, g, g.dtype.type(0)), x.shape) if p else None,
            unbroadcast(np.where(mask, g.dtype.type(0), g), y.shape) if q else None,
        )

    if isinstance(condition, TensorBase):
        return record("where", out, (x_tensor, y_tensor), backward, (condition,))
    if mask is condition:
        mask = mask.copy()  # whose array it is may change it before the backward pass
    return record("where", out, (x_tensor, y_tensor), backward)


def masked_fill(a: Tensor, mask: Any, value: float) -> Tensor:
    """Put `value` where `mask` holds. Gradient: g elsewhere."""
    return where(mask, make(constant(value, a._array.dtype, a._array)), a)
