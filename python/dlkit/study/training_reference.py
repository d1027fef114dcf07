"""What the references of training steps share, in float64: the loss, and Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax_loss(logits: NDArray[Any], labels: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """Return the mean cross-entropy of rows of logits, and its gradient by them."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    grad = np.exp(shifted)
    total = grad.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.mean(np.log(total[:, 0]) - shifted[rows, labels]))
    grad /= total
    grad[rows, labels] -= 1
    return loss, grad / len(labels)


class AdamReference:
    """Adam as Kingma & Ba (2015), algorithm 1, write it, with PyTorch's place for epsilon."""

    def __init__(self, params: list[NDArray[Any]], lr: float) -> None:
        self.params = [p.copy() for p in params]
        self.lr, self.t = lr, 0
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, grads: list[NDArray[Any]]) -> None:
        """Change the parameters by one step along these gradients."""
        self.t += 1
        for p, g, m, v in zip(self.params, grads, self.m, self.v, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= self.lr * (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8)
