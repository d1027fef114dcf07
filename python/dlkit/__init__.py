"""dlkit: a small, fast deep-learning library over hand-written kernels.

Examples
--------
>>> import dlkit as dl
>>> model = dl.nn.Sequential(dl.nn.Linear(64, 32), dl.nn.ReLU(), dl.nn.Linear(32, 10))
>>> optimizer = dl.optim.Adam(model.parameters())
>>> loss = dl.nn.functional.cross_entropy(model(dl.zeros(8, 64)), [0, 1, 2, 3, 4, 5, 6, 7])
>>> loss.backward()
>>> optimizer.step()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from dlkit import autograd, kernels
from dlkit.autograd import (
    Tensor,
    abs,
    arange,
    cat,
    clamp,
    cos,
    enable_grad,
    exp,
    eye,
    full,
    is_grad_enabled,
    linspace,
    log,
    log1p,
    log_softmax,
    logsumexp,
    matmul,
    maximum,
    mean,
    minimum,
    no_grad,
    ones,
    ones_like,
    rand,
    randn,
    relu,
    set_grad_enabled,
    sigmoid,
    sin,
    softmax,
    sqrt,
    square,
    stack,
    sum,
    tanh,
    tensor,
    where,
    zeros,
    zeros_like,
)
from dlkit.kernels import (
    get_float32_matmul_precision,
    get_num_threads,
    manual_seed,
    set_float32_matmul_precision,
    set_num_threads,
    show_config,
)

if TYPE_CHECKING:
    from dlkit import cli, cuda, data, models, nn, optim, recipes, study, train
    from dlkit.models import KeyedVectors, Word2Vec

# Rooms that are imported when first used, so that `import dlkit` takes no longer than NumPy and the kernels.
_ROOMS = ("cli", "cuda", "data", "models", "nn", "optim", "recipes", "study", "train")

# Models with names of their own here, as elsewhere they have, imported when first used, too.
_MODELS = ("KeyedVectors", "Word2Vec")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        import importlib

        return importlib.import_module(f"dlkit.{name}")
    if name in _MODELS:
        from dlkit import models

        return getattr(models, name)
    raise AttributeError(f"module 'dlkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_ROOMS) | set(_MODELS))


__all__ = [
    "KeyedVectors",
    "Tensor",
    "Word2Vec",
    "__version__",
    "abs",
    "arange",
    "autograd",
    "cat",
    "clamp",
    "cli",
    "cos",
    "cuda",
    "data",
    "enable_grad",
    "exp",
    "eye",
    "full",
    "get_float32_matmul_precision",
    "get_num_threads",
    "is_grad_enabled",
    "kernels",
    "linspace",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "manual_seed",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "rand",
    "randn",
    "recipes",
    "relu",
    "set_float32_matmul_precision",
    "set_grad_enabled",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sin",
    "softmax",
    "sqrt",
    "square",
    "stack",
    "study",
    "sum",
    "tanh",
    "tensor",
    "train",
    "where",
    "zeros",
    "zeros_like",
]
