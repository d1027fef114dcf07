"""Recurrent layers and cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit.autograd.arrangement import cat
from dlkit.autograd.base import TensorBase, make
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import is_device_array, namespace
from dlkit.kernels.recurrent import CELLS, CellTraits, RecurrentWeights
from dlkit.nn import functional, init
from dlkit.nn.linear import positive_integer
from dlkit.nn.module import Module, float_dtype
from dlkit.nn.parameter import Parameter
from dlkit.nn.recurrent_functional import RecurrentState
from dlkit.nn.recurrent_steps import recurrent_steps
from dlkit.nn.sequences import PackedSequence, checked_packed

#: Names of a layer's parameters, in the order of `RecurrentWeights`.
_PARTS = (
    *("weight_ih", "weight_hh", "bias_ih", "bias_hh", "peepholes"),
    *("norm_ih", "norm_hh", "norm_c", "norm_c_bias"),
)


def _traits(name: str, cell: str, new_z: bool) -> CellTraits:
    if cell not in CELLS:
        raise ValueError(f"{name}: cell is {cell!r}; expected one of {', '.join(CELLS)}")
    if new_z and not cell.startswith("gru"):
        raise ValueError(f"{name}: new_z is True but the cell is {cell}; expected a GRU")
    return CELLS[cell]


def _given_states(name: str, hx: Any, has_c: bool, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    # The states of hx, h or (h, c), each of the shape.
    states = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
    if len(states) != (2 if has_c else 1) or not all(isinstance(s, TensorBase) for s in states):
        expected = "a pair of tensors (h, c)" if has_c else "a tensor"
        raise TypeError(f"{name}: hx is a {type(hx).__name__}; expected {expected}")
    for label, state in zip("hc", states, strict=False):
        if tuple(state.shape) != shape:
            raise ValueError(f"{name}: hx's {label} is {tuple(state.shape)}; expected {shape}")
    return states


#: Settings, and what they are by default. No layer or cell has all of them.
_SETTINGS = (
    *(("num_layers", 1), ("nonlinearity", "tanh"), ("bias", True), ("batch_first", False), ("dropout", 0.0)),
    *(("bidirectional", False), ("coupled", False), ("reset_after", True), ("recurrent_dropout", 0.0)),
    *(("peepholes", False), ("new_z", False), ("layer_norm", False)),
)


def _sizes_and_settings(module: Any, with_cell: bool) -> str:
    text = f"{module.input_size}, {module.hidden_size}"
    for name, default in _SETTINGS:
        value = getattr(module, name, default)
        if value != default:
            text += f", {name}={value!r}"
    return f"{module.cell}, {text}" if with_cell else text


class Recurrent(Module):
    """Layers of recurrent cells over whole sequences, of any cell of the ladder.

    `RNN`, `LSTM` and `GRU` are this with PyTorch's arguments.

    Parameters
    ----------
    cell : str
        One of `dlkit.kernels.CELLS`: tanh, relu, additive, interpolate, input_gate, lstm, coupled_lstm, gru,
        gru_reset_first.
    input_size, hidden_size : int
        Features of a step, and units.
    num_layers : int
        Each reads the states of the one below.
    bias : bool
        Whether there are b_ih and b_hh.
    batch_first : bool
        Whether input and output are (B, T, ...) instead of (T, B, ...). States are always (layers directions, B, H).
    dropout : float
        Probability, less than 1, with which an output of a layer, but the last, is set to 0 in training. With one layer
        there is none to set: a warning says so.
    bidirectional : bool
        Whether a second direction goes from the last step to the first; its outputs follow the first one's.
    recurrent_dropout : float
        Probability with which what the recurrent weights see of a unit is 0 in training, the same units at every step
        (Gal & Ghahramani, NIPS 2016).
    peepholes : bool
        Whether the gates of an LSTM see its cell state (Gers & Schmidhuber, IJCNN 2000).
    new_z : bool
        Of GRUs: z is the share of the candidate, not of the old state.
    layer_norm : bool
        Normalise what the gates get from the input, what they get from the state, and the cell state of an LSTM on its
        way to the hidden state (Ba, Kiros & Hinton, 2016); each gate over its H units. On devices each step is then
        some twenty operations of the graph instead of a part of one kernel, see `dlkit.nn.recurrent_steps`.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ... : Parameter
        Of layer 0; ``_reverse`` follows for the second direction. Shapes and gate orders are PyTorch's: (G H, I), (G H,
        H), (G H,). All from U(-k, k) with k = 1 / sqrt(H) at the start.
    norm_ih_l0, norm_hh_l0, norm_c_l0, norm_c_bias_l0, ... : Parameter
        Of `layer_norm`: gains (G H,) of the two products, ones at the start, whose shifts are the biases; gain and
        shift (H,) of the cell state.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recurrent_dropout: float = 0.0,
        peepholes: bool = False,
        new_z: bool = False,
        layer_norm: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        traits = _traits(name, cell, new_z)
        if peepholes and not traits.has_c:
            raise ValueError(f"{name}: peepholes is True but the cell is {cell}; expected an LSTM")
        self.cell, self.has_c = cell, traits.has_c
        self.input_size = positive_integer(input_size, name, "input_size")
        self.hidden_size = positive_integer(hidden_size, name, "hidden_size")
        self.num_layers = positive_integer(num_layers, name, "num_layers")
        for argument, probability in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
            if isinstance(probability, bool) or not isinstance(probability, (int, float)):
                raise TypeError(f"{name}: {argument} is {probability!r}; expected a number")
            if not 0 <= probability < 1:
                raise ValueError(f"{name}: {argument} is {probability}; expected 0 or more and less than 1")
        if dropout and self.num_layers == 1:
            warnings.warn(
                f"{name}: dropout is {dropout} but num_layers is 1; it acts between layers, not behind the last",
                stacklevel=2 if type(self) is Recurrent else 3,  # subclasses call this in their own __init__
            )
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self.dropout, self.recurrent_dropout = float(dropout), float(recurrent_dropout)
        self.peepholes, self.new_z, self.layer_norm = bool(peepholes), bool(new_z), bool(layer_norm)
        self.directions = 2 if bidirectional else 1
        kind = float_dtype(dtype, name)
        width = traits.gates * self.hidden_size
        for layer in range(self.num_layers):
            inputs = self.input_size if layer == 0 else self.directions * self.hidden_size
            shapes: list[tuple[int, ...]] = [(width, inputs), (width, self.hidden_size)]
            shapes += [(width,), (width,)] if bias else []
            parts = dict(zip(_PARTS, shapes, strict=False))
            if peepholes:
                parts["peepholes"] = (3, self.hidden_size)
            if self.layer_norm:
                parts.update({"norm_ih": (width,), "norm_hh": (width,)})
                if self.has_c:
                    parts.update({"norm_c": (self.hidden_size,), "norm_c_bias": (self.hidden_size,)})
            for suffix in self._suffixes(layer):
                for part, shape in parts.items():
                    setattr(self, part + suffix, Parameter(np.empty(shape, kind)))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    def _weights(self, layer: int) -> list[RecurrentWeights]:
        return [
            RecurrentWeights(*(getattr(self, part + suffix, None) for part in _PARTS))
            for suffix in self._suffixes(layer)
        ]

    def flatten_parameters(self) -> None:
        """Do nothing: here for code that PyTorch's cuDNN needs it of. Kernels take weights where they are."""

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1 / self.hidden_size**0.5
        for name, parameter in self.named_parameters():
            if not name.startswith("norm_"):
                init.uniform_(parameter, -bound, bound)
            elif name.startswith("norm_c_bias"):
                init.zeros_(parameter)
            else:
                init.ones_(parameter)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run all steps.

        Parameters
        ----------
        input : Tensor of shape (T, B, input_size), (T, input_size), or PackedSequence
            (B, T, input_size) with `batch_first`.
        hx : Tensor of shape (layers directions, B, H), or for LSTMs two of them, optional
            States before the first step. Default: zeros.

        Returns
        -------
        output : Tensor of shape (T, B, directions H), or PackedSequence
        hn : Tensor of shape (layers directions, B, H)
            For LSTMs a pair, (hn, cn).
        """
        name = type(self).__name__
        packed = isinstance(input, PackedSequence)
        if packed:
            rows, batch_sizes = checked_packed(input, name)
            sizes: list[int] = batch_sizes.tolist()
            batch, single = sizes[0], False
        else:
            if not isinstance(input, Tensor):
                raise TypeError(
                    f"{name}: input is a {type(input).__name__}; expected a Tensor or a PackedSequence"
                )
            if len(input.shape) not in (2, 3):
                raise ValueError(f"{name}: input is {tuple(input.shape)}; expected 2 or 3 dimensions")
            single = len(input.shape) == 2
            sequences = input
            if single:
                sequences = input.reshape(input.shape[0], 1, input.shape[1])
            elif self.batch_first:
                sequences = input.transpose(0, 1)
            steps, batch = sequences.shape[:2]
            if steps == 0 or batch == 0:
                raise ValueError(
                    f"{name}: input is {tuple(input.shape)}; expected at least one step of at least one sequence"
                )
            rows, sizes = sequences.reshape(steps * batch, sequences.shape[2]), [batch] * steps
        if rows.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: input has {rows.shape[-1]} features; expected input_size, {self.input_size}"
            )
        h0, c0 = self._initial(hx, batch, single)
        if packed and input.sorted_indices is not None:
            h0, c0 = (None if s is None else s[:, input.sorted_indices] for s in (h0, c0))

        last_h: list[Any] = []
        last_c: list[Any] = []
        for layer in range(self.num_layers):
            part = slice(layer * self.directions, (layer + 1) * self.directions)
            settings: dict[str, Any] = {
                "cell": self.cell,
                "new_z": self.new_z,
                "mask": self._mask(batch, rows._array),
            }
            run: Callable[..., RecurrentState] = functional.recurrent
            if self.layer_norm and is_device_array(rows._array):
                run = recurrent_steps  # kernels of devices do not normalise
            state = run(
                rows,
                self._weights(layer),
                sizes,
                None if h0 is None else h0[part],
                None if c0 is None else c0[part],
                **settings,
            )
            rows = state.output
            last_h.append(state.h)
            last_c.append(state.c)
            if self.dropout and layer + 1 < self.num_layers:
                rows = functional.dropout(rows, self.dropout, self.training)
        hn: Any = last_h[0] if self.num_layers == 1 else cat(last_h)
        cn: Any = None
        if self.has_c:
            cn = last_c[0] if self.num_layers == 1 else cat(last_c)

        output: Any
        if packed:
            if input.unsorted_indices is not None:
                hn, cn = (None if s is None else s[:, input.unsorted_indices] for s in (hn, cn))
            output = PackedSequence(rows, *input[1:])
        elif single:
            output = rows
            hn, cn = (None if s is None else s.reshape(s.shape[0], s.shape[2]) for s in (hn, cn))
        else:
            output = rows.reshape(steps, batch, rows.shape[1])
            if self.batch_first:
                output = output.transpose(0, 1)
        return output, (hn, cn) if self.has_c else hn

    def _initial(self, hx: Any, batch: int, single: bool) -> tuple[Tensor | None, Tensor | None]:
        if hx is None:
            return None, None
        count = self.num_layers * self.directions
        shape = (count, self.hidden_size) if single else (count, batch, self.hidden_size)
        states = _given_states(type(self).__name__, hx, self.has_c, shape)
        if single:
            states = tuple(s.reshape(count, 1, self.hidden_size) for s in states)
        return states[0], states[1] if self.has_c else None

    def _mask(self, batch: int, like: Any) -> Any:
        if not (self.training and self.recurrent_dropout):
            return None
        shape = self.directions, batch, self.hidden_size
        ones = make(namespace(like).ones(shape, like.dtype))
        return functional.dropout(ones, self.recurrent_dropout, True)._array

    def extra_repr(self) -> str:
        """Return sizes, and the settings that are not the default."""
        return _sizes_and_settings(self, type(self) is Recurrent)


class RNN(Recurrent):
    """Simple recurrent layers, h = tanh(W x + b + U h' + b') (Elman, Cognitive Science 14, 1990).

    Parameters
    ----------
    nonlinearity : {"tanh", "relu"}
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, recurrent_dropout, layer_norm
        As for `Recurrent`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recurrent_dropout: float = 0.0,
        layer_norm: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity is {nonlinearity!r}; expected 'tanh' or 'relu'")
        super().__init__(
            *(nonlinearity, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional),
            recurrent_dropout=recurrent_dropout,
            layer_norm=layer_norm,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(Recurrent):
    """LSTM layers: c = f c' + i g, h = o tanh(c) (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Parameters
    ----------
    coupled : bool
        f = 1 - i, without weights of its own (Greff et al. 2015); gate order i, g, o instead of i, f, g, o.
    proj_size : int
        0, for code that gives it: there is no projection of the hidden state.
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As for `Recurrent`; also ``recurrent_dropout``, ``peepholes``, ``layer_norm``, ``dtype``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        proj_size: int = 0,
        coupled: bool = False,
        recurrent_dropout: float = 0.0,
        peepholes: bool = False,
        layer_norm: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        if proj_size != 0:
            raise ValueError(
                f"LSTM: proj_size is {proj_size!r}; expected 0: there is no projection of the hidden state"
            )
        super().__init__(
            "coupled_lstm" if coupled else "lstm",
            *(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional),
            recurrent_dropout=recurrent_dropout,
            peepholes=peepholes,
            layer_norm=layer_norm,
            dtype=dtype,
        )
        self.coupled = bool(coupled)


class GRU(Recurrent):
    """GRU layers: h = (1 - z) n + z h' (Cho et al., EMNLP 2014).

    Parameters
    ----------
    reset_after : bool
        Whether r resets the product, n = tanh(W x + b + r (U h' + b')), as in PyTorch and the course; False: the state
        before it, n = tanh(W x + b + U (r h') + b'), as Cho et al. do.
    new_z : bool
        z is the share of n, as Cho et al. swap them in some papers; False: that of h'.
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As for `Recurrent`; also ``recurrent_dropout``, ``layer_norm``, ``dtype``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        recurrent_dropout: float = 0.0,
        new_z: bool = False,
        layer_norm: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            "gru" if reset_after else "gru_reset_first",
            *(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional),
            recurrent_dropout=recurrent_dropout,
            new_z=new_z,
            layer_norm=layer_norm,
            dtype=dtype,
        )
        self.reset_after = bool(reset_after)


class RecurrentCell(Module):
    """One step of a cell of the ladder. `RNNCell`, `LSTMCell` and `GRUCell` are this with PyTorch's arguments.

    Parameters
    ----------
    cell : str
        One of `dlkit.kernels.CELLS`.
    input_size, hidden_size : int
    bias : bool
    new_z : bool
        As for `Recurrent`.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter
        As those of `Recurrent`.
    """

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        new_z: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        traits = _traits(name, cell, new_z)
        self.cell, self.has_c, self.new_z = cell, traits.has_c, bool(new_z)
        self.bias = bool(bias)
        self.input_size = positive_integer(input_size, name, "input_size")
        self.hidden_size = positive_integer(hidden_size, name, "hidden_size")
        kind, width = float_dtype(dtype, name), traits.gates * self.hidden_size
        self.weight_ih = Parameter(np.empty((width, self.input_size), kind))
        self.weight_hh = Parameter(np.empty((width, self.hidden_size), kind))
        for part in ("bias_ih", "bias_hh"):
            self.register_parameter(part, Parameter(np.empty(width, kind)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1 / self.hidden_size**0.5
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Make one step.

        Parameters
        ----------
        input : Tensor of shape (B, input_size) or (input_size,)
        hx : Tensor of shape (B, hidden_size), or for LSTMs a pair (h, c), optional
            Default: zeros.

        Returns
        -------
        Tensor of shape (B, hidden_size), or for LSTMs a pair (h, c)
        """
        name = type(self).__name__
        if not isinstance(input, Tensor):
            raise TypeError(f"{name}: input is a {type(input).__name__}; expected a Tensor")
        single = len(input.shape) == 1
        if len(input.shape) not in (1, 2) or input.shape[-1] != self.input_size or 0 in input.shape:
            raise ValueError(
                f"{name}: input is {tuple(input.shape)}; expected (B, {self.input_size}), B at least 1"
            )
        x = input.reshape(1, self.input_size) if single else input
        shape = (1, x.shape[0], self.hidden_size)
        states: tuple[Any, ...] = (None, None)
        if hx is not None:
            given = _given_states(name, hx, self.has_c, shape[2:] if single else shape[1:])
            states = (*(s.reshape(*shape) for s in given), None)[:2]
        weights = RecurrentWeights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        state = functional.recurrent(x, [weights], [shape[1]], *states, cell=self.cell, new_z=self.new_z)
        end = shape[2:] if single else shape[1:]
        h = state.h.reshape(*end)
        return (h, state.c.reshape(*end)) if state.c is not None else h

    def extra_repr(self) -> str:
        """Return sizes, and the settings that are not the default."""
        return _sizes_and_settings(self, type(self) is RecurrentCell)


class RNNCell(RecurrentCell):
    """One step of a simple recurrent layer. Arguments as for `RecurrentCell` and `RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = np.float32,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: nonlinearity is {nonlinearity!r}; expected 'tanh' or 'relu'")
        super().__init__(nonlinearity, input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity


class LSTMCell(RecurrentCell):
    """One step of an LSTM. Arguments as for `RecurrentCell`; the state is a pair (h, c)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = np.float32
    ) -> None:
        super().__init__("lstm", input_size, hidden_size, bias, dtype=dtype)


class GRUCell(RecurrentCell):
    """One step of a GRU. Arguments as for `RecurrentCell` and `GRU`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        new_z: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            *("gru" if reset_after else "gru_reset_first", input_size, hidden_size, bias),
            new_z=new_z,
            dtype=dtype,
        )
        self.reset_after = bool(reset_after)
