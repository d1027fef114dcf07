"""What a model is made of: shapes, parameters, operations and bytes, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from dlkit import nn
from dlkit.autograd import Tensor, no_grad
from dlkit.autograd.base import TensorBase
from dlkit.kernels import random


@dataclass(frozen=True)
class Layer:
    """One layer, as `summary` met it.

    Attributes
    ----------
    name
        Dotted name within the model; "" for the model itself.
    kind
        Class and settings, as `repr` shows them.
    output_shape
        Shape of what it returned (of the first, where there are several).
    parameters
        Numbers in its parameters; those that an earlier layer shares count there alone.
    flops
        Additions and multiplications of one forward pass (a comparison, division or square root counts as one); None
        for a layer that `summary` does not know.
    bytes
        What a forward pass must move at least: inputs, parameters and buffers read once, outputs written once.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int | None
    bytes: int


@dataclass(frozen=True)
class Summary:
    """The layers of a model in the order in which they ran. `str` of it is a table.

    Attributes
    ----------
    layers
        A record for each call of a layer.
    parameters
        Numbers in all parameters, those that no layer used included.
    flops, bytes
        Sums over the layers; `flops` without those that are unknown.
    """

    layers: tuple[Layer, ...]
    parameters: int
    flops: int
    bytes: int

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "parameters", "FLOPs", "bytes")]
        for layer in self.layers:
            flops = "?" if layer.flops is None else f"{layer.flops:,}"
            rows.append(
                (
                    layer.name or "(model)",
                    layer.kind,
                    "×".join(map(str, layer.output_shape)) or "scalar",
                    f"{layer.parameters:,}",
                    flops,
                    f"{layer.bytes:,}",
                )
            )
        rows.append(("total", "", "", f"{self.parameters:,}", f"{self.flops:,}", f"{self.bytes:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(len(line) for line in lines)
        if any(layer.flops is None for layer in self.layers):
            lines.append("?: a layer of your own, whose operations are not in the sum")
        return "\n".join([lines[0], rule, *lines[1 : len(rows) - 1], rule, *lines[len(rows) - 1 :]])


def summary(model: nn.Module, input: Any) -> Summary:
    """Run a model once, and say what each of its layers made of the input and at what cost.

    Parameters
    ----------
    model
        Any module. It is run as it stands, in evaluation mode, without gradients; its mode, the random state and its
        buffers are as before afterwards.
    input
        What `forward` takes: a tensor or array, a tuple of several, or a shape such as ``(64, 1, 28, 28)``, for
        zeros of the model's dtype.

    Returns
    -------
    Summary
        ``print(summary(...))`` shows a table. Layers are the modules that have none within them, and modules with
        parameters of their own. Operations are those of the layers one by one; in `Sequential` an activation may run
        within the kernel of the layer before it, which saves bytes and no operations.

    Raises
    ------
    TypeError
        `model` is no module.

    Examples
    --------
    >>> import dlkit as dl
    >>> print(dl.models.summary(dl.models.MLP(784, (100,), 10), (1, 784)))
    layer  kind                                                     output  parameters    FLOPs    bytes
    ----------------------------------------------------------------------------------------------------
    0      Linear(in_features=784, out_features=100, bias=True)     1×100       78,500  156,900  317,536
    1      ReLU()                                                   1×100            0      100      800
    2      Linear(in_features=100, out_features=10, bias=True)      1×10         1,010    2,010    4,480
    ----------------------------------------------------------------------------------------------------
    total                                                                       79,510  159,010  322,816
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"summary: model is a {type(model).__name__}, expected a dlkit.nn.Module")
    found: list[Layer] = []
    counted: set[int] = set()

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            found.append(_layer(name, module, inputs, output, counted))

        return hook

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))
    ]
    state = random.get_state()
    try:
        with nn.evaluation_mode(model), no_grad():
            model(*_arguments(model, input))
    finally:
        random.set_state(state)
        for handle in handles:
            handle.remove()
    return Summary(
        tuple(found),
        sum(int(p.numel()) for p in model.parameters()),
        sum(layer.flops or 0 for layer in found),
        sum(layer.bytes for layer in found),
    )


def _arguments(model: nn.Module, given: Any) -> tuple[Any, ...]:
    if isinstance(given, (tuple, list)) and all(
        hasattr(side, "__index__") and not isinstance(side, (np.ndarray, TensorBase)) for side in given
    ):
        first = next(iter(model.parameters()), None)
        dtype, device = (np.dtype(np.float32), "cpu") if first is None else (first.dtype, first.device)
        return (Tensor(np.zeros(tuple(given), dtype)).to(device),)
    if isinstance(given, tuple):
        return given
    return (given if isinstance(given, TensorBase) else Tensor(given),)


def _layer(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any, counted: set[int]) -> Layer:
    results = [t for t in (output if isinstance(output, (tuple, list)) else (output,)) if hasattr(t, "shape")]
    given = [t for t in inputs if hasattr(t, "shape")]
    shape = tuple(int(side) for side in results[0].shape) if results else ()
    own = list(module.parameters(recurse=False))
    new = [p for p in own if id(p) not in counted]
    counted.update(id(p) for p in new)
    buffers = [b for b in module._buffers.values() if b is not None]
    first = tuple(int(side) for side in given[0].shape) if given else ()
    moved = sum(_bytes(t) for t in (*given, *results))
    if isinstance(module, nn.Embedding):
        # Rows are taken, not the table.
        moved += sum(_bytes(t) for t in results)
    elif isinstance(module, (nn.Identity, nn.Flatten, nn.Dropout)):
        moved = 0  # views, or the input itself
    else:
        moved += sum(_bytes(t) for t in (*own, *buffers))
    return Layer(
        name, repr(module), shape, sum(int(p.numel()) for p in new), _flops(module, first, shape), moved
    )


def _bytes(tensor: Any) -> int:
    return int(prod(int(side) for side in tensor.shape) * np.dtype(tensor.dtype).itemsize)


#: Operations per element of the output, for what works element by element.
_PER_ELEMENT: dict[type, int] = {
    nn.ReLU: 1,
    nn.LeakyReLU: 2,
    nn.Hardtanh: 2,
    nn.ELU: 4,
    nn.Sigmoid: 4,
    nn.Tanh: 6,
    nn.Softplus: 4,
    nn.SiLU: 5,
    nn.GELU: 8,
    nn.Softmax: 5,
    nn.LogSoftmax: 5,
    nn.LayerNorm: 8,
    nn.BatchNorm1d: 4,
    nn.BatchNorm2d: 4,
    nn.Identity: 0,
    nn.Flatten: 0,
    nn.Dropout: 0,
    nn.Embedding: 0,
}


def _flops(module: nn.Module, given: tuple[int, ...], made: tuple[int, ...]) -> int | None:
    """The operations of one forward pass in evaluation mode, or None where nobody knows."""
    size = prod(made)
    if isinstance(module, nn.Linear):
        return size * (2 * module.in_features + int(module.bias is not None))
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        taps = prod(module.weight.shape[1:])
        return int(size * (2 * taps + int(module.bias is not None)))
    if isinstance(module, (nn.Recurrent, nn.RecurrentCell)):
        return _recurrence(module, prod(given) // module.input_size)
    if isinstance(module, nn.CRF):
        return prod(given) * (2 * module.num_tags + 6)  # the forward algorithm, and exponentials
    if isinstance(module, nn.SampledSoftmaxLoss):
        return (
            given[0] * module.n_classes * (2 * module.in_features + 1 + 6)
        )  # of all classes, as for nn.Linear
    if isinstance(module, nn.Maxout):
        return size * (module.pieces - 1)
    name = type(module).__name__
    if "Pool" in name or name == "MaxOverTime":
        return _pooling(module, name, given, size)
    for kind, operations in _PER_ELEMENT.items():
        if isinstance(module, kind):
            return operations * size
    if isinstance(module, _LOSSES):
        return 6 * prod(given)
    return None


def _recurrence(module: nn.Recurrent | nn.RecurrentCell, rows: int) -> int:
    """Products and biases of every step of every sequence, and six operations for each gate of a unit."""
    operations = 0
    for parameter in module.parameters():
        operations += (2 if len(parameter.shape) == 2 else 1) * int(parameter.numel())
        if len(parameter.shape) == 2 and parameter.shape[1] == module.hidden_size:  # U, once a direction
            operations += 6 * int(parameter.shape[0])
    return rows * operations


def _pooling(module: nn.Module, name: str, given: tuple[int, ...], size: int) -> int:
    """An operation for each element that a window sees; stochastic pooling weighs each by its probability."""
    window = getattr(module, "kernel_size", None)
    if window is None:  # adaptive windows, over time, k-max: each input once
        return prod(given)
    dims = 1 if "1d" in name else 2
    sides = [int(window)] * dims if hasattr(window, "__index__") else [int(side) for side in window]
    return size * prod(sides) * (3 if "Stochastic" in name else 1)


_LOSSES = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.CrossEntropyLoss,
    nn.HingeLoss,
    nn.HuberLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.MultiMarginLoss,
    nn.NLLLoss,
    nn.SmoothL1Loss,
)
