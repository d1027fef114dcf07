"""A recurrent layer a step at a time, in operations of tensors: the textbook, and layer normalisation on devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.arrangement import cat
from dlkit.autograd.base import make
from dlkit.kernels.backend import namespace
from dlkit.kernels.recurrent import CELLS, RecurrentWeights
from dlkit.nn import functional
from dlkit.nn.recurrent_functional import RecurrentState

if TYPE_CHECKING:
    from dlkit.autograd.tensor import Tensor


def recurrent_steps(
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
    """Run a recurrent layer over all steps of a packed batch, as `functional.recurrent`.

    Parameters
    ----------
    x, weights, batch_sizes, h0, c0, cell, new_z, mask
        As for `functional.recurrent`.

    Notes
    -----
    Each step is some twenty operations of the graph: slower than the kernel, whose results it gives (an LSTM's training
    step of 200 units takes 2.2 times as long on one thread of a CPU, with layer normalisation 2.4). Kernels of devices
    have no layer normalisation (Ba, Kiros & Hinton, 2016): there, this has it.
    """
    hidden = weights[0].hh.shape[1]
    batch, has_c = batch_sizes[0], CELLS[cell].has_c
    offsets = np.concatenate([[0], np.cumsum(batch_sizes)]).tolist()
    outputs, last_h, last_c = [], [], []
    for d, w in enumerate(weights):
        by_input = functional.linear(x, w.ih)
        if w.norm_ih is not None:
            by_input = _normalised(by_input, hidden, w.norm_ih)
        if w.ih_bias is not None:
            by_input = by_input + w.ih_bias
        zeros = make(namespace(x._array).zeros((batch, hidden), x.dtype))
        begin = tuple(zeros if s is None else s[d] for s in (h0, c0))
        visible = None if mask is None else make(mask[d])
        steps: list[Any] = [None] * len(batch_sizes)
        order = range(len(batch_sizes))
        h, c = begin
        if d == 1:
            order = range(len(batch_sizes) - 1, -1, -1)
            h, c = (s[: batch_sizes[-1]] for s in begin)
        ended_h, ended_c = [], []
        for t in order:
            count, before = batch_sizes[t], h.shape[0]
            if count < before:  # some sequences are over
                ended_h.append(h[count:])
                ended_c.append(c[count:])
                h, c = h[:count], c[:count]
            elif count > before:  # backwards, they begin
                h, c = (cat([s, first[before:count]]) for s, first in zip((h, c), begin, strict=True))
            h, c = _step(
                cell,
                by_input[offsets[t] : offsets[t + 1]],
                h,
                c,
                w,
                None if visible is None else visible[:count],
                new_z,
            )
            steps[t] = h
        last_h.append(cat([h, *reversed(ended_h)]) if ended_h else h)
        last_c.append(cat([c, *reversed(ended_c)]) if ended_c else c)
        outputs.append(cat(steps))
    return RecurrentState(
        outputs[0] if len(outputs) == 1 else cat(outputs, 1),
        _stacked(last_h),
        _stacked(last_c) if has_c else None,
    )


def _step(
    cell: str, x: Any, h: Any, c: Any, w: RecurrentWeights, visible: Any, new_z: bool
) -> tuple[Any, Any]:
    """One step: pre-activations of the input x, states h and c; returns the new states."""
    hidden = h.shape[1]
    gates = CELLS[cell].gates
    seen = h if visible is None else h * visible

    def from_state(state: Any, part: slice) -> Any:
        product = functional.linear(state, w.hh[part])
        if w.norm_hh is not None:
            product = _normalised(product, hidden, w.norm_hh[part])
        return product if w.hh_bias is None else product + w.hh_bias[part]

    def of(values: Any, gate: int) -> Any:
        return values[:, gate * hidden : (gate + 1) * hidden]

    if cell == "gru_reset_first":
        two = slice(0, 2 * hidden)
        a = x[:, two] + from_state(seen, two)
        r, z = functional.sigmoid(of(a, 0)), functional.sigmoid(of(a, 1))
        n = functional.tanh(of(x, 2) + from_state(r * seen, slice(2 * hidden, 3 * hidden)))
        keep = 1 - z if new_z else z
        return (1 - keep) * n + keep * h, c
    u = from_state(seen, slice(0, gates * hidden))
    if cell == "gru":
        r, z = functional.sigmoid(of(x, 0) + of(u, 0)), functional.sigmoid(of(x, 1) + of(u, 1))
        n = functional.tanh(of(x, 2) + r * of(u, 2))
        keep = 1 - z if new_z else z
        return (1 - keep) * n + keep * h, c
    a = x + u
    if cell == "tanh":
        return functional.tanh(a), c
    if cell == "relu":
        return functional.relu(a), c
    if cell == "additive":
        return h + functional.tanh(a), c
    if cell == "interpolate":
        f = functional.sigmoid(of(a, 0))
        return f * h + (1 - f) * functional.tanh(of(a, 1)), c
    if cell == "input_gate":
        i, f = functional.sigmoid(of(a, 0)), functional.sigmoid(of(a, 1))
        return f * h + i * functional.tanh(of(a, 2)), c

    def peep(gate: int, state: Any) -> Any:
        return 0.0 if w.peepholes is None else w.peepholes[gate] * state

    coupled = cell == "coupled_lstm"
    i = functional.sigmoid(of(a, 0) + peep(0, c))
    f = 1 - i if coupled else functional.sigmoid(of(a, 1) + peep(1, c))
    g = functional.tanh(of(a, 1 if coupled else 2))
    c = f * c + i * g
    o = functional.sigmoid(of(a, 2 if coupled else 3) + peep(2, c))
    shown = c
    if w.norm_c is not None:
        shown = functional.layer_norm(c, hidden, w.norm_c, w.norm_c_bias)
    return o * functional.tanh(shown), c


def _normalised(values: Any, hidden: int, gain: Any) -> Any:
    """Each gate's H numbers to mean 0 and variance 1, times the gains."""
    rows, width = values.shape
    if not rows:
        return values
    return (
        functional.layer_norm(values.reshape(rows, width // hidden, hidden), hidden).reshape(rows, width)
        * gain
    )


def _stacked(states: list[Any]) -> Any:
    return cat([s.reshape(1, *s.shape) for s in states])
