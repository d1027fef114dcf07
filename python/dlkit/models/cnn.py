"""The convolutional network for images: convolutions with pooling between them, then linear layers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from dlkit import nn
from dlkit.autograd import Tensor
from dlkit.autograd.base import TensorBase

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
#: The activations that `CNN` knows by name.
ACTIVATIONS = (*_ACTIVATIONS, "maxout")
#: The kinds of pooling that it knows.
POOLINGS = ("max", "avg", "stochastic")
#: The kinds of padding.
PADDINGS = ("valid", "same")


@dataclass(frozen=True)
class Stage:
    """What one convolution and the pooling after it make of an image.

    Attributes
    ----------
    filters
        Feature maps after the activation.
    kernel, pool
        Sides of the filters and of the pooled squares (1: no pooling).
    channels
        Feature maps before.
    rows, columns
        Of the feature maps after pooling.
    """

    filters: int
    kernel: int
    pool: int
    channels: int
    rows: int
    columns: int


class CNN(nn.Sequential):
    """A convolutional network: ``Conv2d, activation, pooling`` per stage, then an MLP on the flattened maps.

    The default is LeCun's LeNet-5 in today's form: two stages of 5×5 filters and 2×2 max-pooling, one hidden layer. The
    same modules under the same names as a `torch.nn.Sequential` of these layers, so that a ``state_dict`` goes both
    ways. `forward` takes images (N, C, H, W), or (N, C * H * W) as the data sets have them, and returns logits.

    Parameters
    ----------
    input_shape
        Channels, rows and columns of an image.
    filters
        Feature maps of each stage.
    kernels
        Side of the filters of each stage; one number is for all.
    pools
        Side of the squares that are pooled after each stage, 1 for none; one number is for all.
    hidden
        Units of the hidden layers that follow. Empty: none.
    out_features
        Outputs (classes).
    pooling
        "max", "avg", or "stochastic" (Zeiler & Fergus, 2013).
    padding
        "valid": a filter stays within the image; "same": zeros around it keep its size.
    activation
        One of `ACTIVATIONS`; "maxout" (Goodfellow et al., 2013) takes the greatest of `pieces` linear maps, of filters
        as of hidden units.
    pieces
        Of maxout; others do not read it.
    batch_norm
        Batch normalisation (Ioffe & Szegedy, 2015) before each activation; convolutions then have no bias.
    dropout, conv_dropout, input_dropout
        Probability of setting to zero, in training, a hidden unit, an element of the feature maps after each stage, and
        an input; 0: no dropout layers.
    dtype
        float32 or float64.

    Raises
    ------
    ValueError
        A size is not positive, lists are of different lengths, a feature map would be smaller than the filter or the
        pooled square, a probability is not in [0, 1), or a name is unknown (the nearest is suggested).

    References
    ----------
    LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 86, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> CNN((1, 28, 28), filters=(6, 16), hidden=(120, 84))(np.zeros((5, 784), np.float32)).shape
    (5, 10)
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (1, 28, 28),
        filters: Sequence[int] = (20, 50),
        kernels: int | Sequence[int] = 5,
        pools: int | Sequence[int] = 2,
        hidden: Sequence[int] = (500,),
        out_features: int = 10,
        pooling: str = "max",
        padding: str = "valid",
        activation: str = "relu",
        pieces: int = 2,
        batch_norm: bool = False,
        dropout: float = 0.0,
        conv_dropout: float = 0.0,
        input_dropout: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        self_stages = stages(input_shape, filters, kernels, pools, padding)
        hidden, out_features = _positive("hidden", hidden), _positive("out_features", [out_features])[0]
        pieces = _positive("pieces", [pieces])[0]
        _choice("pooling", pooling, POOLINGS)
        _choice("activation", activation, ACTIVATIONS)
        for name, value in (
            ("dropout", dropout),
            ("conv_dropout", conv_dropout),
            ("input_dropout", input_dropout),
        ):
            if not 0 <= value < 1:
                raise ValueError(f"CNN: {name} is {value!r}, expected a probability from 0 to below 1")
        wider = pieces if activation == "maxout" else 1

        def activations() -> nn.Module:
            return nn.Maxout(pieces) if activation == "maxout" else _ACTIVATIONS[activation]()

        layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
        for stage in self_stages:
            outputs = stage.filters * wider
            layers.append(
                nn.Conv2d(
                    stage.channels,
                    outputs,
                    stage.kernel,
                    padding="same" if padding == "same" else 0,
                    bias=not batch_norm,
                    dtype=dtype,
                )
            )
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs, dtype=dtype))
            layers.append(activations())
            if stage.pool > 1:
                layers.append(_pool(pooling, stage.pool))
            if conv_dropout:
                layers.append(nn.Dropout(conv_dropout))
        layers.append(nn.Flatten())
        last = self_stages[-1] if self_stages else None
        before = last.filters * last.rows * last.columns if last else prod(input_shape)
        for units in hidden:
            layers.append(nn.Linear(before, units * wider, bias=not batch_norm, dtype=dtype))
            if batch_norm:
                layers.append(nn.BatchNorm1d(units * wider, dtype=dtype))
            layers.append(activations())
            if dropout:
                layers.append(nn.Dropout(dropout))
            before = units
        layers.append(nn.Linear(before, out_features, dtype=dtype))
        super().__init__(*layers)
        self.input_shape = tuple(int(side) for side in input_shape)
        self.out_features = out_features

    def forward(self, x: Any) -> Any:
        """(N, C, H, W) or (N, C * H * W) to (N, out_features)."""
        return super().forward(self.images(x))

    def images(self, x: Any) -> Tensor:
        """Return the input as images (N, C, H, W).

        Raises
        ------
        ValueError
            It has another shape.
        """
        tensor: Tensor = x if isinstance(x, TensorBase) else Tensor(x)  # type: ignore[assignment]
        shape = tensor.shape
        if len(shape) == 4 and shape[1:] == self.input_shape:
            return tensor
        if len(shape) == 2 and shape[1] == prod(self.input_shape):
            return tensor.reshape(shape[0], *self.input_shape)
        channels, rows, columns = self.input_shape
        raise ValueError(
            f"CNN: x is {shape}, expected (N, {channels}, {rows}, {columns}) or (N, {prod(self.input_shape)})"
        )


