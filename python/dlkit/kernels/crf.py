"""Linear-chain conditional random fields (csrc/layers/crf.h).

Rows of ``emissions`` are the steps of a packed batch, as those of `dlkit.kernels.recurrent`: step after step, with as
many rows as sequences are that long, longest first; ``batch_sizes`` says how many rows each step has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, host_array, is_device_array
from dlkit.kernels.layers import device_rung_of, rung_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CrfGradients", "crf_decode", "crf_loss", "crf_loss_and_gradients"]

devices: Any = OnDemand("dlkit.kernels.device_crf")


class CrfGradients(NamedTuple):
    """Gradients of a conditional random field.

    Attributes
    ----------
    emissions : array of shape (rows, K)
    transitions : array of shape (K, K)
    start, end : arrays of shape (K,)
    """

    emissions: NDArray[Any]
    transitions: NDArray[Any]
    start: NDArray[Any]
    end: NDArray[Any]


def crf_loss(
    emissions: Any,
    tags: Any,
    batch_sizes: Sequence[int] | NDArray[np.int64],
    transitions: Any,
    start: Any = None,
    end: Any = None,
    *,
    variant: str | None = None,
) -> NDArray[Any]:
    """Return minus the logarithm of the probability of each sequence's tags.

    The probability of tags y of a sequence of n steps is exp(s(y)) / Z with the score ``s(y) = start[y[0]] + sum over t
    of emissions[t, y[t]] + sum over t > 0 of transitions[y[t - 1], y[t]] + end[y[n - 1]]``, and Z the sum of exp(s)
    over all K^n tag sequences.

    Parameters
    ----------
    emissions : array of shape (rows, K), float32 or float64
        Packed, see above.
    tags : integer array of shape (rows,), or None
        From 0 to K - 1, in the order of the rows. None: the result is log Z.
    batch_sizes : sequence of int
        Rows of each step; not increasing, at least 1, together the rows of `emissions`.
    transitions : array of shape (K, K)
        The score of tag j after tag i at [i, j].
    start, end : arrays of shape (K,), optional
        Of the first and the last tag. Default: zeros.
    variant : {"naive", "fused"}, optional
        On a device ``"fused"``.

    Returns
    -------
    array of shape (B,)
        B = ``batch_sizes[0]``.

    Raises
    ------
    TypeError
        If dtypes differ or are not float32 or float64; if tags are no integers; if arrays are on different devices.
    ValueError
        If shapes do not fit, a tag is out of range, or batch sizes increase or do not add up. (Of tags on a device,
        where to raise would mean to wait, one that is out of range makes its sequence's loss NaN.)

    Notes
    -----
    Lafferty, McCallum & Pereira, ICML 2001. Whatever the scores: what does not fit the range of `emissions`' dtype in
    probabilities is computed in logarithms.
    """
    if is_device_array(emissions):
        device_rung_of(variant, "crf", emissions)
        found: NDArray[Any] = devices.crf_loss(emissions, tags, batch_sizes, transitions, start, end, None)[0]
        return found
    arrays = _model("crf_loss", emissions, batch_sizes, transitions, start, end)
    return _cpu.crf_loss(*arrays, _tags(tags), None, rung_of(variant, "crf"))[0]


def crf_loss_and_gradients(
    emissions: Any,
    tags: Any,
    batch_sizes: Sequence[int] | NDArray[np.int64],
    transitions: Any,
    start: Any = None,
    end: Any = None,
    *,
    weights: Any = 1.0,
    variant: str | None = None,
) -> tuple[NDArray[Any], CrfGradients]:
    """Return `crf_loss` and the gradients of its weighted sum, in one pass forward and one backward.

    Parameters
    ----------
    emissions, tags, batch_sizes, transitions, start, end, variant
        As for `crf_loss`. Where `tags` is None, the gradients are those of log Z: by the emissions, the probability of
        each tag at each step.
    weights : float, or array of shape (B,)
        Of each sequence's loss in the sum. Default: 1.

    Returns
    -------
    array of shape (B,)
    CrfGradients
        The same bits on any number of threads.

    Raises
    ------
    TypeError, ValueError
        As `crf_loss` does.
    """
    operation = "crf_loss"
    if is_device_array(emissions):
        device_rung_of(variant, "crf", emissions)
        losses, *gradients = devices.crf_loss(emissions, tags, batch_sizes, transitions, start, end, weights)
        return losses, CrfGradients(*gradients)
    arrays = _model(operation, emissions, batch_sizes, transitions, start, end)
    if isinstance(weights, (int, float)):
        weights = np.full(
            _batch(batch_sizes, len(arrays[0]) if arrays[0].ndim else 0), weights, arrays[0].dtype
        )
    found = _cpu.crf_loss(
        *arrays, _tags(tags), host_array(weights, operation, "weights"), rung_of(variant, "crf")
    )
    losses, by_emissions, by_transitions, by_start, by_end = found
    assert by_emissions is not None
    assert by_transitions is not None
    assert by_start is not None
    assert by_end is not None
    return losses, CrfGradients(by_emissions, by_transitions, by_start, by_end)


def crf_decode(
    emissions: Any,
    batch_sizes: Sequence[int] | NDArray[np.int64],
    transitions: Any,
    start: Any = None,
    end: Any = None,
    *,
    variant: str | None = None,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Find the likeliest tags of each sequence (Viterbi 1967).

    Parameters
    ----------
    emissions, batch_sizes, transitions, start, end, variant
        As for `crf_loss`. A transition of minus infinity forbids it.

    Returns
    -------
    array of int64, shape (rows,)
        The tags, in the order of the rows. Of two equally good sequences of tags that with the smaller last tag, or,
        where it is the same, the smaller one before it, and so on.
    array of shape (B,)
        Their scores.

    Raises
    ------
    TypeError, ValueError
        As `crf_loss` does.
    """
    if is_device_array(emissions):
        device_rung_of(variant, "crf", emissions)
        path, scores = devices.crf_decode(emissions, batch_sizes, transitions, start, end)
        return path, scores
    arrays = _model("crf_decode", emissions, batch_sizes, transitions, start, end)
    return _cpu.crf_decode(*arrays, rung_of(variant, "crf"))


def _model(
    operation: str, emissions: Any, batch_sizes: Any, transitions: Any, start: Any, end: Any
) -> tuple[NDArray[Any], Sequence[int], NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]:
    sizes = batch_sizes.tolist() if isinstance(batch_sizes, np.ndarray) else batch_sizes
    return (
        host_array(emissions, operation, "emissions"),
        sizes,
        host_array(transitions, operation, "transitions"),
        None if start is None else host_array(start, operation, "start"),
        None if end is None else host_array(end, operation, "end"),
    )


def _batch(batch_sizes: Any, rows: int) -> int:
    # What the kernel will say no to is no reason to ask for memory.
    try:
        return min(max(int(batch_sizes[0]), 0), rows)
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0


def _tags(tags: Any) -> Any:
    return tags if tags is None else host_array(tags, "crf_loss", "tags")
