"""Parameters: the tensors that a module learns."""

from __future__ import annotations

from typing import Any

from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import namespace


class Parameter(Tensor):
    """A tensor that `Module` registers when it is assigned to an attribute, and optimizers update.

    Parameters
    ----------
    data : array, nested list or Tensor
        float32 or float64. Contiguous memory is shared, not copied.
    requires_grad : bool
        False for one that is not to be learned.
    name : str, optional
        Shown by `dlkit.autograd.draw`.

    Raises
    ------
    TypeError
        If a gradient is required and the dtype is neither float32 nor float64.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, name: str | None = None) -> None:
        super().__init__(data, requires_grad, name=name)
        if not self._array.flags.c_contiguous:
            self._array = namespace(self._array).ascontiguousarray(self._array)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
