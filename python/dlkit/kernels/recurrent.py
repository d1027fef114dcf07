"""Recurrent layers over whole sequences (csrc/recurrent).

Rows of ``x`` are the steps of a packed batch: step after step, with as many rows as sequences are that long, longest
first; ``batch_sizes`` says how many rows each step has. A batch of T steps of B sequences of one length is
``x.reshape(T * B, -1)`` with ``[B] * T``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, is_device_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CELLS",
    "CellTraits",
    "RecurrentSaved",
    "RecurrentWeights",
    "gru",
    "gru_cell",
    "lstm",
    "lstm_cell",
    "recurrent",
    "recurrent_backward",
    "rnn",
    "rnn_cell",
]

devices: Any = OnDemand("dlkit.kernels.device_recurrent")


class CellTraits(NamedTuple):
    """What a cell of the ladder needs.

    Attributes
    ----------
    gates : int
        Pre-activations of a unit: weights have `gates` times H rows.
    slots : int
        Numbers of a unit and a step that training keeps.
    has_c : bool
        Whether there is a cell state beside the hidden state.
    """

    gates: int
    slots: int
    has_c: bool


#: The cells, simplest first: tanh, relu, additive, interpolate, input_gate, lstm, coupled_lstm, gru, gru_reset_first.
#: csrc/recurrent/recurrent.h has their equations.
CELLS: dict[str, CellTraits] = {row[0]: CellTraits(*row[1:]) for row in _cpu.recurrent_cells()}
# Those that functions of the field's names are for, the default first.
_LSTMS, _GRUS = ("lstm", "coupled_lstm"), ("gru", "gru_reset_first")
_RNNS = ("tanh", "relu", "additive", "interpolate", "input_gate")


class RecurrentWeights(NamedTuple):
    """Weights of one layer in one direction, G gates of H units. Gate order and layout are PyTorch's.

    Attributes
    ----------
    ih : array of shape (G H, I)
        Of the input.
    hh : array of shape (G H, H)
        Of the state.
    ih_bias, hh_bias : arrays of shape (G H,), optional
    peepholes : array of shape (3, H), optional
        Of LSTMs: what the gates i, f and o see of the cell state.
    norm_ih, norm_hh : arrays of shape (G H,), optional
        Both, or neither: layer normalisation (Ba, Kiros & Hinton, 2016). What the gates get from the input and from
        the state is then normalised apart, each gate over its H units (``nn.functional.layer_norm``), and multiplied
        with these gains before the biases are added.
    norm_c, norm_c_bias : arrays of shape (H,), optional
        With those, of LSTMs: gain and shift of the cell state, normalised on its way to the hidden state.
    """

    ih: Any
    hh: Any
    ih_bias: Any = None
    hh_bias: Any = None
    peepholes: Any = None
    norm_ih: Any = None
    norm_hh: Any = None
    norm_c: Any = None
    norm_c_bias: Any = None


class RecurrentSaved(NamedTuple):
    """What `recurrent` keeps of a layer for `recurrent_backward`: an array for each direction, used once."""

    reserves: tuple[NDArray[Any], ...]


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the chapter's tables of variants."""
    return {"recurrent": _cpu.recurrent_variants()}


