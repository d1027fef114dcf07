"""Sums, products, quotients and powers of tensors that broadcast against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import (
    broadcast_error,
    cast,
    make,
    operand,
    promote,
    record,
    require_float,
    unbroadcast,
)
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import device_of, is_device_array, move

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


def _pair(a: Any, b: Any, op: str) -> tuple[Tensor, Tensor]:
    # The slow way in: one of the two is no tensor of the class of the other, or their dtypes differ.
    if b.__class__ is not a.__class__:
        b = operand(b, a, op)
    if a._array.dtype != b._array.dtype:
        a, b = promote(a, b)
    return a, b


def add(a: Tensor, b: Any) -> Tensor:
    """a + b, broadcast. Gradients: g and g, summed where an operand was broadcast."""
    if b.__class__ is not a.__class__ or a._array.dtype is not b._array.dtype:
        a, b = _pair(a, b, "add")
    x, y = a._array, b._array
    try:
        out = x + y
    except (TypeError, ValueError) as error:
        raise broadcast_error("add", x, y, error) from None
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)
    if x.shape == y.shape:
        return record("add", out, (a, b), lambda g: (g if p else None, g if q else None))
    shapes = x.shape, y.shape

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        return unbroadcast(g, shapes[0]) if p else None, unbroadcast(g, shapes[1]) if q else None

    return record("add", out, (a, b), backward)


def sub(a: Tensor, b: Any) -> Tensor:
    """a - b, broadcast. Gradients: g and -g."""
    if b.__class__ is not a.__class__ or a._array.dtype is not b._array.dtype:
        a, b = _pair(a, b, "sub")
    x, y = a._array, b._array
    if x.dtype.kind == "b":
        raise TypeError("sub: a and b are of dtype bool; expected numbers")
    try:
        out = x - y
    except (TypeError, ValueError) as error:
        raise broadcast_error("sub", x, y, error) from None
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)
    if x.shape == y.shape:
        return record("sub", out, (a, b), lambda g: (g if p else None, -g if q else None))
    shapes = x.shape, y.shape

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        return unbroadcast(g, shapes[0]) if p else None, -unbroadcast(g, shapes[1]) if q else None

    return record("sub", out, (a, b), backward)


def mul(a: Tensor, b: Any) -> Tensor:
    """a b, elementwise and broadcast. Gradients: g b and g a."""
    if b.__class__ is not a.__class__ or a._array.dtype is not b._array.dtype:
        a, b = _pair(a, b, "mul")
    x, y = a._array, b._array
    try:
        out = x * y
    except (TypeError, ValueError) as error:
        raise broadcast_error("mul", x, y, error) from None
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)
    saved = (a, b) if p and q else (b,) if p else (a,)
    if x.shape == y.shape:
        return record("mul", out, (a, b), lambda g: (g * y if p else None, g * x if q else None), saved)

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        return unbroadcast(g * y, x.shape) if p else None, unbroadcast(g * x, y.shape) if q else None

    return record("mul", out, (a, b), backward, saved)


def div(a: Tensor, b: Any) -> Tensor:
    """a / b, broadcast; of integers a float32. Gradients: g / b and -g (a / b) / b."""
    if b.__class__ is not a.__class__ or a._array.dtype is not b._array.dtype:
        a, b = _pair(a, b, "div")
    if a._array.dtype.kind != "f":
        a, b = make(require_float(a, "div")), make(require_float(b, "div"))
    x, y = a._array, b._array
    try:
        out = x / y
    except (TypeError, ValueError) as error:
        raise broadcast_error("div", x, y, error) from None
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        quotient = g / y
        return (
            unbroadcast(quotient, x.shape) if p else None,
            -unbroadcast(quotient * out, y.shape) if q else None,
        )

    return record("div", out, (a, b), backward, (b,))


def pow(a: Tensor, b: Any) -> Tensor:
    """a to the power b, broadcast. Gradients: g b a^(b-1), and g a^b log a (0 where a is 0 and b is not negative)."""
    if b.__class__ in (int, float) and a._array.dtype.kind == "f":
        return _power(a, b)
    a, b = _pair(a, b, "pow")
    x, y = a._array, b._array
    try:
        out = np.power(x, y)
    except (TypeError, ValueError) as error:
        if x.dtype.kind in "iu" and isinstance(error, ValueError):
            raise ValueError(
                f"pow: {str(error).lower().rstrip('.')}; expected floats (use .float())"
            ) from None
        raise broadcast_error("pow", x, y, error) from None
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        by_base = by_exponent = None
        if p:
            lower = np.where(y == 0, y.dtype.type(1), y - 1)
            by_base = unbroadcast(np.where(y == 0, g.dtype.type(0), g * y * np.power(x, lower)), x.shape)
        if q:
            logarithm = np.log(np.where((x == 0) & (y >= 0), x.dtype.type(1), x))
            by_exponent = unbroadcast(g * np.power(x, y) * logarithm, y.shape)
        return by_base, by_exponent

    return record("pow", out, (a, b), backward, (a, b))


def _power(a: Tensor, exponent: float) -> Tensor:
    x = a._array
    squared = exponent == 2
    out = x * x if squared else x**exponent
    if not a._tracked or not mode.enabled:
        return make(out)

    def backward(g: Array) -> tuple[Array, None]:
        if squared:
            return g * (x + x), None
        if exponent == 0:
            return np.zeros_like(x), None
        return g * (exponent * x ** (exponent - 1)), None

    return record("pow", out, (a, operand(exponent, a, "pow")), backward, (a,))


def neg(a: Tensor) -> Tensor:
    """-a."""
    x = a._array
    if x.dtype.kind == "b":
        raise TypeError("neg: a is of dtype bool; expected numbers")
    if not a._tracked or not mode.enabled:
        return make(-x)
    return record("neg", -x, (a,), lambda g: (-g,))


def pos(a: Tensor) -> Tensor:
    """+a: the tensor itself."""
    return a


def mod(a: Tensor, b: Any) -> Tensor:
    """What is left of a divided by b, with the sign of b. Gradients: g and -g floor(a / b).

    Raises
    ------
    ZeroDivisionError
        If an integer is divided by 0.
    """
    a, b, out = _divided(a, b, "mod", np.remainder)
    x, y = a._array, b._array
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        return unbroadcast(g, x.shape) if p else None, unbroadcast(
            -g * np.floor(x / y), y.shape
        ) if q else None

    return record("mod", out, (a, b), backward, (a, b))


def floordiv(a: Tensor, b: Any) -> Tensor:
    """The largest integer that is not above a / b. Has no gradient.

    Raises
    ------
    ZeroDivisionError
        If an integer is divided by 0.
    """
    return make(_divided(a, b, "floordiv", np.floor_divide)[2])


def _divided(a: Tensor, b: Any, op: str, function: Any) -> tuple[Tensor, Tensor, Any]:
    a, b = _pair(a, b, op)
    x, y = a._array, b._array
    if x.dtype.kind == "b":
        raise TypeError(f"{op}: a and b are of dtype bool; expected numbers")
    if x.dtype.kind != "f" and not y.all():
        raise ZeroDivisionError(f"{op}: b holds 0; integers cannot be divided by it (use .float())")
    try:
        return a, b, function(x, y)
    except (TypeError, ValueError) as error:
        raise broadcast_error(op, x, y, error) from None


def radd(a: Tensor, b: Any) -> Tensor:
    """b + a."""
    return add(a, b)


def rsub(a: Tensor, b: Any) -> Tensor:
    """b - a."""
    return sub(operand(b, a, "sub"), a)


def rmul(a: Tensor, b: Any) -> Tensor:
    """b a."""
    return mul(a, b)


def rdiv(a: Tensor, b: Any) -> Tensor:
    """b / a."""
    return div(operand(b, a, "div"), a)


def rpow(a: Tensor, b: Any) -> Tensor:
    """b to the power a."""
    return pow(operand(b, a, "pow"), a)


def rmod(a: Tensor, b: Any) -> Tensor:
    """b mod a."""
    return mod(operand(b, a, "mod"), a)


def rfloordiv(a: Tensor, b: Any) -> Tensor:
    """The largest integer that is not above b / a."""
    return floordiv(operand(b, a, "floordiv"), a)


def maximum(a: Tensor, b: Any) -> Tensor:
    """The larger of a and b, broadcast. Where they are equal each gets half of the gradient."""
    return _extreme(a, b, "maximum", np.maximum)


def minimum(a: Tensor, b: Any) -> Tensor:
    """The smaller of a and b, broadcast. Where they are equal each gets half of the gradient."""
    return _extreme(a, b, "minimum", np.minimum)


def _extreme(a: Tensor, b: Any, op: str, choose: Any) -> Tensor:
    a, b = _pair(a, b, op)
    x, y = a._array, b._array
    try:
        out = choose(x, y)
    except (TypeError, ValueError) as error:
        raise broadcast_error(op, x, y, error) from None
    p, q = a._tracked, b._tracked
    if not (p or q) or not mode.enabled:
        return make(out)
    larger = op == "maximum"

    def backward(g: Array) -> tuple[Array | None, Array | None]:
        first = (x > y) if larger else (x < y)
        share = np.where(x == y, g * x.dtype.type(0.5), np.where(first, g, g.dtype.type(0)))
        return unbroadcast(share, x.shape) if p else None, unbroadcast(g - share, y.shape) if q else None

    return record(op, out, (a, b), backward, (a, b))


def _compare(name: str, function: Any) -> Any:
    equality = name in ("equal", "not_equal")

    def compare(a: Tensor, b: Any) -> Any:
        x = a._array
        if b.__class__ is int and x.dtype.kind != "f":
            return make(function(x, b))  # also with numbers that the dtype cannot hold
        try:
            y = operand(b, a, name)._array
        except TypeError:
            # Whether it equals None, a string, something of another library: Python's own answer.
            if (
                equality
                and not isinstance(b, (np.ndarray, np.generic, list, tuple))
                and not is_device_array(b)
            ):
                return NotImplemented
            raise
        try:
            return make(function(x, y))
        except (TypeError, ValueError) as error:
            raise broadcast_error(name, x, y, error) from None

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = (
        f"Elementwise {name.replace('_', ' ')}, broadcast: a tensor of truth values, without gradient."
    )
    return compare


eq = _compare("equal", np.equal)
ne = _compare("not_equal", np.not_equal)
lt = _compare("less", np.less)
le = _compare("less_equal", np.less_equal)
gt = _compare("greater", np.greater)
ge = _compare("greater_equal", np.greater_equal)


def _logic(name: str, function: Any) -> Any:
    def combine(a: Tensor, b: Any) -> Any:
        a, b = _pair(a, b, name)
        x, y = a._array, b._array
        if x.dtype.kind == "f":
            raise TypeError(
                f"{name}: a is of dtype {x.dtype}; expected bool or integers (compare it with something)"
            )
        try:
            return make(function(x, y))
        except (TypeError, ValueError) as error:
            raise broadcast_error(name, x, y, error) from None

    combine.__name__ = combine.__qualname__ = name
    combine.__doc__ = f"Elementwise {name}: of truth values, or of the bits of integers; broadcast."
    return combine


bit_and = _logic("and", np.bitwise_and)
bit_or = _logic("or", np.bitwise_or)
bit_xor = _logic("xor", np.bitwise_xor)


def invert(a: Tensor) -> Tensor:
    """Elementwise not: of truth values, or of the bits of integers."""
    if a._array.dtype.kind == "f":
        raise TypeError(f"invert: a is of dtype {a._array.dtype}; expected bool or integers")
    return make(np.invert(a._array))


def to_device(a: Tensor, device: str) -> Tensor:
    """The tensor on a device, named in full. Gradients come back to its own."""
    x = a._array
    here = device_of(x)
    if here == device:
        return a
    out = move(x, device)
    if not a._tracked or not mode.enabled:
        return make(out)
    return record("to", out, (a,), lambda g: (move(g, here),))


def to(a: Tensor, dtype: Any) -> Tensor:
    """The tensor in another dtype. Gradients come back in its own."""
    return cast(a, np.dtype(dtype))  # type: ignore[no-any-return]
