"""Modules that rearrange, or do nothing."""

from __future__ import annotations

from typing import Any

from dlkit.autograd.base import TensorBase
from dlkit.autograd.tensor import Tensor
from dlkit.nn.module import Module


class Identity(Module):
    """The input itself. Takes any arguments and ignores them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """Return the input."""
        return x


class Flatten(Module):
    """The dimensions from `start_dim` to `end_dim`, inclusive, as one; by default all but the batch.

    Parameters
    ----------
    start_dim, end_dim : int
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Tensor:
        """(N, ...) to (N, features)."""
        tensor: Tensor = x if isinstance(x, TensorBase) else Tensor(x)  # type: ignore[assignment]
        return tensor.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
