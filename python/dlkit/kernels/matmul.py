"""Matrix product: the chapter csrc/matmul, for NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import as_array, check_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

Activation = Literal["relu", "sigmoid", "tanh"]

_multiply = _cpu.matmul
_ndarray = np.ndarray


def matmul(
    a: Any,
    b: Any,
    *,
    out: NDArray[Any] | None = None,
    trans_a: bool = False,
    trans_b: bool = False,
    bias: Any | None = None,
    activation: Activation | None = None,
    accumulate: bool = False,
    variant: str | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """Matrix product of two arrays, with optional bias and activation in the same pass.

    ``activation(a @ b + bias)``, as :func:`numpy.matmul` defines ``@``: stacks of matrices are broadcast against
    each other, a vector on the left is a row, one on the right a column.

    Parameters
    ----------
    a : array of shape (..., M, K) or (K,), float32 or float64
        With ``trans_a`` of shape (..., K, M). Any strides.
    b : array of shape (..., K, N) or (K,), same dtype
        With ``trans_b`` of shape (..., N, K), as a ``Linear`` layer keeps its weight.
    out : array of shape (..., M, N), optional
        Where the result goes. Must not overlap the operands.
    trans_a, trans_b : bool
        Take the last two dimensions of ``a``, ``b`` the other way round. Costs no copy.
    bias : array of shape (N,), optional
        Added to every row.
    activation : {"relu", "sigmoid", "tanh"}, optional
        Applied to the sum.
    accumulate : bool
        Add to what ``out`` holds instead of overwriting it. Needs ``out``, excludes ``activation``.
    variant : str, optional
        A step of the ladder, one of ``variants("matmul")``. The default is the fastest for the shape.
    backend : {"cpu"}, optional
        Where to compute. The default follows the arrays.

    Returns
    -------
    array of shape (..., M, N), dtype of the operands
        ``out`` where it was given. 2 M N K floating-point operations per matrix.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, or their dtypes differ.
    ValueError
        If shapes do not fit, ``out`` is read-only or overlaps an operand, or a name is unknown.

    Notes
    -----
    Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
    """
    if type(a) is not _ndarray:
        a = as_array(a, "matmul", "a")
    if type(b) is not _ndarray:
        b = as_array(b, "matmul", "b")
    if bias is not None and type(bias) is not _ndarray:
        bias = as_array(bias, "matmul", "bias")
    if backend is not None:
        check_backend(backend, "matmul")
    result: NDArray[Any] = _multiply(a, b, out, trans_a, trans_b, bias, activation, accumulate, variant)
    return result
