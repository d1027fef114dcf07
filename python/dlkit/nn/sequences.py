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


def checked_packed(sequence: Any, operation: str) -> tuple[Tensor, NDArray[np.int64]]:
    """Return the rows of a PackedSequence and its batch sizes.

    Raises
    ------
    TypeError
        If it is none, or its data are no tensor, or its batch sizes no integers.
    ValueError
        If the batch sizes increase, are less than 1 or none, or do not add up to the rows.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"{operation}: sequence is a {type(sequence).__name__}; expected a PackedSequence")
    data = sequence.data
    if not isinstance(data, TensorBase):
        raise TypeError(f"{operation}: data of the sequence is a {type(data).__name__}; expected a Tensor")
    if not data.shape:
        raise ValueError(f"{operation}: data of the sequence is (); expected (rows, ...)")
    return data, checked_batch_sizes(sequence.batch_sizes, data.shape[0], operation)


def checked_batch_sizes(batch_sizes: Any, rows: int, operation: str) -> NDArray[np.int64]:
    """Return the batch sizes of packed rows as an array.

    Raises
    ------
    TypeError
        If they are no integers.
    ValueError
        If they increase, are less than 1 or none, or do not add up to the rows.
    """
    sizes = to_host(as_array(batch_sizes, operation, "batch_sizes"))
    if sizes.ndim != 1 or not len(sizes):
        raise ValueError(f"{operation}: batch_sizes is {sizes.shape}; expected (T,), one for each step")
    if sizes.dtype.kind not in "iu":
        raise TypeError(f"{operation}: batch_sizes has dtype {sizes.dtype}; expected integers")
    sizes = sizes.astype(np.int64)
    if sizes[-1] < 1 or (sizes[1:] > sizes[:-1]).any():
        raise ValueError(
            f"{operation}: batch_sizes is {sizes.tolist()}; expected no increase, and 1 at the least"
        )
    if sizes.sum() != rows:
        raise ValueError(
            f"{operation}: batch_sizes add up to {sizes.sum()}; expected the rows of data, {rows}"
        )
    return sizes


def _lengths(lengths: Any, operation: str, batch: int, longest: int) -> NDArray[np.int64]:
    array = to_host(as_array(lengths, operation, "lengths"))
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
        If `input` is no tensor, or `lengths` are no integers.
    ValueError
        If a length is out of range, or they increase and `enforce_sorted` is set, or `input` has no two dimensions, or
        no step of a sequence.
    """
    operation = "pack_padded_sequence"
    if not isinstance(input, TensorBase):
        raise TypeError(f"{operation}: input is a {type(input).__name__}; expected a Tensor")
    if len(input.shape) < 2:
        raise ValueError(
            f"{operation}: input is {input.shape}; expected (T, B, ...) or, batch first, (B, T, ...)"
        )
    batch, longest = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    if batch == 0 or longest == 0:
        raise ValueError(
            f"{operation}: input is {input.shape}; expected at least one step of at least one sequence"
        )
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

    Raises
    ------
    TypeError
        If `sequence` is no PackedSequence of a tensor and integers.
    ValueError
        If its batch sizes do not fit its data, or `total_length` is too small.
    """
    data, batch_sizes = checked_packed(sequence, "pad_packed_sequence")
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

    Raises
    ------
    TypeError, ValueError
        If `sequences` is empty, or one is no tensor, has no steps, or elements of another shape.
    """
    return pad_packed_sequence(_pack(sequences, False, "pad_sequence"), batch_first, padding_value)[0]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, ...), each at least one step long.

    Raises
    ------
    TypeError, ValueError
        As `pad_sequence` does; and if lengths increase and `enforce_sorted` is set.
    """
    return _pack(sequences, enforce_sorted, "pack_sequence")


def _pack(sequences: Sequence[Tensor], enforce_sorted: bool, operation: str) -> PackedSequence:
    sequences = list(sequences)
    if not sequences:
        raise ValueError(f"{operation}: sequences is empty; expected at least one")
    for i, sequence in enumerate(sequences):
        if not isinstance(sequence, TensorBase):
            raise TypeError(f"{operation}: sequences[{i}] is a {type(sequence).__name__}; expected a Tensor")
        if not sequence.shape or not sequence.shape[0]:
            raise ValueError(
                f"{operation}: sequences[{i}] is {tuple(sequence.shape)}; expected (L, ...), L at least 1"
            )
    shapes = {tuple(s.shape[1:]) for s in sequences}
    if len(shapes) > 1:
        raise ValueError(
            f"{operation}: sequences have elements of shapes {sorted(shapes)}; expected one shape"
        )
    sizes = np.array([s.shape[0] for s in sequences], np.int64)
    order: NDArray[np.int64] | None = None
    if enforce_sorted:
        if (np.diff(sizes) > 0).any():
            raise ValueError(
                f"{operation}: lengths increase; expected sequences longest first, or enforce_sorted=False"
            )
    else:
        order = np.argsort(-sizes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    if order is not None:
        sizes, starts = sizes[order], starts[order]
    batch_sizes = _batch_sizes(sizes)
    index = np.concatenate([starts[:n] + t for t, n in enumerate(batch_sizes)])
    return PackedSequence(cat(sequences)[index], batch_sizes, order, invert_permutation(order))