def recurrent(
    x: Any,
    weights: Sequence[RecurrentWeights],
    batch_sizes: Sequence[int],
    h0: Any = None,
    c0: Any = None,
    *,
    cell: str = "lstm",
    new_z: bool = False,
    mask: Any = None,
    keep: bool = False,
    variant: str | None = None,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, RecurrentSaved | None]:
    """Run a recurrent layer over all steps of a packed batch.

    Parameters
    ----------
    x : array of shape (rows, I), float32 or float64
        Packed, see above.
    weights : sequence of RecurrentWeights
        Of one direction, or of two: then the second goes from each sequence's last step to its first. On a device
        without those of layer normalisation.
    batch_sizes : sequence of int
        Rows of each step; not increasing, at least 1, together the rows of `x`.
    h0, c0 : arrays of shape (directions, B, H), optional
        States before the first step, B = ``batch_sizes[0]``; c0 of LSTMs alone. Default: zeros.
    cell : str
        One of `CELLS`.
    new_z : bool
        Of GRUs: z is the share of the new candidate, not of the old state.
    mask : array of shape (directions, B, H), optional
        What the recurrent weights see of the state is multiplied with it at every step: variational dropout (Gal &
        Ghahramani, NIPS 2016).
    keep : bool
        Keep what `recurrent_backward` needs.
    variant : str, optional
        One of ``variants("recurrent")``, on a device of ``variants("recurrent", "cuda")``. Default: the fastest for the
        shape.

    Returns
    -------
    y : array of shape (rows, directions H)
        The hidden state of every step.
    hn : array of shape (directions, B, H)
        That after each sequence's last step (of the second direction, its first).
    cn : array or None
        The cell state there, where the cell has one.
    saved : RecurrentSaved or None

    Raises
    ------
    TypeError
        If dtypes differ or are not float32 or float64, or arrays are on several devices.
    ValueError
        If shapes do not fit, `batch_sizes` is not as above, `cell` or `variant` is unknown, or the cell has no use for
        `c0` or `new_z`.
    """
    operation = "recurrent"
    if is_device_array(x):
        traits, _ = _check(operation, cell, weights, new_z, "c0", c0)
        found = devices.recurrent(
            *(operation, x, weights, batch_sizes, h0, c0, mask, bool(keep), traits),
            (cell, bool(new_z), variant),
        )
        return (*found[:3], None if found[3] is None else RecurrentSaved(found[3]))
    x = as_array(x, operation, "x")
    traits, hidden = _check(operation, cell, weights, new_z, "c0", c0)
    if x.ndim != 2:
        raise ValueError(f"{operation}: x is {x.shape}; expected (rows, inputs)")
    directions = len(weights)
    y = _cpu.empty((x.shape[0], directions * hidden), x.dtype)
    calls = [
        (
            cell,
            new_z,
            d == 1,
            batch_sizes,
            x,
            *_arrays(w, operation),
            _of(mask, d, directions, operation, "mask"),
            _of(h0, d, directions, operation, "h0"),
            _of(c0, d, directions, operation, "c0"),
            y[:, d * hidden : (d + 1) * hidden],
            keep,
            variant,
        )
        for d, w in enumerate(weights)
    ]
    results = (_cpu.recurrent(*calls[0]),) if directions == 1 else _cpu.recurrent_pair(*calls[0], *calls[1])
    last_h, last_c, reserves = zip(*results, strict=True)
    return (
        y,
        _together(last_h),
        _together(last_c) if traits.has_c else None,
        RecurrentSaved(reserves) if keep else None,
    )


