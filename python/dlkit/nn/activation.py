"""Activations as modules. Each is `dlkit.nn.functional`'s function of the same name."""

from __future__ import annotations

from dlkit.autograd.tensor import Tensor
from dlkit.nn import functional
from dlkit.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.tanh(x)


class Hardtanh(Module):
    """x, but min_val below and max_val above.

    Parameters
    ----------
    min_val, max_val : float
        The bounds.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val is {min_val!r}, expected less than max_val, {max_val!r}")
        self.min_val, self.max_val = float(min_val), float(max_val)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.hardtanh(x, self.min_val, self.max_val)


class GELU(Module):
    """x times the normal distribution function of x (Hendrycks & Gimpel, 2016; the form with erf)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.gelu(x)


class SiLU(Module):
    """x times sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.silu(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.softplus(x)


class LeakyReLU(Module):
    """x above 0, negative_slope x below.

    Parameters
    ----------
    negative_slope : float
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x above 0, alpha (exp(x) - 1) below (Clevert et al., 2016).

    Parameters
    ----------
    alpha : float
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return functional.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class Softmax(Module):
    """exp(x) / sum exp(x) along a dimension.

    Parameters
    ----------
    dim : int
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Apply it along `dim`."""
        return functional.softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of softmax along a dimension.

    Parameters
    ----------
    dim : int
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Apply it along `dim`."""
        return functional.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"
