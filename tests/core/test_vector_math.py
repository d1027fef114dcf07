"""The largest errors of csrc/core/vector_math.h over all arguments, in units in the last place (ulp)."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

# As stated in csrc/core/vector_math.h.
_LIMITS = {
    ("exp", np.float32): 1.1,
    ("elu", np.float32): 1.1,
    ("sigmoid", np.float32): 2.0,
    ("tanh", np.float32): 2.5,
    ("softplus", np.float32): 2.7,
    ("gelu", np.float32): 7.0,
    ("exp", np.float64): 1.2,
    ("elu", np.float64): 1.2,
    ("sigmoid", np.float64): 1.9,
    ("tanh", np.float64): 2.6,
    ("softplus", np.float64): 2.9,
}
_GELU_TAIL_WITHOUT_FMA = 60.0
_GELU_IN_FLOAT64 = 3.3


def _exact(kind: str, x: Any) -> Any:
    """The function in the next wider precision."""
    one = x.dtype.type(1)
    if kind == "exp":
        return np.exp(x)
    if kind == "elu":
        return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    if kind == "sigmoid":
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, one) / (one + e)
    if kind == "tanh":
        return np.tanh(x)
    if kind == "softplus":
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    erfc = np.array([math.erfc(-value / math.sqrt(2)) for value in x.tolist()])
    return x * 0.5 * erfc


def _arguments(dtype: Any, step: int) -> Any:
    """Numbers of every sign and exponent, denormal ones and the neighbourhood of zero included."""
    if dtype is np.float32:
        return np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
    rng = np.random.default_rng(0)
    anywhere = rng.integers(0, 2**64, 200_000, dtype=np.uint64).view(np.float64)
    return np.concatenate([anywhere, rng.uniform(-750, 750, 200_000), rng.uniform(-3, 3, 200_000)])


def _largest_error(kind: str, x: Any) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        x = x[np.isfinite(x)]
        wide = np.float64 if x.dtype == np.float32 else np.longdouble
        exact = _exact(kind, x.astype(wide))
        narrow = exact.astype(x.dtype)
        got = K.activation(x, kind)
        inside = np.isfinite(narrow)
        assert np.array_equal(got[~inside], narrow[~inside])
        unit = np.spacing(np.abs(narrow[inside])).astype(wide)
        error = np.abs(got[inside].astype(wide) - exact[inside]) / unit
    at = int(np.argmax(error))
    return float(error[at]), float(x[inside][at])


@pytest.mark.parametrize(("kind", "dtype"), list(_LIMITS))
def test_largest_error(kind: str, dtype: Any) -> None:
    if dtype is np.float64 and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("needs a long double wider than float64")
    x = _arguments(dtype, 20_011 if kind == "gelu" else 1_999)
    limit = _LIMITS[kind, dtype]
    if kind == "gelu" and K.config()["isa"] == "baseline":
        error, at = _largest_error(kind, x[~(np.abs(x) < 3)])
        assert error <= _GELU_TAIL_WITHOUT_FMA, f"{error:.2f} ulp at x = {at!r}"
        x = x[np.abs(x) < 3]
    error, at = _largest_error(kind, x)
    assert error <= limit, f"{error:.2f} ulp at x = {at!r}"


def _exact_gelu(x: float, pi: Decimal) -> Decimal:
    # x (1 + erf(x / sqrt 2)) / 2 by the power series of erf, in digits enough for what cancels in it.
    square = Decimal(x) * Decimal(x) / 2
    term = total = Decimal(x) / Decimal(2).sqrt()
    n = 0
    while abs(term) > Decimal("1e-120"):
        n += 1
        term *= -square / n
        total += term / (2 * n + 1)
    return Decimal(x) * (1 + 2 * total / pi.sqrt()) / 2


def test_largest_error_of_gelu_in_float64() -> None:
    x = np.random.default_rng(0).uniform(-12, 12, 400)
    got = K.activation(x, "gelu")
    with localcontext() as context:
        context.prec = 140
        pi = Decimal(
            "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706"
        )
        errors = [
            float(abs(Decimal(y) - exact) / Decimal(float(np.spacing(abs(float(exact))))))
            for y, exact in zip(got.tolist(), (_exact_gelu(v, pi) for v in x.tolist()), strict=True)
        ]
    at = int(np.argmax(errors))
    assert errors[at] <= _GELU_IN_FLOAT64, f"{errors[at]:.2f} ulp at x = {x[at]!r}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", K.ACTIVATIONS)
def test_special_values(kind: str, dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array(
        [np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, np.finfo(dtype).max, np.finfo(dtype).min], dtype
    )
    limits = {
        "relu": (np.inf, 0.0),
        "leaky_relu": (np.inf, -np.inf),
        "elu": (np.inf, -1.0),
        "sigmoid": (1.0, 0.0),
        "tanh": (1.0, -1.0),
        "softplus": (np.inf, 0.0),
        "silu": (np.inf, 0.0),
        "gelu": (np.inf, 0.0),
        "exp": (np.inf, 0.0),
    }
    at_zero = {"sigmoid": 0.5, "softplus": math.log(2), "exp": 1.0}.get(kind, 0.0)
    y = K.activation(np.tile(x, 5), kind)[18:27]
    assert np.isnan(y[0])
    assert (y[1], y[2]) == limits[kind]
    np.testing.assert_allclose(y[3:7], at_zero, rtol=1e-6, atol=2 * float(tiny))
    assert not np.isnan(y[7:]).any()
