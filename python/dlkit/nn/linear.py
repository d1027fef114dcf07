"""Linear layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.autograd.tensor import Tensor
from dlkit.nn import functional, init
from dlkit.nn.module import Module, float_dtype
from dlkit.nn.parameter import Parameter


def positive_integer(value: Any, operation: str, argument: str) -> int:
    """Return `value` as an int of at least 1.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{operation}: {argument} is a {type(value).__name__}; expected an integer of at least 1"
        )
    number = int(value.__index__())
    if number < 1:
        raise ValueError(f"{operation}: {argument} is {number}; expected at least 1")
    return number


class Linear(Module):
    """x Wᵀ + b.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last dimension of input and output.
    bias : bool
        Whether b is there.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter of shape (out_features, in_features)
    bias : Parameter of shape (out_features,) or None
        Both from U(-k, k) with k = 1 / sqrt(in_features) at the start, as in PyTorch.

    Notes
    -----
    Inputs are (..., in_features). Forward is one kernel, bias included; in `Sequential` a ReLU, Sigmoid or Tanh that
    follows is part of it, too.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        self.in_features = positive_integer(in_features, "Linear", "in_features")
        self.out_features = positive_integer(out_features, "Linear", "out_features")
        kind = float_dtype(dtype, "Linear")
        self.weight = Parameter(np.empty((self.out_features, self.in_features), kind))
        if bias:
            self.bias: Parameter | None = Parameter(np.empty(self.out_features, kind))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / self.in_features**0.5
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return sizes, and whether there is a bias."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )
