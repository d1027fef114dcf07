"""Dropout as a module."""

from __future__ import annotations

from dlkit.autograd.tensor import Tensor
from dlkit.nn import functional
from dlkit.nn.module import Module


class Dropout(Module):
    """In training, set elements to 0 with probability p and multiply the others by 1 / (1 - p); else pass on.

    Parameters
    ----------
    p : float
        From 0 to 1.

    Notes
    -----
    Srivastava et al., JMLR 2014. No mask is kept: backward draws the same random numbers again.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        functional.check_probability(p, "Dropout")
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return functional.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
