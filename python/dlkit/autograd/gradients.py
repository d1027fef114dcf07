"""Where the gradients of leaves live: buffers that are written over in the next step instead of being freed.

`zero_grad` takes the gradient away (``tensor.grad`` is None, as after PyTorch's ``set_to_none=True``) but keeps its
memory, and the next backward pass writes into it. If somebody else still holds the old gradient (the tensor, its array,
a view of it), its memory is left to them and a new buffer is made; reference counts tell. Gradients that were assigned
and are themselves views of something are never written over.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import TensorBase, make
from dlkit.kernels.backend import namespace

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_references = sys.getrefcount


def _counts(leaf: TensorBase) -> tuple[int, int]:
    buffer: Any = leaf._buffer
    return _references(buffer), _references(buffer._array)


def _alone() -> tuple[int, int]:
    # What `_counts` gives on this interpreter where nobody else holds the buffer.
    leaf = make(np.zeros(1))
    leaf._buffer = make(np.zeros(1))
    return _counts(leaf)


_ALONE = _alone()


def claim(leaf: TensorBase) -> Tensor:
    """Return a tensor that is to become the leaf's gradient: contiguous, of its shape, contents undefined."""
    buffer = leaf._buffer
    if (
        buffer is not None
        and buffer._array.__class__ is leaf._array.__class__
        and buffer._array.shape == leaf._array.shape
        and buffer._array.dtype == leaf._array.dtype
        and buffer._array.base is None
    ):
        del buffer
        if _counts(leaf) == _ALONE:
            return leaf._buffer  # type: ignore[return-value]
    leaf._buffer = None
    return make(namespace(leaf._array).empty(leaf._array.shape, leaf._array.dtype))


def accumulate(leaf: TensorBase, gradient: Array) -> None:
    """Add to the leaf's gradient, or make it the gradient if there is none."""
    present = leaf._grad
    if present is not None:
        np.add(present._array, gradient, out=present._array, casting="same_kind")
        return
    target = claim(leaf)
    np.copyto(target._array, gradient)
    settle(leaf, target)


def settle(leaf: TensorBase, target: Tensor) -> None:
    """Make what `claim` returned, now filled, the leaf's gradient."""
    leaf._grad = target
    leaf._buffer = None


def own_gradients(leaves: Sequence[TensorBase]) -> tuple[list[Array], bool, list[Tensor]] | None:
    """Return arrays into which one kernel may write the gradients of several leaves, instead of returning them.

    Returns
    -------
    arrays : list of array
        One for each leaf, none shared, contiguous.
    accumulate : bool
        Whether they hold gradients to be added to.
    targets : list of Tensor
        What to `settle` once they are filled; empty if `accumulate`.

    None if the kernel has to return gradients: one of them is no plain leaf or comes twice, or some of them have a
    gradient and others have none, or gradients that were assigned share memory.
    """
    if len({id(leaf) for leaf in leaves}) < len(leaves) or any(
        t._node is not None or t._hooks for t in leaves
    ):
        return None
    present = [leaf._grad for leaf in leaves]
    if all(gradient is None for gradient in present):
        targets = [claim(leaf) for leaf in leaves]
        return [target._array for target in targets], False, targets
    arrays = [gradient._array for gradient in present if gradient is not None]
    plain = all(
        a.__class__ is np.ndarray and a.base is None and a.flags.c_contiguous and a.flags.writeable
        for a in arrays
    )
    if len(arrays) < len(leaves) or not plain or len({id(a) for a in arrays}) < len(arrays):
        return None
    return arrays, True, []


def clear(leaf: TensorBase) -> None:
    """Take the leaf's gradient away and keep its memory."""
    present = leaf._grad
    if present is not None:
        leaf._grad = None
        leaf._buffer = present