def recurrent_backward(
    saved: RecurrentSaved,
    x: Any,
    weights: Sequence[RecurrentWeights],
    batch_sizes: Sequence[int],
    y: NDArray[Any],
    dy: Any = None,
    dhn: Any = None,
    dcn: Any = None,
    *,
    cell: str = "lstm",
    new_z: bool = False,
    mask: Any = None,
    by_x: bool = True,
    by_state: bool = True,
    out: Sequence[RecurrentWeights] | None = None,
    accumulate: bool = False,
    variant: str | None = None,
) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None, tuple[RecurrentWeights, ...]]:
    """Return the gradients of `recurrent` by its input, its first states and its weights.

    Parameters
    ----------
    saved : RecurrentSaved
        What `recurrent` kept; overwritten.
    x, weights, batch_sizes, y
        As `recurrent` got and returned them.
    dy : array of shape (rows, directions H), optional
    dhn, dcn : arrays of shape (directions, B, H), optional
        Gradients by what `recurrent` returned. Default: zeros.
    cell, new_z, mask, variant
        As for `recurrent`.
    by_x, by_state : bool
        Whether those gradients are wanted; None in their places otherwise.
    out : sequence of RecurrentWeights, optional
        Arrays for the gradients by weights; None in place of one that is not wanted. Default: new ones for all weights.
    accumulate : bool
        Add to what `out` holds.

    Returns
    -------
    dx, dh0, dc0 : arrays or None
    dweights : tuple of RecurrentWeights

    Raises
    ------
    TypeError, ValueError
        As for `recurrent`.
    """
    operation = "recurrent_backward"
    traits, hidden = _check(operation, cell, weights, new_z, "dcn", dcn)
    directions = len(weights)
    if len(saved.reserves) != directions or (out is not None and len(out) != directions):
        name, given = ("saved", saved.reserves) if len(saved.reserves) != directions else ("out", out)
        raise ValueError(
            f"{operation}: {name} is of {len(given or ())} directions and weights of {directions}; expected as many"
        )
    if is_device_array(x):
        found = devices.recurrent_backward(
            *(operation, saved.reserves, x, weights, batch_sizes, y, dy, dhn, dcn, mask, by_x, by_state),
            *(out, bool(accumulate), traits, (cell, bool(new_z), variant)),
        )
        return (*found[:3], tuple(found[3]))
    x = as_array(x, operation, "x")
    y = _outputs(y, (len(x), directions * hidden), operation, "y")
    dy = None if dy is None else _outputs(dy, y.shape, operation, "dy")
    dx = _cpu.empty(x.shape, x.dtype) if by_x else None
    if out is None:
        out = [
            RecurrentWeights(*(None if a is None else _cpu.empty(np.shape(a), x.dtype) for a in w))
            for w in weights
        ]
        accumulate = False
    calls = [
        (
            cell,
            new_z,
            d == 1,
            batch_sizes,
            x,
            *_arrays(w, operation),
            _of(mask, d, directions, operation, "mask"),
            y[:, d * hidden : (d + 1) * hidden],
            saved.reserves[d],
            None if dy is None else dy[:, d * hidden : (d + 1) * hidden],
            _of(dhn, d, directions, operation, "dhn"),
            _of(dcn, d, directions, operation, "dcn"),
            dx,
            d == 1,
            by_state,
            *out[d],
            accumulate,
            variant,
        )
        for d, w in enumerate(weights)
    ]
    if directions == 1:
        by_h, by_c = ((array,) for array in _cpu.recurrent_backward(*calls[0]))
    else:
        by_h, by_c = zip(*_cpu.recurrent_pair_backward(*calls[0], *calls[1]), strict=True)
    return (
        dx,
        _together(by_h) if by_state else None,
        _together(by_c) if by_state and traits.has_c else None,
        tuple(out),
    )


