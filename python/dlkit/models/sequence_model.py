"""A recurrent layer that reads a sequence, and what it answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import nn
from dlkit.autograd import Tensor
from dlkit.kernels.recurrent import CELLS
from dlkit.nn import init

#: First values of the recurrent weights.
INITS = ("uniform", "identity", "orthogonal")
# Of each cell with a gate that keeps the old state: which of its gates, and whether it keeps where it is open.
_KEEPS = {
    "interpolate": (0, 1),
    "input_gate": (1, 1),
    "lstm": (1, 1),
    "coupled_lstm": (0, -1),
    "gru": (1, 1),
    "gru_reset_first": (1, 1),
}
# Those with a gate of its own for what comes in: which.
_LETS_IN = {"input_gate": 0, "lstm": 0}


class SequenceModel(nn.Module):
    """One recurrent layer over a sequence, and a linear layer on its last state, or on every one.

    Parameters
    ----------
    inputs
        Numbers of a step.
    hidden
        Units of the recurrent layer.
    outputs
        Numbers of an answer.
    cell
        One of `dlkit.kernels.CELLS`.
    every_step
        Answer at every step, not only at the last.
    init
        First recurrent weights, one matrix for each gate: "uniform" (as the layer's default); "identity" (Le et al.
        2015: the IRNN, for ReLU) or "orthogonal", with zero biases.
    gain
        What they are multiplied with.
    forget_bias
        Added to the bias of the gate that keeps the old state, so that it begins open (Gers et al. 2000; Jozefowicz et
        al. 2015). No effect on cells without one.
    memory
        Steps: units begin as if each remembered for a number of steps of its own, from 1 to so many (chrono
        initialisation, Tallec & Ollivier 2018). The bias of the gate that keeps the old state gets log u, u uniform
        from 1 to `memory` - 1, in place of `forget_bias`; that of an input gate of its own, minus as much. 0: none of
        it.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        cell: str = "lstm",
        every_step: bool = False,
        init: str = "uniform",
        gain: float = 1.0,
        forget_bias: float = 0.0,
        memory: int = 0,
    ) -> None:
        super().__init__()
        if init not in INITS:
            raise ValueError(f"SequenceModel: init is {init!r}; expected one of {', '.join(INITS)}")
        if memory and not (isinstance(memory, int | np.integer) and memory >= 3):
            raise ValueError(
                f"SequenceModel: memory is {memory!r}; expected 0, or an integer of at least 3 steps"
            )
        self.inputs, self.every_step = inputs, bool(every_step)
        self.recurrent = nn.Recurrent(cell, inputs, hidden, batch_first=True)
        self.output = nn.Linear(hidden, outputs)
        self._begin(cell, hidden, init, gain)
        if cell in _KEEPS:
            self._remember(cell, hidden, forget_bias, memory)

    def _begin(self, cell: str, hidden: int, how: str, gain: float) -> None:
        layer: Any = self.recurrent  # whose parameters have their names at run time
        weight = layer.weight_hh_l0.data
        if how != "uniform":
            for gate in range(CELLS[cell].gates):
                block = Tensor(weight[gate * hidden : (gate + 1) * hidden].copy())
                (init.eye_ if how == "identity" else init.orthogonal_)(block)
                weight[gate * hidden : (gate + 1) * hidden] = block.data
            for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
                init.zeros_(bias)
        weight *= weight.dtype.type(gain)

    def _remember(self, cell: str, hidden: int, forget_bias: float, memory: int) -> None:
        layer: Any = self.recurrent
        biases = layer.bias_ih_l0.data.reshape(-1, hidden)
        gate, sign = _KEEPS[cell]
        if not memory:
            biases[gate] += sign * forget_bias
            return
        steps = init.uniform_(Tensor(np.empty(hidden, biases.dtype)), 1, memory - 1).data
        biases[gate] += sign * np.log(steps)
        if cell in _LETS_IN:
            biases[_LETS_IN[cell]] -= np.log(steps)

    def forward(self, x: Any) -> Tensor:
        """Read sequences.

        Parameters
        ----------
        x
            Tensor of shape (B, T, inputs), or (B, T inputs): step after step.

        Returns
        -------
        Tensor of shape (B, outputs), or (B, T, outputs) with `every_step`
        """
        if len(x.shape) == 2:
            if x.shape[1] % self.inputs:
                raise ValueError(
                    f"SequenceModel: x is {tuple(x.shape)}; expected (B, T, {self.inputs}) or (B, a multiple of "
                    f"{self.inputs})"
                )
            x = x.reshape(x.shape[0], x.shape[1] // self.inputs, self.inputs)
        states, last = self.recurrent(x)
        if not self.every_step:
            h = last[0] if isinstance(last, tuple) else last
            return self.output(h[0])  # type: ignore[no-any-return]
        rows = self.output(states.reshape(-1, states.shape[2]))
        return rows.reshape(states.shape[0], states.shape[1], rows.shape[1])  # type: ignore[no-any-return]


def hidden_for(parameters: int, cell: str, inputs: int, outputs: int) -> int:
    """Return the units with which a `SequenceModel` comes nearest to a number of parameters.

    Parameters
    ----------
    parameters
        Weights and biases in all.
    cell, inputs, outputs
        As for `SequenceModel`.
    """
    if cell not in CELLS:
        raise ValueError(f"hidden_for: cell is {cell!r}; expected one of {', '.join(CELLS)}")
    units = 1
    while count_parameters(units + 1, cell, inputs, outputs) <= parameters:
        units += 1
    above = count_parameters(units + 1, cell, inputs, outputs) - parameters
    return units + (above < parameters - count_parameters(units, cell, inputs, outputs))


def count_parameters(hidden: int, cell: str, inputs: int, outputs: int) -> int:
    """Return the number of weights and biases of a `SequenceModel`."""
    return CELLS[cell].gates * hidden * (inputs + hidden + 2) + outputs * (hidden + 1)
