"""Clipping of gradients; ``rnn`` packs and pads sequences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, make
from dlkit.autograd.tensor import Tensor
from dlkit.nn import sequences

#: Packing and padding of sequences.
rnn = sequences


def _gradients(parameters: Tensor | Iterable[Tensor], operation: str) -> list[Any]:
    tensors = [parameters] if isinstance(parameters, TensorBase) else parameters
    try:
        return [t._grad._array for t in tensors if t._grad is not None]
    except (AttributeError, TypeError):
        raise TypeError(
            f"{operation}: parameters is a {type(parameters).__name__}; expected a Tensor or an iterable of Tensors "
            "(write model.parameters())"
        ) from None


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by one factor so that their norm, taken together, is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    max_norm : float
    norm_type : float
        The p of the p-norm; ``inf`` for the largest absolute value.
    error_if_nonfinite : bool
        Raise RuntimeError if the norm is infinite or NaN, instead of scaling by it.

    Returns
    -------
    Tensor
        The norm before, a single value. Pascanu et al., 2013. On a device nothing waits for it, but that
        `error_if_nonfinite` has to.
    """
    max_norm, norm_type = float(max_norm), float(norm_type)
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm is {max_norm}; expected 0 or more")
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type is {norm_type}; expected more than 0")
    gradients = _gradients(parameters, "clip_grad_norm_")
    if not gradients:
        return make(np.zeros((), np.float32))
    if gradients[0].__class__ is not np.ndarray:
        return _clip_on_device(gradients, max_norm, norm_type, error_if_nonfinite)
    if norm_type == 2:
        total = sum(kernels.sum_squares(part) for part in by_dtype(gradients)) ** 0.5
    elif norm_type == float("inf"):
        # max() would lose a NaN
        total = float(np.max([np.abs(g).max() for g in gradients if g.size] or [0.0]))
    else:
        total = float(sum((np.abs(g, dtype=np.float64) ** norm_type).sum() for g in gradients)) ** (
            1 / norm_type
        )
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total}; expected a finite number")
    factor = max_norm / (total + 1e-6)
    if not factor >= 1:
        for part in by_dtype(gradients):
            kernels.scale_inplace(part, factor)
    return make(np.asarray(total, gradients[0].dtype))


def _clip_on_device(gradients: list[Any], max_norm: float, norm_type: float, check: bool) -> Tensor:
    parts = by_dtype(gradients)
    if norm_type == 2:
        squares = kernels.sum_squares(parts[0])
        for part in parts[1:]:
            squares = squares + kernels.sum_squares(part)
        total = np.sqrt(squares)
        factor = kernels.clip_factor(squares, max_norm)
    else:
        if norm_type == float("inf"):
            sizes = [np.abs(g).max().astype(np.float64) for g in gradients if g.size]
            total = np.stack(sizes).max() if sizes else kernels.sum_squares(gradients)
        else:
            powers = [(np.abs(g.astype(np.float64)) ** norm_type).sum() for g in gradients]
            total = np.stack(powers).sum() ** (1 / norm_type)
        factor = np.minimum(max_norm / (total + 1e-6), 1.0)
    if check and not np.isfinite(norm := total.item()):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}; expected a finite number")
    for part in parts:
        kernels.scale_inplace(part, factor)
    return make(total.astype(gradients[0].dtype))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every element of all gradients into [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value is {clip_value}; expected 0 or more")
    for part in by_dtype(_gradients(parameters, "clip_grad_value_")):
        kernels.clamp_inplace(part, clip_value)


def by_dtype(arrays: list[Any]) -> list[list[Any]]:
    """Group arrays by dtype: kernels take lists of one."""
    if all(array.dtype is arrays[0].dtype for array in arrays):
        return [arrays] if arrays else []
    groups: dict[Any, list[Any]] = {}
    for array in arrays:
        groups.setdefault(array.dtype, []).append(array)
    return list(groups.values())