def lstm(
    x: Any, layers: Sequence[Sequence[RecurrentWeights]], h0: Any = None, c0: Any = None, **settings: Any
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Run a stack of LSTM layers over whole sequences.

    Parameters
    ----------
    x : array of shape (T, B, I)
        float32 or float64. With ``batch_sizes=``: (rows, I), packed.
    layers : sequence of sequences of RecurrentWeights
        For each layer its directions, one or two. The second layer's input is the first one's output.
    h0, c0 : arrays of shape (layers directions, B, H), optional
        States before the first step, layer by layer. Default: zeros.
    **settings
        ``batch_sizes``, ``mask``, ``variant`` as for `recurrent`; ``cell="coupled_lstm"``.

    Returns
    -------
    y : array of shape (T, B, directions H), or (rows, directions H)
        Hidden states of the last layer.
    hn, cn : arrays of shape (layers directions, B, H)

    Raises
    ------
    TypeError, ValueError
        As for `recurrent`.

    Notes
    -----
    Hochreiter & Schmidhuber, Neural Computation 9, 1997; Gers et al., Neural Computation 12, 2000.
    """
    y, hn, cn = _stack("lstm", _LSTMS, x, layers, h0, c0, settings)
    assert cn is not None
    return y, hn, cn


def gru(
    x: Any, layers: Sequence[Sequence[RecurrentWeights]], h0: Any = None, **settings: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Run a stack of GRU layers over whole sequences. As `lstm`, without cell states.

    ``cell="gru_reset_first"`` resets the state before its product (Cho et al., EMNLP 2014); the default resets the
    product, as PyTorch does. ``new_z=True`` makes z the share of the candidate.
    """
    y, hn, _ = _stack("gru", _GRUS, x, layers, h0, None, settings)
    return y, hn


def rnn(
    x: Any, layers: Sequence[Sequence[RecurrentWeights]], h0: Any = None, **settings: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Run a stack of simple recurrent layers over whole sequences. As `lstm`, without cell states.

    ``cell="relu"``, ``"additive"``, ``"interpolate"`` and ``"input_gate"`` are the other cells with one state.
    """
    y, hn, _ = _stack("rnn", _RNNS, x, layers, h0, None, settings)
    return y, hn


def lstm_cell(
    x: Any, weights: RecurrentWeights, h: Any = None, c: Any = None, **settings: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Run one step of an LSTM, as `lstm` does for each step of a sequence.

    Parameters
    ----------
    x : array of shape (B, I), float32 or float64
    weights : RecurrentWeights
    h, c : arrays of shape (B, H), optional
        States before the step. Default: zeros.
    **settings
        ``variant`` as for `recurrent`; ``cell="coupled_lstm"``.

    Returns
    -------
    h, c : arrays of shape (B, H)
        Those after it.

    Raises
    ------
    TypeError, ValueError
        As for `recurrent`.
    """
    last_h, last_c = _step("lstm_cell", _LSTMS, x, weights, h, c, settings)
    assert last_c is not None
    return last_h, last_c


def gru_cell(x: Any, weights: RecurrentWeights, h: Any = None, **settings: Any) -> NDArray[Any]:
    """Run one step of a GRU. As `lstm_cell`, without a cell state; `cell` and `new_z` as for `gru`."""
    return _step("gru_cell", _GRUS, x, weights, h, None, settings)[0]


def rnn_cell(x: Any, weights: RecurrentWeights, h: Any = None, **settings: Any) -> NDArray[Any]:
    """Run one step of a simple recurrent cell. As `lstm_cell`, without a cell state; `cell` as for `rnn`."""
    return _step("rnn_cell", _RNNS, x, weights, h, None, settings)[0]


def _step(
    operation: str,
    cells: tuple[str, ...],
    x: Any,
    weights: RecurrentWeights,
    h: Any,
    c: Any,
    settings: dict[str, Any],
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if not is_device_array(x):
        x = as_array(x, operation, "x")
    if x.ndim != 2 or not len(x):
        raise ValueError(f"{operation}: x is {x.shape}; expected (B, I), B at least 1")
    settings = {**settings, "cell": _one_of(operation, cells, settings)}
    if unknown := [name for name in settings if name not in ("cell", "new_z", "variant")]:
        raise TypeError(f"{operation}: there is no argument {unknown[0]!r}; expected cell, new_z or variant")
    _, hidden = _check(operation, settings["cell"], [weights], settings.get("new_z", False), "c", c)
    states = []
    for name, state in (("h", h), ("c", c)):
        if state is not None and not is_device_array(state):
            state = as_array(state, operation, name)
        if state is not None and state.shape != (len(x), hidden):
            raise ValueError(f"{operation}: {name} is {state.shape}; expected {(len(x), hidden)}")
        states.append(None if state is None else state[np.newaxis])
    _, hn, cn, _ = recurrent(x, [weights], [len(x)], *states, **settings)
    return hn[0], None if cn is None else cn[0]


def _one_of(operation: str, cells: tuple[str, ...], settings: dict[str, Any]) -> str:
    """The cell that is asked for, the first one where none is."""
    cell = settings.get("cell", cells[0])
    if cell not in cells:
        raise ValueError(f"{operation}: cell is {cell!r}; expected one of {', '.join(cells)}")
    return str(cell)


def _stack(
    operation: str,
    cells: tuple[str, ...],
    x: Any,
    layers: Sequence[Sequence[RecurrentWeights]],
    h0: Any,
    c0: Any,
    settings: dict[str, Any],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    # `cells`: those that the operation is, the default first.
    if not is_device_array(x):
        x = as_array(x, operation, "x")
    settings = {**settings, "cell": _one_of(operation, cells, settings)}
    batch_sizes = settings.pop("batch_sizes", None)
    if not layers:
        raise ValueError(f"{operation}: layers is empty; expected at least one layer")
    if h0 is not None or c0 is not None:
        count = sum(len(weights) for weights in layers)
        for name, value in (("h0", h0), ("c0", c0)):
            if value is not None and len(value) != count:
                raise ValueError(
                    f"{operation}: {name} is {np.shape(value)}; expected {count} states, "
                    "one per layer and direction"
                )
    dense = batch_sizes is None
    if dense:
        if x.ndim != 3:
            raise ValueError(f"{operation}: x is {x.shape}; expected (T, B, I), or batch_sizes and (rows, I)")
        steps, batch = x.shape[:2]
        batch_sizes = [batch] * steps
        x = x.reshape(steps * batch, x.shape[2])
    hs, cs, at = [], [], 0
    for weights in layers:
        part = slice(at, at + len(weights))
        x, hn, cn, _ = recurrent(
            x,
            weights,
            batch_sizes,
            None if h0 is None else h0[part],
            None if c0 is None else c0[part],
            **settings,
        )
        hs.append(hn)
        cs.append(cn)
        at += len(weights)
    y = x.reshape(steps, batch, -1) if dense else x
    return y, np.concatenate(hs), None if cs[0] is None else np.concatenate([c for c in cs if c is not None])


def _check(
    operation: str,
    cell: str,
    weights: Sequence[RecurrentWeights],
    new_z: bool,
    argument: str,
    cell_states: Any,
) -> tuple[CellTraits, int]:
    # What the cell needs, and how many units there are. The argument is the one that gives cell states.
    traits = CELLS.get(cell)
    if traits is None:
        raise ValueError(f"{operation}: cell is {cell!r}; expected one of {', '.join(CELLS)}")
    if new_z and not cell.startswith("gru"):
        raise ValueError(f"{operation}: new_z is True but the cell is {cell}; expected a GRU")
    if cell_states is not None and not traits.has_c:
        raise ValueError(f"{operation}: {argument} is given but the cell is {cell}; expected an LSTM")
    if not 1 <= len(weights) <= 2:
        raise ValueError(f"{operation}: weights has {len(weights)} directions; expected one or two")
    for w in weights:
        if not isinstance(w, RecurrentWeights):
            raise TypeError(f"{operation}: weights holds a {type(w).__name__}; expected RecurrentWeights")
    hh = weights[0].hh
    shape = hh.shape if type(hh) is np.ndarray else np.shape(hh)
    if len(shape) != 2:
        raise ValueError(f"{operation}: weight_hh is {shape}; expected ({traits.gates} H, H)")
    return traits, shape[1]


def _arrays(weights: RecurrentWeights, operation: str) -> RecurrentWeights:
    ih, hh, ih_bias, hh_bias, peepholes, norm_ih, norm_hh, norm_c, norm_c_bias = weights
    return RecurrentWeights(
        as_array(ih, operation, "weight_ih"),
        as_array(hh, operation, "weight_hh"),
        None if ih_bias is None else as_array(ih_bias, operation, "bias_ih"),
        None if hh_bias is None else as_array(hh_bias, operation, "bias_hh"),
        None if peepholes is None else as_array(peepholes, operation, "peepholes"),
        None if norm_ih is None else as_array(norm_ih, operation, "norm_ih"),
        None if norm_hh is None else as_array(norm_hh, operation, "norm_hh"),
        None if norm_c is None else as_array(norm_c, operation, "norm_c"),
        None if norm_c_bias is None else as_array(norm_c_bias, operation, "norm_c_bias"),
    )


def _of(states: Any, direction: int, directions: int, operation: str, argument: str) -> Any:
    if states is None:
        return None
    array = as_array(states, operation, argument)
    if array.ndim != 3 or len(array) != directions:
        raise ValueError(f"{operation}: {argument} is {array.shape}; expected ({directions}, B, H)")
    return array[direction]


def _outputs(value: Any, shape: tuple[int, ...], operation: str, argument: str) -> NDArray[Any]:
    array = as_array(value, operation, argument)
    if array.shape != shape:
        raise ValueError(f"{operation}: {argument} is {array.shape}; expected {shape}")
    if array.flags.c_contiguous:
        return array
    # The kernel takes rows that lie apart, no other strides.
    item = array.itemsize
    plain = array.strides[1] == item and array.strides[0] >= array.shape[1] * item
    return array if plain else np.ascontiguousarray(array)


def _together(states: Sequence[Any]) -> NDArray[Any]:
    return states[0][np.newaxis] if len(states) == 1 else np.stack(states)
