"""Derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dlkit.autograd.base import TensorBase, writeable
from dlkit.autograd.engine import grad
from dlkit.autograd.mode import no_grad
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import device_of, move, to_host


class GradcheckError(RuntimeError):
    """A derivative differs from the finite difference."""


def gradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare all derivatives of a function with central differences, (f(x + eps) - f(x - eps)) / (2 eps).

    Parameters
    ----------
    function : callable
        From the inputs to a tensor or a tuple of tensors. Must give the same when called again.
    inputs : Tensor or sequence
        Those that require gradients must be float64.
    eps : float
    atol, rtol : float
        A derivative may differ by ``atol + rtol |difference quotient|``.
    raise_exception : bool
        Raise instead of returning False.

    Returns
    -------
    bool

    Raises
    ------
    TypeError
        If an input that requires a gradient is not float64.
    ValueError
        If no input requires a gradient.
    GradcheckError
        If a derivative differs, with its place and both values; or if the function does not give the same twice.
    """
    given = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    checked = [(i, t) for i, t in enumerate(given) if isinstance(t, TensorBase) and t._tracked]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient; expected at least one")
    for i, tensor in checked:
        if tensor._array.dtype != np.float64:
            raise TypeError(
                f"gradcheck: input {i} is of dtype {tensor._array.dtype}; expected float64 (finite differences need it)"
            )
        if not writeable(tensor._array):
            raise ValueError(
                f"gradcheck: input {i} is read-only; expected memory that can be changed for a while"
            )
    try:
        _check(function, given, checked, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _outputs(function: Callable[..., Any], inputs: tuple[Any, ...]) -> list[Any]:
    result = function(*inputs)
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    for value in results:
        if not isinstance(value, TensorBase):
            raise TypeError(
                f"gradcheck: the function returned a {type(value).__name__}; expected a Tensor or a tuple of them"
            )
    return results


def _values(function: Callable[..., Any], inputs: tuple[Any, ...]) -> list[Any]:
    with no_grad():
        return [np.array(to_host(out._array), np.float64) for out in _outputs(function, inputs)]


def _check(
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    checked: list[tuple[int, Any]],
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    outputs = _outputs(function, inputs)
    for first, second in zip(outputs, _values(function, inputs), strict=True):
        if not np.array_equal(to_host(first._array), second, equal_nan=True):
            raise GradcheckError("gradcheck: the function gives something else when called again")
    tensors = [tensor for _, tensor in checked]
    jacobians = []
    for output in outputs:
        rows = []
        for k in range(output._array.size if output._tracked else 0):
            seed = np.zeros(output._array.size)
            seed[k] = 1
            seed = move(seed, device_of(output._array))
            rows.append(
                grad(output, tensors, seed.reshape(output.shape), retain_graph=True, allow_unused=True)
            )
        jacobians.append(rows)
    for n, (i, tensor) in enumerate(checked):
        array = tensor._array
        for place in np.ndindex(array.shape):
            kept = array[place].copy()
            try:
                array[place] = kept + eps
                above = _values(function, inputs)
                array[place] = kept - eps
                below = _values(function, inputs)
            finally:
                array[place] = kept
            for o, rows in enumerate(jacobians):
                quotients = ((above[o] - below[o]) / (2 * eps)).reshape(-1)
                for k, quotient in enumerate(quotients.tolist()):
                    gradient = rows[k][n] if rows else None
                    derivative = 0.0 if gradient is None else float(gradient._array[place])
                    if not abs(derivative - quotient) <= atol + rtol * abs(quotient):
                        raise GradcheckError(
                            f"gradcheck: the derivative of output {o}[{k}] by input {i}{list(place)} is "
                            f"{derivative:.8g}; the finite difference is {quotient:.8g}"
                        )
