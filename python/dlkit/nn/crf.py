"""The conditional random field as an output layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import device_of, move, to_host
from dlkit.nn import init
from dlkit.nn.crf_functional import check_crf_reduction, crf_loss
from dlkit.nn.linear import positive_integer
from dlkit.nn.module import Module, float_dtype
from dlkit.nn.parameter import Parameter
from dlkit.nn.sequences import PackedSequence, checked_packed, pack_padded_sequence


class CRF(Module):
    """A linear-chain conditional random field over the tags of a sequence (Lafferty et al., ICML 2001).

    Calling it gives the loss; `decode` the likeliest tags; `marginals` the probability of each tag at each step.

    Parameters
    ----------
    num_tags : int
        K.
    batch_first : bool
        Whether padded emissions are (B, T, K) instead of (T, B, K).
    reduction : {"mean", "token_mean", "sum", "none"}
        Of the loss: the mean over sequences, or over their steps; the sum; or each sequence's.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    start_transitions, end_transitions : Parameter of shape (K,)
        Scores of the first and the last tag.
    transitions : Parameter of shape (K, K)
        The score of tag j after tag i at [i, j]. All three begin uniform from -0.1 to 0.1. Names and layout are those
        of the package pytorch-crf.
    """

    def __init__(
        self, num_tags: int, batch_first: bool = False, reduction: str = "mean", *, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        self.num_tags = positive_integer(num_tags, "CRF", "num_tags")
        check_crf_reduction(reduction, "CRF")
        self.batch_first, self.reduction = bool(batch_first), reduction
        kind = float_dtype(dtype, "CRF")
        self.start_transitions = Parameter(np.empty(self.num_tags, kind))
        self.end_transitions = Parameter(np.empty(self.num_tags, kind))
        self.transitions = Parameter(np.empty((self.num_tags, self.num_tags), kind))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all scores anew."""
        for parameter in self.parameters():
            init.uniform_(parameter, -0.1, 0.1)

    def forward(self, emissions: Any, tags: Any, lengths: Any = None) -> Tensor:
        """Return minus the logarithm of the probability of the tags.

        Parameters
        ----------
        emissions : Tensor of shape (T, B, K), (B, T, K) with `batch_first`, or PackedSequence of rows of K
        tags : integer array of shape (T, B) or (B, T), or (rows,) for packed emissions
            Past a sequence's end anything.
        lengths : sequence of B int, optional
            Steps of each padded sequence, 1 to T. Default: all T.

        Raises
        ------
        TypeError
            If `emissions` is neither, or tags or lengths are no integers.
        ValueError
            If shapes do not fit; a tag or a length is out of range.
        """
        rows, sizes, packing, _ = self._rows(emissions, lengths)
        labels = as_array(tags._array if isinstance(tags, TensorBase) else tags, "CRF", "tags")
        if packing is not None:
            shape = tuple(emissions.shape[:2])
            if labels.shape != shape:
                raise ValueError(
                    f"CRF: tags is {labels.shape} but emissions is {tuple(emissions.shape)}; expected {shape}"
                )
            labels = labels.reshape(-1)[move(packing, device_of(labels))]
        return crf_loss(
            *(rows, labels, sizes, self.transitions, self.start_transitions, self.end_transitions),
            self.reduction,
        )

    def decode(self, emissions: Any, lengths: Any = None, allowed: Any = None) -> list[NDArray[np.int64]]:
        """Return the likeliest tags of each sequence, in the order of the batch: arrays of the host.

        Parameters
        ----------
        emissions, lengths
            As for `forward`.
        allowed : bool array of shape (K, K), optional
            Whether tag j may follow tag i, at [i, j]. Default: all may.
        """
        rows, sizes, _, order = self._rows(emissions, lengths)
        best, _ = kernels.crf_decode(rows._array, sizes, self.scores(allowed), *self._borders())
        return _unpacked(to_host(best), sizes, order)

    def decode_rows(self, rows: Any, batch_sizes: Any, allowed: Any = None) -> NDArray[np.int64]:
        """As `decode`, of packed rows, in their order: (rows,)."""
        array = rows._array if isinstance(rows, TensorBase) else rows
        return kernels.crf_decode(array, batch_sizes, self.scores(allowed), *self._borders())[0]

    def marginals(self, emissions: Any, lengths: Any = None) -> list[NDArray[Any]]:
        """Return the probability of each tag at each step, given the whole sequence: (n, K) for each, on the host."""
        rows, sizes, _, order = self._rows(emissions, lengths)
        _, found = kernels.crf_loss_and_gradients(
            rows._array, None, sizes, self.transitions._array, *self._borders()
        )
        return _unpacked(to_host(found.emissions), sizes, order)

    def scores(self, allowed: Any = None) -> NDArray[Any]:
        """Return the transitions, minus infinity where they are not allowed."""
        table: NDArray[Any] = self.transitions._array
        if allowed is None:
            return table
        mask = np.asarray(allowed)
        if mask.dtype != bool or mask.shape != table.shape:
            raise ValueError(f"CRF: allowed is {mask.shape} of {mask.dtype}; expected {table.shape} of bool")
        allowed_there = move(mask, device_of(table))
        return np.where(allowed_there, table, float("-inf")).astype(table.dtype, copy=False)

    def _borders(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.start_transitions._array, self.end_transitions._array

    def _rows(
        self, emissions: Any, lengths: Any
    ) -> tuple[Tensor, list[int], NDArray[np.int64] | None, NDArray[np.int64] | None]:
        # Packed rows, their batch sizes, for padded emissions which of T B (or B T) places each row is, and which of
        # the packed sequences is each of the batch.
        if isinstance(emissions, PackedSequence):
            if lengths is not None:
                raise ValueError("CRF: lengths is given but emissions are packed; expected one of them")
            rows, sizes = checked_packed(emissions, "CRF")
            packing, order = None, emissions.unsorted_indices
        else:
            if not isinstance(emissions, Tensor):
                raise TypeError(
                    f"CRF: emissions is a {type(emissions).__name__}; expected a Tensor or a PackedSequence"
                )
            if len(emissions.shape) != 3 or 0 in emissions.shape:
                expected = "(B, T, K)" if self.batch_first else "(T, B, K)"
                raise ValueError(
                    f"CRF: emissions is {tuple(emissions.shape)}; expected {expected}, none of them 0"
                )
            steps, batch = emissions.shape[:2][:: -1 if self.batch_first else 1]
            given = np.full(batch, steps) if lengths is None else lengths
            places = np.arange(steps * batch, dtype=np.int64).reshape(emissions.shape[:2])
            packed = pack_padded_sequence(Tensor(places), given, self.batch_first, False)
            sizes, packing, order = packed.batch_sizes, packed.data._array, packed.unsorted_indices
            there = move(packing, device_of(emissions._array))
            rows = emissions.reshape(steps * batch, emissions.shape[2])[there]
        if rows.shape[-1] != self.num_tags or len(rows.shape) != 2:
            raise ValueError(
                f"CRF: emissions have shape {tuple(rows.shape)} in rows; expected num_tags, {self.num_tags}, of them"
            )
        return rows, [int(n) for n in sizes], packing, order

    def extra_repr(self) -> str:
        """Return the number of tags, and the settings that are not the default."""
        text = str(self.num_tags)
        if self.batch_first:
            text += ", batch_first=True"
        return text if self.reduction == "mean" else f"{text}, reduction={self.reduction!r}"


def _unpacked(rows: NDArray[Any], sizes: list[int], order: NDArray[np.int64] | None) -> list[NDArray[Any]]:
    # The rows of each sequence, in the order of the batch.
    starts = np.cumsum([0, *sizes[:-1]])
    counts = (np.array(sizes)[:, np.newaxis] > np.arange(sizes[0])).sum(axis=0)
    sequences = [rows[starts[:count] + i] for i, count in enumerate(counts)]
    return sequences if order is None else [sequences[i] for i in order]
