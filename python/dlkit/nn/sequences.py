"""Batches of sequences of different lengths: packed, so that no kernel works on padding, and padded.

Names and conventions are those of ``torch.nn.utils.rnn``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit.autograd.arrangement import cat
from dlkit.autograd.base import TensorBase, as_array, make
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import namespace, to_host

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
]


class PackedSequence(NamedTuple):
    """The steps of a batch of sequences, step after step, longest sequence first.

    Attributes
    ----------
    data : Tensor of shape (sum of lengths, ...)
    batch_sizes : array of int64, shape (T,)
        How many sequences have a step t.
    sorted_indices, unsorted_indices : array of int64 or None
        The order of the packed sequences in the batch that was given, and its inverse; None where it is the same.
    """

    data: Tensor
    batch_sizes: NDArray[np.int64]
    sorted_indices: NDArray[np.int64] | None = None
    unsorted_indices: NDArray[np.int64] | None = None


def invert_permutation(permutation: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return the permutation that undoes one."""
    if permutation is None:
        return None
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse


def _lengths(lengths: Any, operation: str, batch: int, longest: int) -> NDArray[np.int64]:
    if isinstance(lengths, TensorBase):
        lengths = to_host(lengths._array)
    array = as_array(lengths, operation, "lengths")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{operation}: lengths has dtype {array.dtype}; expected integers")
    if array.shape != (batch,):
        raise ValueError(f"{operation}: lengths is {array.shape}; expected ({batch},), one for each sequence")
    wrong = (array < 1) | (array > longest)
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"{operation}: lengths[{at}] is {array[at]}; expected 1 to {longest}, the steps of the input"
        )
    return array.astype(np.int64)


def _batch_sizes(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    # Of lengths that do not increase: how many exceed each t.
    steps = np.arange(lengths[0])
    return np.searchsorted(-lengths, -steps, side="left").astype(np.int64)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    Parameters
    ----------
    input : Tensor of shape (T, B, ...), or (B, T, ...) with `batch_first`
    lengths : sequence of B int
        From 1 to T.
    enforce_sorted : bool
        Whether lengths must not increase; otherwise sequences are sorted here.

    Raises
    ------
    TypeError
        If `lengths` are no integers.
    ValueError
        If a length is out of range, or they increase and `enforce_sorted` is set, or `input` has no two dimensions.
    """
    operation = "pack_padded_sequence"
    if len(input.shape) < 2:
        raise ValueError(
            f"{operation}: input is {input.shape}; expected (T, B, ...) or, batch first, (B, T, ...)"
        )
    batch, longest = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    if batch == 0:
        raise ValueError(f"{operation}: input is {input.shape}; expected at least one sequence")
    sizes = _lengths(lengths, operation, batch, longest)
    order: NDArray[np.int64] | None = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise ValueError(
                f"{operation}: lengths increase; expected them longest first, or enforce_sorted=False"
            )
    else:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    batch_sizes = _batch_sizes(sizes)
    sequence = np.concatenate([np.arange(n) for n in batch_sizes])
    step = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
    if order is not None:
        sequence = order[sequence]
    index = sequence * longest + step if batch_first else step * batch + sequence
    rows = input.reshape(batch * longest, *input.shape[2:])
    return PackedSequence(rows[index], batch_sizes, order, invert_permutation(order))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, NDArray[np.int64]]:
    """Undo `pack_padded_sequence`.

    Parameters
    ----------
    sequence : PackedSequence
    batch_first : bool
    padding_value : float
        What stands after a sequence's end.
    total_length : int, optional
        Steps of the result; at least those of the longest sequence, which is the default.

    Returns
    -------
    Tensor of shape (T, B, ...), or (B, T, ...) with `batch_first`
    array of int64, shape (B,)
        The lengths.
    """
    data, batch_sizes = sequence.data, np.asarray(sequence.batch_sizes, np.int64)
    steps, batch = len(batch_sizes), int(batch_sizes[0])
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                f"pad_packed_sequence: total_length is {total_length}; expected at least {steps}"
            )
        steps = total_length
    lengths = (batch_sizes[:, np.newaxis] > np.arange(batch)).sum(axis=0)
    rows = data.shape[0]
    index = np.full((steps, batch), rows, np.int64)  # of padding: the row after the last
    index[: len(batch_sizes)][np.arange(batch) < batch_sizes[:, np.newaxis]] = np.arange(rows)
    if sequence.unsorted_indices is not None:
        index, lengths = index[:, sequence.unsorted_indices], lengths[sequence.unsorted_indices]
    if batch_first:
        index = index.T
    if (index == rows).any():
        padding = make(namespace(data._array).full((1, *data.shape[1:]), padding_value, data.dtype))
        data = cat([data, padding])
    return data[index.ravel()].reshape(*index.shape, *data.shape[1:]), lengths


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0
) -> Tensor:
    """Put sequences (L, ...) side by side, filled up to the longest.

    Returns
    -------
    Tensor of shape (T, B, ...), or (B, T, ...) with `batch_first`
    """
    return pad_packed_sequence(pack_sequence(sequences, False), batch_first, padding_value)[0]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, ...), each at least one step long."""
    if not sequences:
        raise ValueError("pack_sequence: sequences is empty; expected at least one")
    shapes = {tuple(s.shape[1:]) for s in sequences}
    if len(shapes) > 1 or any(len(s.shape) < 1 for s in sequences):
        raise ValueError(
            f"pack_sequence: sequences have elements of shapes {sorted(shapes)}; expected one shape"
        )
    sizes = _lengths([s.shape[0] for s in sequences], "pack_sequence", len(sequences), 2**62)
    order: NDArray[np.int64] | None = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise ValueError(
                "pack_sequence: lengths increase; expected sequences longest first, or enforce_sorted=False"
            )
    else:
        order = np.argsort(-sizes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    if order is not None:
        sizes, starts = sizes[order], starts[order]
    batch_sizes = _batch_sizes(sizes)
    index = np.concatenate([starts[:n] + t for t, n in enumerate(batch_sizes)])
    return PackedSequence(cat(list(sequences))[index], batch_sizes, order, invert_permutation(order))