def stages(
    input_shape: Sequence[int],
    filters: Sequence[int],
    kernels: int | Sequence[int],
    pools: int | Sequence[int],
    padding: str = "valid",
) -> list[Stage]:
    """Return what each stage of a `CNN` makes of an image; errors as `CNN` has them."""
    if len(tuple(input_shape)) != 3:
        raise ValueError(f"CNN: input_shape is {tuple(input_shape)}, expected (channels, rows, columns)")
    channels, rows, columns = _positive("input_shape", input_shape)
    wanted = _positive("filters", filters)
    sides, squares = _each("kernels", kernels, len(wanted)), _each("pools", pools, len(wanted))
    _choice("padding", padding, PADDINGS)
    found = []
    for i, (count, side, square) in enumerate(zip(wanted, sides, squares, strict=True)):
        if padding == "valid":
            if side > min(rows, columns):
                raise ValueError(
                    f"CNN: kernels is {', '.join(map(str, sides))}, but the feature maps before stage {i + 1} are "
                    f"{rows}x{columns}: expected at most {min(rows, columns)} there"
                )
            rows, columns = rows - side + 1, columns - side + 1
        if square > min(rows, columns):
            raise ValueError(
                f"CNN: pools is {', '.join(map(str, squares))}, but the feature maps of stage {i + 1} are "
                f"{rows}x{columns}: expected at most {min(rows, columns)} there"
            )
        rows, columns = rows // square, columns // square
        found.append(Stage(count, side, square, channels, rows, columns))
        channels = count
    return found


def count_weights(
    input_shape: Sequence[int],
    filters: Sequence[int],
    kernels: int | Sequence[int],
    pools: int | Sequence[int],
    hidden: Sequence[int],
    out_features: int,
    padding: str = "valid",
    activation: str = "relu",
    pieces: int = 2,
    **others: Any,
) -> int:
    """Return how many weights, biases and normalisations apart, a `CNN` of these arguments has; makes none of them."""
    wider = _positive("pieces", [pieces])[0] if activation == "maxout" else 1
    plan = stages(input_shape, filters, kernels, pools, padding)
    total = sum(wider * stage.filters * stage.channels * stage.kernel**2 for stage in plan)
    before = (
        plan[-1].filters * plan[-1].rows * plan[-1].columns
        if plan
        else prod(_positive("input_shape", input_shape))
    )
    for units in _positive("hidden", hidden):
        total += before * units * wider
        before = units
    return total + before * _positive("out_features", [out_features])[0]


def _pool(kind: str, side: int) -> nn.Module:
    if kind == "max":
        return nn.MaxPool2d(side)
    return nn.AvgPool2d(side) if kind == "avg" else nn.StochasticPool2d(side)


def _positive(name: str, values: Iterable[Any]) -> list[int]:
    listed = list(values)
    for value in listed:
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            shown = ", ".join(map(repr, listed))
            raise ValueError(f"CNN: {name} is {shown}, expected integers of at least 1")
    return [int(value) for value in listed]


def _each(name: str, value: int | Sequence[int], count: int) -> list[int]:
    sizes = _positive(name, [value] if isinstance(value, int) else value)
    if len(sizes) == 1:
        return sizes * count
    if len(sizes) != count:
        raise ValueError(
            f"CNN: {name} is {', '.join(map(str, sizes))} but there are {count} stages: expected one number, or "
            f"one for each"
        )
    return sizes


def _choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"CNN: {name} is {value!r}, expected one of {', '.join(choices)}{hint}")
