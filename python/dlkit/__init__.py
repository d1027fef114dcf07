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
    arange,
    cat,
    enable_grad,
    eye,
    full,
    is_grad_enabled,
    linspace,
    maximum,
    minimum,
    no_grad,
    ones,
    ones_like,
    rand,
    randn,
    set_grad_enabled,
    stack,
    tensor,
    where,
    zeros,
    zeros_like,
)
from dlkit.kernels import get_num_threads, manual_seed, set_num_threads, show_config

if TYPE_CHECKING:
    from dlkit import cli, data, models, nn, optim, recipes, study, train

# Rooms that are imported when first used, so that `import dlkit` takes no longer than NumPy and the kernels.
_ROOMS = ("cli", "data", "models", "nn", "optim", "recipes", "study", "train")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        import importlib

        return importlib.import_module(f"dlkit.{name}")
    raise AttributeError(f"module 'dlkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_ROOMS))


__all__ = [
    "Tensor",
    "__version__",
    "arange",
    "autograd",
    "cat",
    "cli",
    "data",
    "enable_grad",
    "eye",
    "full",
    "get_num_threads",
    "is_grad_enabled",
    "kernels",
    "linspace",
    "manual_seed",
    "maximum",
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
    "set_grad_enabled",
    "set_num_threads",
    "show_config",
    "stack",
    "study",
    "tensor",
    "train",
    "where",
    "zeros",
    "zeros_like",
]
