"""How much a state of a recurrent layer depends on the states before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit import kernels
from dlkit.kernels.recurrent import RecurrentWeights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from dlkit.nn.recurrent import Recurrent


class StateGradients(NamedTuple):
    """Norms of the derivatives of the last hidden state by earlier states.

    Attributes
    ----------
    lags : ndarray of shape (L,)
        Steps back, from 0.
    by_h : ndarray of shape (L, B)
        Spectral norm of dh_T / dh_(T-lag), of each sequence; the cell state, where there is one, held fixed.
    by_c : ndarray of shape (L, B), or None
        Spectral norm of dh_T / dc_(T-lag), of LSTMs.
    """

    lags: NDArray[np.int64]
    by_h: NDArray[np.float64]
    by_c: NDArray[np.float64] | None


def state_gradients(layer: Recurrent, x: ArrayLike, lags: Sequence[int] | None = None) -> StateGradients:
    """Compute the Jacobians of the last state by earlier ones, by back-propagation, in float64.

    Backward starts from the identity, one row for each unit of the last state, and takes it back through one step of
    the kernel at a time; after k steps the rows are the Jacobian over k steps. 2 T steps of B H rows: O(T B G H^3).

    Parameters
    ----------
    layer : Recurrent
        Of one layer and one direction.
    x : array of shape (T, B, I)
        Inputs, time first whatever the layer's `batch_first`.
    lags : sequence of int, optional
        Steps back at which norms are taken, 0 … T. Default: all.

    Raises
    ------
    ValueError
        The layer has several layers or directions, `x` does not fit it, or a lag is out of range.

    Notes
    -----
    Of the simple RNN, h = s(U h' + …), the norm over k steps is at most (g l)^k, with l the largest singular value of U
    and g the largest slope of s, 1 for tanh and ReLU (Pascanu et al., ICML 2013); `gradient_bound` returns g l.
    """
    operation = "state_gradients"
    if layer.num_layers != 1 or layer.directions != 1:
        raise ValueError(
            f"{operation}: the layer has {layer.num_layers} layers and {layer.directions} directions; expected one of "
            f"each"
        )
    inputs = np.asarray(x, np.float64)
    if inputs.ndim != 3 or 0 in inputs.shape or inputs.shape[2] != layer.input_size:
        raise ValueError(
            f"{operation}: x is {inputs.shape}; expected (T, B, {layer.input_size}), none of them 0"
        )
    steps, batch, _ = inputs.shape
    chosen = list(range(steps + 1)) if lags is None else sorted({int(lag) for lag in lags})
    if not chosen or chosen[0] < 0 or chosen[-1] > steps:
        raise ValueError(f"{operation}: lags is {lags}; expected some of 0 … {steps}")
    weights = RecurrentWeights(
        *(None if w is None else w.data.astype(np.float64) for w in layer._weights(0)[0])
    )
    settings: dict[str, Any] = {"cell": layer.cell, "new_z": layer.new_z}
    hidden = layer.hidden_size
    rows = batch * hidden

    # The states before each step.
    zero = np.zeros((1, batch, hidden))
    states: list[tuple[Any, Any]] = [(zero, zero if layer.has_c else None)]
    for step in inputs:
        _, h, c, _ = kernels.recurrent(step, [weights], [batch], *states[-1], **settings)
        states.append((h, c))

    # Row i of sequence b: the gradient of unit i of its last state.
    by = np.tile(np.eye(hidden), (batch, 1))[np.newaxis], np.zeros((1, rows, hidden)) if layer.has_c else None
    nothing = RecurrentWeights(None, None)
    norms_h, norms_c = [], []
    for lag in range(chosen[-1] + 1):
        if lag:
            step = np.repeat(inputs[steps - lag], hidden, axis=0)
            before = [None if s is None else np.repeat(s, hidden, axis=1) for s in states[steps - lag]]
            y, _, _, saved = kernels.recurrent(step, [weights], [rows], *before, keep=True, **settings)
            assert saved is not None
            _, dh, dc, _ = kernels.recurrent_backward(
                *(saved, step, [weights], [rows], y, None, *by), by_x=False, out=[nothing], **settings
            )
            assert dh is not None
            by = dh, dc
        if lag in chosen:
            norms_h.append(_norms(by[0], batch, hidden))
            if by[1] is not None:
                norms_c.append(_norms(by[1], batch, hidden))
    return StateGradients(np.array(chosen), np.array(norms_h), np.array(norms_c) if layer.has_c else None)


def gradient_bound(layer: Recurrent) -> float:
    """Return g l of a simple RNN: no step makes a gradient longer by more (Pascanu et al., ICML 2013).

    Raises
    ------
    ValueError
        The cell is neither tanh nor relu, there are several layers or directions, or it has layer normalisation.
    """
    if layer.layer_norm:
        raise ValueError(
            "gradient_bound: the layer has layer_norm=True; expected none, which bounds nothing so"
        )
    if layer.cell not in ("tanh", "relu") or layer.num_layers != 1 or layer.directions != 1:
        raise ValueError(
            f"gradient_bound: the layer is {layer.cell} with {layer.num_layers} layers and {layer.directions} "
            f"directions; expected tanh or relu, one of each"
        )
    return float(np.linalg.norm(layer._weights(0)[0].hh.data.astype(np.float64), 2))


def _norms(rows: NDArray[np.float64], batch: int, hidden: int) -> NDArray[np.float64]:
    jacobians = rows.reshape(batch, hidden, hidden)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(jacobians).all(axis=(1, 2)))
    norms = np.linalg.norm(np.where(finite[:, np.newaxis, np.newaxis], jacobians, 0), 2, axis=(1, 2))
    return np.where(finite, norms, np.inf)
