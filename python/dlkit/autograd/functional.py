"""Operations of tensors as functions, for formulas that read like formulas: ``dl.exp(x)`` is ``x.exp()``.

They take arrays, nested lists and numbers, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dlkit.autograd import elementwise, normalisation, product, reduction
from dlkit.autograd.base import TensorBase, as_array, make

if TYPE_CHECKING:
    from dlkit.autograd.tensor import Tensor


def _function(method: Callable[..., Any]) -> Callable[..., Tensor]:
    @functools.wraps(method)
    def call(a: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(a, TensorBase):
            a = make(as_array(a, method.__name__, "a"))
        return method(a, *args, **kwargs)

    return call


abs = _function(elementwise.abs)
clamp = _function(elementwise.clamp)
cos = _function(elementwise.cos)
exp = _function(elementwise.exp)
log = _function(elementwise.log)
log1p = _function(elementwise.log1p)
log_softmax = _function(normalisation.log_softmax)
logsumexp = _function(reduction.logsumexp)
matmul = _function(product.matmul)
mean = _function(reduction.mean)
relu = _function(elementwise.relu)
sigmoid = _function(elementwise.sigmoid)
sin = _function(elementwise.sin)
softmax = _function(normalisation.softmax)
sqrt = _function(elementwise.sqrt)
square = _function(elementwise.square)
sum = _function(reduction.sum)
tanh = _function(elementwise.tanh)

__all__ = [
    *("abs", "clamp", "cos", "exp", "log", "log1p", "log_softmax", "logsumexp", "matmul", "mean"),
    *("relu", "sigmoid", "sin", "softmax", "sqrt", "square", "sum", "tanh"),
]
