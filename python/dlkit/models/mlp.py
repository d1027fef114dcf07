"""The multi-layer perceptron: linear layers with a nonlinearity between them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from dlkit import nn

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}
#: The activations that `MLP` knows by name.
ACTIVATIONS = tuple(_ACTIVATIONS)


class MLP(nn.Sequential):
    """A multi-layer perceptron: ``Linear, activation, Dropout`` per hidden layer, then a ``Linear``.

    The same modules under the same names as a `torch.nn.Sequential` of these layers, so that a ``state_dict``
    goes both ways. `forward` returns logits.

    Parameters
    ----------
    in_features
        Inputs per sample.
    hidden
        Units of each hidden layer. Empty: no hidden layer, which is softmax regression.
    out_features
        Outputs (classes).
    activation
        One of `ACTIVATIONS`.
    dropout
        Probability of setting a hidden unit to zero in training (Srivastava et al., JMLR 2014); 0: no dropout
        layers.
    input_dropout
        The same for the inputs.
    dtype
        float32 or float64.

    Raises
    ------
    ValueError
        A size is not positive, a probability not in [0, 1), or the activation unknown (the nearest is
        suggested).
    """

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int] = (512, 512),
        out_features: int = 10,
        activation: str = "relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        sizes = [in_features, *hidden, out_features]
        for size in sizes:
            if isinstance(size, bool) or int(size) != size or size < 1:
                raise ValueError(f"MLP: sizes are {sizes}, expected integers of at least 1")
        for name, value in (("dropout", dropout), ("input_dropout", input_dropout)):
            if not 0 <= value < 1:
                raise ValueError(f"MLP: {name} is {value!r}, expected a probability from 0 to below 1")
        if activation not in _ACTIVATIONS:
            near = difflib.get_close_matches(str(activation), ACTIVATIONS, n=1, cutoff=0.4)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"MLP: activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}{hint}"
            )
        layers: list[nn.Module] = []
        if input_dropout:
            layers.append(nn.Dropout(input_dropout))
        for before, after in pairwise(sizes[:-1]):
            layers += [nn.Linear(before, after, dtype=dtype), _ACTIVATIONS[activation]()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(sizes[-2], sizes[-1], dtype=dtype))
        super().__init__(*layers)
        self.in_features = int(in_features)
        self.hidden = tuple(int(size) for size in hidden)
        self.out_features = int(out_features)
        self.activation = activation
        self.dropout = float(dropout)
