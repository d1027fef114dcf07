"""Tensors, the graph of what was computed from what, and derivatives through it.

Examples
--------
>>> import dlkit as dl
>>> a, b = dl.Tensor(2.0, requires_grad=True), dl.Tensor(1.0, requires_grad=True)
>>> e = (a + b) * (b + 1)
>>> e.backward()
>>> print(dl.autograd.graph_table(e))  # doctest: +SKIP
>>> dl.autograd.draw(e, "graph.svg")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlkit.autograd.arithmetic import maximum, minimum
from dlkit.autograd.arrangement import cat, stack
from dlkit.autograd.creation import (
    arange,
    eye,
    full,
    linspace,
    ones,
    ones_like,
    rand,
    randn,
    tensor,
    zeros,
    zeros_like,
)
from dlkit.autograd.elementwise import where
from dlkit.autograd.engine import grad
from dlkit.autograd.functional import (
    abs,
    clamp,
    cos,
    exp,
    log,
    log1p,
    log_softmax,
    logsumexp,
    matmul,
    mean,
    relu,
    sigmoid,
    sin,
    softmax,
    sqrt,
    square,
    sum,
    tanh,
)
from dlkit.autograd.mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from dlkit.autograd.tensor import Tensor

if TYPE_CHECKING:
    from dlkit.autograd.drawing import draw
    from dlkit.autograd.function import Context, Function
    from dlkit.autograd.gradient_check import GradcheckError, gradcheck
    from dlkit.autograd.graph import GraphRow, GraphTable, graph_table

# Needed rarely: imported when first asked for.
_LAZY = {
    "Context": "function",
    "Function": "function",
    "GradcheckError": "gradient_check",
    "GraphRow": "graph",
    "GraphTable": "graph",
    "draw": "drawing",
    "gradcheck": "gradient_check",
    "graph_table": "graph",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))


def retain_grad(tensor: Tensor) -> None:
    """Keep ``.grad`` of a tensor in backward passes though it is no leaf. See `Tensor.retain_grad`."""
    tensor.retain_grad()


__all__ = [
    "Context",
    "Function",
    "GradcheckError",
    "GraphRow",
    "GraphTable",
    "Tensor",
    "abs",
    "arange",
    "cat",
    "clamp",
    "cos",
    "draw",
    "enable_grad",
    "exp",
    "eye",
    "full",
    "grad",
    "gradcheck",
    "graph_table",
    "is_grad_enabled",
    "linspace",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "no_grad",
    "ones",
    "ones_like",
    "rand",
    "randn",
    "relu",
    "retain_grad",
    "set_grad_enabled",
    "sigmoid",
    "sin",
    "softmax",
    "sqrt",
    "square",
    "stack",
    "sum",
    "tanh",
    "tensor",
    "where",
    "zeros",
    "zeros_like",
]
