"""The loss of a conditional random field as a function; `functional` has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, make, record
from dlkit.autograd.engine import unit
from dlkit.autograd.mode import mode

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

REDUCTIONS = ("mean", "token_mean", "sum", "none")


def check_crf_reduction(reduction: str, operation: str) -> None:
    """Raise ValueError unless `reduction` is one."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{operation}: reduction is {reduction!r}; expected one of {', '.join(REDUCTIONS)}")


def crf_loss(
    emissions: Tensor,
    tags: Any,
    batch_sizes: Sequence[int],
    transitions: Tensor,
    start: Tensor | None = None,
    end: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the logarithm of the probability of tags under a linear-chain conditional random field.

    Parameters
    ----------
    emissions : Tensor of shape (rows, K)
        Step after step, as `dlkit.nn.utils.rnn.pack_padded_sequence` packs them.
    tags : integer array or Tensor of shape (rows,)
    batch_sizes : sequence of int
        Rows of each step.
    transitions : Tensor of shape (K, K)
        From i to j at [i, j].
    start, end : Tensors of shape (K,), optional
    reduction : {"mean", "token_mean", "sum", "none"}
        The mean over sequences, or over their steps; the sum; or a loss for each sequence.

    Returns
    -------
    Tensor
        A single value; with ``"none"`` of shape (B,).

    Raises
    ------
    TypeError, ValueError
        As `dlkit.kernels.crf_loss` does; also if an argument is no tensor.

    Notes
    -----
    Loss and gradients come out of one call, forward; but with ``"none"``, where backward runs it once more with the
    gradients that it is given.
    """
    check_crf_reduction(reduction, "crf_loss")
    given = {"emissions": emissions, "transitions": transitions, "start": start, "end": end}
    for name, value in given.items():
        if not isinstance(value, TensorBase) and not (value is None and name in ("start", "end")):
            raise TypeError(f"crf_loss: {name} is a {type(value).__name__}; expected a Tensor")
    labels = tags._array if isinstance(tags, TensorBase) else tags
    if labels is None:
        raise TypeError("crf_loss: tags is None; expected an array of integers")
    tensors = tuple(t for t in given.values() if t is not None)
    x = emissions._array
    model = [None if t is None else t._array for t in (transitions, start, end)]
    if not (mode.enabled and any(t._tracked for t in tensors)):
        return make(_reduced(kernels.crf_loss(x, labels, batch_sizes, *model), len(x), reduction))
    if reduction == "none":
        losses = kernels.crf_loss(x, labels, batch_sizes, *model)

        def backward_each(g: Array) -> tuple[Array | None, ...]:
            _, found = kernels.crf_loss_and_gradients(x, labels, batch_sizes, *model, weights=g)
            return _wanted(found, given)

        return record("crf_loss", losses, tensors, backward_each, tensors)

    try:
        over = {"mean": int(batch_sizes[0]), "token_mean": len(x), "sum": 1}[reduction]
    except (TypeError, ValueError, IndexError):
        over = 1  # the kernel says what is wrong
    share = 1 / over if over > 0 else 1.0
    losses, ready = kernels.crf_loss_and_gradients(x, labels, batch_sizes, *model, weights=share)
    gradients = _wanted(ready, given)

    def backward(g: Array) -> tuple[Array | None, ...]:
        # On a device only by identity: to look at the number means to wait for it.
        if g is unit(x) or (g.__class__ is np.ndarray and g == 1):
            return gradients
        return tuple(None if each is None else each * g for each in gradients)

    return record("crf_loss", _reduced(losses, len(x), reduction), tensors, backward)


def _wanted(found: kernels.CrfGradients, given: dict[str, Any]) -> tuple[Array | None, ...]:
    return tuple(
        gradient if tensor._tracked else None
        for gradient, tensor in zip(found, given.values(), strict=True)
        if tensor is not None
    )


def _reduced(losses: Array, rows: int, reduction: str) -> Array:
    if reduction == "none":
        return losses
    total = losses.sum(dtype=np.float64)
    over = {"mean": len(losses), "token_mean": rows, "sum": 1}[reduction]
    mean = total / over
    return np.asarray(mean, losses.dtype) if losses.__class__ is np.ndarray else mean.astype(losses.dtype)
