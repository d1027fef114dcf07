"""A recurrent layer over whole sequences as a function; `functional` has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import make, record_many
from dlkit.autograd.gradients import own_gradients, settle
from dlkit.autograd.mode import mode
from dlkit.kernels.recurrent import RecurrentWeights

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


class RecurrentState(NamedTuple):
    """What a recurrent layer returns.

    Attributes
    ----------
    output : Tensor of shape (rows, directions H)
        The hidden state of every step.
    h : Tensor of shape (directions, B, H)
        That after each sequence's last step.
    c : Tensor or None
        The cell state there.
    """

    output: Tensor
    h: Tensor
    c: Tensor | None


def recurrent(
    x: Tensor,
    weights: Sequence[RecurrentWeights],
    batch_sizes: Sequence[int],
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    cell: str = "lstm",
    new_z: bool = False,
    mask: Any = None,
) -> RecurrentState:
    """Run a recurrent layer over all steps of a packed batch, in one kernel for each direction.

    Parameters
    ----------
    x : Tensor of shape (rows, I)
        Step after step, as `dlkit.nn.utils.rnn.pack_padded_sequence` packs them.
    weights : sequence of RecurrentWeights
        Of tensors, for one or two directions.
    batch_sizes : sequence of int
        Rows of each step.
    h0, c0 : Tensors of shape (directions, B, H), optional
    cell, new_z, mask
        As for `dlkit.kernels.recurrent`.

    Raises
    ------
    TypeError, ValueError
        As `dlkit.kernels.recurrent` does.

    Notes
    -----
    Backward overwrites what was kept of the layer, gate by gate; a second backward pass through a retained graph runs
    the layer again first.
    """
    arrays = [RecurrentWeights(*(None if t is None else t._array for t in w)) for w in weights]
    states = (None if h0 is None else h0._array, None if c0 is None else c0._array)
    settings: dict[str, Any] = {"cell": cell, "new_z": new_z, "mask": mask}
    tensors = [t for t in (x, h0, c0, *(t for w in weights for t in w)) if t is not None]
    keep = mode.enabled and any(t._tracked for t in tensors)
    inputs = x._array
    y, hn, cn, saved = kernels.recurrent(inputs, arrays, batch_sizes, *states, keep=keep, **settings)
    if not keep:
        return RecurrentState(make(y), make(hn), None if cn is None else make(cn))
    kept = [saved]

    def backward(gradients: list[Array | None], direct: bool) -> tuple[Array | None, ...]:
        reserves = (
            kept.pop()
            if kept
            else kernels.recurrent(inputs, arrays, batch_sizes, *states, keep=True, **settings)[3]
        )
        assert reserves is not None
        dy, dhn, dcn = (*gradients, None)[:3]
        tracked = [t for w in weights for t in w if t is not None and t._tracked]
        own = own_gradients(tracked) if direct else None
        targets, accumulate = (
            own[:2] if own is not None else ([np.empty_like(t._array) for t in tracked], False)
        )
        following = iter(targets)
        wanted = [
            RecurrentWeights(*(next(following) if t is not None and t._tracked else None for t in w))
            for w in weights
        ]
        dx, dh0, dc0, by_weights = kernels.recurrent_backward(
            reserves,
            inputs,
            arrays,
            batch_sizes,
            y,
            dy,
            dhn,
            dcn,
            by_x=x._tracked,
            by_state=any(t is not None and t._tracked for t in (h0, c0)),
            out=wanted,
            accumulate=accumulate,
            **settings,
        )
        if own is not None:
            for leaf, target in zip(tracked, own[2], strict=not accumulate):
                settle(leaf, target)
        found = (dx, dh0 if h0 is not None else None, dc0 if c0 is not None else None)
        given = (x, h0, c0)
        by_weight = [
            g if own is None else None
            for w, of_w in zip(weights, by_weights, strict=True)
            for t, g in zip(w, of_w, strict=True)
            if t is not None
        ]
        return (*(g for t, g in zip(given, found, strict=True) if t is not None), *by_weight)

    outputs = [y, hn] if cn is None else [y, hn, cn]
    made = record_many(cell, outputs, tuple(tensors), backward, tuple(tensors), direct=True)
    return RecurrentState(made[0], made[1], made[2] if cn is not None else None)
