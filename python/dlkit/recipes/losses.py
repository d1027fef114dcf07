"""Losses that belong to a recipe rather than to every network."""

from __future__ import annotations

from typing import Any

from dlkit.autograd import Tensor
from dlkit.autograd.base import as_array
from dlkit.kernels.backend import namespace
from dlkit.nn import Module


class QuadraticCost(Module):
    """Half the squared distance between sigmoid outputs and the one-hot target, mean over the batch.

    The cost of the course's naive network: ``1/2 |sigmoid(z) - onehot(label)|²``. Its gradient carries the
    factor ``sigmoid'(z)``, so that a confidently wrong unit learns slowly; the cross-entropy has no such
    factor (Nielsen, *Neural Networks and Deep Learning*, chapter 3, 2015).

    Parameters
    ----------
    label_smoothing
        Share of the target that is spread evenly over all classes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Any) -> Tensor:
        """Return the cost, a scalar, of logits (N, classes) and class numbers (N,)."""
        numbers = as_array(labels, "QuadraticCost", "labels", like=logits.data)
        real = logits.dtype.type
        rest = real(self.label_smoothing / logits.shape[1])
        chosen = numbers[:, None] == namespace(numbers).arange(logits.shape[1])
        target = chosen * real(1 - self.label_smoothing) + rest
        difference = logits.sigmoid() - Tensor(target)
        return (difference * difference).sum() * (0.5 / len(numbers))
