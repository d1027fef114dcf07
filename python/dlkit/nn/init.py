"""Values to begin with, written into tensors in place. Random ones come from the generator of `dlkit.manual_seed`."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, mark_changed, shape_text, writeable
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import device_of, move


def _fill(tensor: Tensor, values: Any) -> Tensor:
    if not writeable(tensor._array):
        raise ValueError("init: the tensor's memory is read-only")
    # Drawn on the host whatever the device: the same seed gives the same numbers everywhere.
    values = move(np.asarray(values, tensor.dtype), device_of(tensor._array))
    np.copyto(tensor._array, values, casting="same_kind")
    mark_changed(tensor)
    return tensor


def _check(tensor: Tensor, operation: str, **numbers: float) -> None:
    if not isinstance(tensor, TensorBase):
        raise TypeError(f"{operation}: tensor is a {type(tensor).__name__}; expected a Tensor")
    if tensor.dtype not in (np.float32, np.float64):
        raise TypeError(f"{operation}: tensor is of dtype {tensor.dtype}; expected float32 or float64")
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{operation}: {name} is {value}; expected a finite number")


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return _fill(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return _fill(tensor, 1)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with a number."""
    return _fill(tensor, np.asarray(val, tensor.dtype))


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity."""
    _check(tensor, "eye_")
    if tensor.ndim != 2:
        raise ValueError(f"eye_: the tensor is {shape_text(tensor.shape)}; expected two dimensions")
    return _fill(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Draw from the uniform distribution over [a, b)."""
    _check(tensor, "uniform_", a=a, b=b)
    if b < a:
        raise ValueError(f"uniform_: a is {a} and b is {b}; expected a not above b")
    dtype: Any = tensor.dtype
    values = np.asarray(kernels.random.generator().random(tensor.shape, dtype))
    values *= values.dtype.type(b - a)
    values += values.dtype.type(a)
    return _fill(tensor, values)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw from the normal distribution."""
    _check(tensor, "normal_", mean=mean, std=std)
    if std < 0:
        raise ValueError(f"normal_: std is {std}; expected 0 or more")
    dtype: Any = tensor.dtype
    values = kernels.random.generator().standard_normal(tensor.shape, dtype) * tensor.dtype.type(std)
    values += tensor.dtype.type(mean)
    return _fill(tensor, values)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Draw from the normal distribution between a and b: numbers outside do not occur."""
    _check(tensor, "trunc_normal_", mean=mean, std=std)
    if std < 0:
        raise ValueError(f"trunc_normal_: std is {std}; expected 0 or more")
    if not a < b or mean + 5 * std < a or mean - 5 * std > b:
        raise ValueError(
            f"trunc_normal_: [{a}, {b}] holds next to nothing of a normal distribution of mean {mean}, std {std}"
        )
    generator = kernels.random.generator()
    normal = NormalDist(mean, std) if std else None
    low, high = (normal.cdf(a), normal.cdf(b)) if normal is not None else (0.0, 1.0)
    if normal is not None and high - low < 0.1:
        # Drawing again would take too long: through the inverse of the distribution instead.
        places = low + (high - low) * generator.random(tensor.numel())
        values = np.array([normal.inv_cdf(min(p, 1 - 2**-53)) for p in places.tolist()])
    else:
        values = generator.normal(mean, std, tensor.numel())
        outside = (values < a) | (values > b)
        while outside.any():
            values[outside] = generator.normal(mean, std, int(np.count_nonzero(outside)))
            outside = (values < a) | (values > b)
    return _fill(tensor, np.clip(values, a, b).reshape(tensor.shape).astype(tensor.dtype))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance of activations from layer to layer, as PyTorch has it.

    Parameters
    ----------
    nonlinearity : str
        linear, sigmoid, tanh, relu, leaky_relu or selu.
    param : float, optional
        The slope of leaky_relu, 0.01 by default.
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: nonlinearity is {nonlinearity!r}; expected one of {', '.join(gains)}"
        )
    return gains[nonlinearity]


def _fans(tensor: Tensor, operation: str) -> tuple[int, int]:
    _check(tensor, operation)
    if tensor.ndim < 2:
        raise ValueError(
            f"{operation}: the tensor is {shape_text(tensor.shape)}; expected at least two dimensions"
        )
    field = math.prod(tensor.shape[2:])
    # At least 1: of a tensor without elements there is nothing to draw.
    return max(tensor.shape[1] * field, 1), max(tensor.shape[0] * field, 1)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw from U(-k, k), k = gain sqrt(6 / (fan_in + fan_out)). Glorot & Bengio, 2010."""
    bound = gain * math.sqrt(6 / sum(_fans(tensor, "xavier_uniform_")))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Draw from N(0, s^2), s = gain sqrt(2 / (fan_in + fan_out)). Glorot & Bengio, 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor, "xavier_normal_"))))


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str, operation: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{operation}: mode is {mode!r}; expected 'fan_in' or 'fan_out'")
    fan = _fans(tensor, operation)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Draw from U(-k, k), k = gain sqrt(3 / fan). He et al., 2015."""
    bound = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Draw from N(0, s^2), s = gain / sqrt(fan). He et al., 2015."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity, "kaiming_normal_"))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Make the rows (or columns, if there are fewer) orthogonal, of length `gain`. Saxe et al., 2014."""
    _fans(tensor, "orthogonal_")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    values = kernels.random.generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(values)
    q *= np.sign(np.diag(r))  # uniform over all orthogonal matrices
    if rows < columns:
        q = q.T
    return _fill(tensor, (gain * q).reshape(tensor.shape).astype(tensor.dtype))
