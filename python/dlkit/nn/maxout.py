"""Maxout as a module."""

from __future__ import annotations

from math import prod
from typing import Any

from dlkit.autograd.base import TensorBase, shape_text
from dlkit.autograd.tensor import Tensor
from dlkit.nn import functional
from dlkit.nn.linear import positive_integer
from dlkit.nn.module import Module


class Maxout(Module):
    """The greatest of each `pieces` neighbouring channels.

    Parameters
    ----------
    pieces : int

    Notes
    -----
    Goodfellow, Warde-Farley, Mirza, Courville & Bengio, "Maxout networks", ICML 2013: a unit that learns its own convex
    activation, from as many linear maps as it has pieces. The maximum is that of max-pooling, along the channels.
    """

    def __init__(self, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = positive_integer(pieces, "Maxout", "pieces")

    def forward(self, x: Any) -> Tensor:
        """(N, C, ...) to (N, C / pieces, ...)."""
        tensor: Tensor = x if isinstance(x, TensorBase) else Tensor(x)  # type: ignore[assignment]
        shape = tensor.shape
        if len(shape) < 2 or shape[1] % self.pieces:
            raise ValueError(
                f"Maxout: x is {shape_text(shape)}; expected (N, C, ...) with a number of channels that {self.pieces} "
                "divides"
            )
        count, channels = shape[0], shape[1] // self.pieces
        if len(shape) == 2:
            pooled = functional.max_pool2d(tensor.reshape(count, 1, channels, self.pieces), (1, self.pieces))
        else:
            pooled = functional.max_pool2d(
                tensor.reshape(count, channels, self.pieces, prod(shape[2:])), (self.pieces, 1)
            )
        return pooled.reshape(count, channels, *shape[2:])

    def extra_repr(self) -> str:
        """Return the number of pieces."""
        return f"pieces={self.pieces}"
