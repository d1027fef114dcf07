"""Matrix product: the chapter csrc/matmul, for arrays of the CPU and of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import as_array, check_backend, device_of, is_device_array
from dlkit.kernels.precision import Precision, check

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
    precision: Precision | None = None,
    backend: str | None = None,
) -> NDArray[Any]:
    """Matrix product of two arrays, with optional bias and activation in the same pass.

    ``activation(a @ b + bias)``, as :func:`numpy.matmul` defines ``@``: stacks of matrices are broadcast against
    each other, a vector on the left is a row, one on the right a column.

    Parameters
    ----------
    a : array of shape (..., M, K) or (K,), float32 or float64
        With ``trans_a`` of shape (..., K, M). Any strides. On devices also float16 and bfloat16.
    b : array of shape (..., K, N) or (K,), same dtype
        With ``trans_b`` of shape (..., N, K), as a ``Linear`` layer keeps its weight.
    out : array of shape (..., M, N), optional
        Where the result goes. Must not overlap the operands. On devices it may be float32 where the operands are of
        half precision: sums are in float32 anyway.
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
    precision : {"float32", "tf32", "bf16"}, optional
        What the operands of float32 products may be rounded to on a device with tensor cores; sums are in float32.
        By default as `dlkit.set_float32_matmul_precision` has it. The CPU computes in float32 whatever is asked for.
    backend : {"cpu", "cuda", "simt"}, optional
        Where to compute. The default follows the arrays. NumPy arrays are copied to a device and back: with
        ``"simt"`` the CUDA kernels run on an emulated GPU, on any machine.

    Returns
    -------
    array of shape (..., M, N), dtype of the operands
        ``out`` where it was given. 2 M N K floating-point operations per matrix.

    Raises
    ------
    TypeError
        If an argument is no array of float32 or float64, their dtypes differ, or they are on several devices.
    ValueError
        If shapes do not fit, ``out`` is read-only or overlaps an operand, or a name is unknown.

    Notes
    -----
    Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
    """
    if type(a) is not _ndarray or type(b) is not _ndarray or backend is not None or precision is not None:
        if backend is not None:
            check_backend(backend, "matmul")
        check(precision, "matmul")
        if is_device_array(a) or is_device_array(b) or backend not in (None, "cpu"):
            return _on_device(  # type: ignore[no-any-return]
                a,
                b,
                backend,
                out=out,
                trans_a=trans_a,
                trans_b=trans_b,
                bias=bias,
                activation=activation,
                accumulate=accumulate,
                variant=variant,
                precision=precision,
            )
        a, b = as_array(a, "matmul", "a"), as_array(b, "matmul", "b")
    if bias is not None and type(bias) is not _ndarray:
        bias = as_array(bias, "matmul", "bias")
    try:
        result: NDArray[Any] = _multiply(a, b, out, trans_a, trans_b, bias, activation, accumulate, variant)
    except TypeError:
        if is_device_array(out):
            as_array(out, "matmul", "out")  # says that it is on another device
        raise
    return result


def _on_device(a: Any, b: Any, backend: str | None, **arguments: Any) -> Any:
    from dlkit.kernels import device_matmul  # here, for the sake of `import dlkit`

    if is_device_array(a) or is_device_array(b):
        here = device_of(a if is_device_array(a) else b)
        if backend not in (None, here.partition(":")[0]):
            raise ValueError(
                f"matmul: backend is {backend!r} but the arrays are on {here}; expected None, or NumPy arrays"
            )
        return device_matmul.matmul(a, b, **arguments)
    assert backend is not None
    for name in ("out", "bias"):
        if arguments[name] is not None:
            arguments[name] = as_array(arguments[name], "matmul", name)
    return device_matmul.matmul_on(
        backend, as_array(a, "matmul", "a"), as_array(b, "matmul", "b"), **arguments
    )
