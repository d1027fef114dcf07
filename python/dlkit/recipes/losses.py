"""Losses that belong to a recipe rather than to every network."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.autograd import Tensor
from dlkit.nn import Module


class QuadraticCost(Module):
    """Half the squared distance between sigmoid outputs and the one-hot target, mean over the batch.

    The cost of the course's naive network: ``1/2 |sigmoid(z) - onehot(label)|²``. Its gradient carries the
    factor ``sigmoid'(z)``, so that a confidently wrong unit learns slowly; the cross-entropy has no such
    factor (Nielsen, *Neural Networks and Deep Learning*, chapter 3, 2015).
    """

    def forward(self, logits: Tensor, labels: Any) -> Tensor:
        """Return the cost, a scalar, of logits (N, classes) and class numbers (N,)."""
        numbers = labels.data if isinstance(labels, Tensor) else np.asarray(labels)
        target = np.zeros(logits.shape, logits.dtype)
        target[np.arange(len(numbers)), numbers] = 1
        difference = logits.sigmoid() - Tensor(target)
        return (difference * difference).sum() * (0.5 / len(numbers))
