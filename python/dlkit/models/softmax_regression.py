"""Softmax regression: a linear layer whose scores are log-odds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels
from dlkit.kernels.backend import move, to_host
from dlkit.nn import Linear


class SoftmaxRegression(Linear):
    """Multinomial logistic regression: one linear layer, to be trained with `dlkit.nn.CrossEntropyLoss`.

    `forward` returns the logits ``x @ weight.T + bias``, shape (N, classes); their softmax are the class
    probabilities. The loss is convex in the weights, so they start at zero.

    Parameters
    ----------
    in_features
        Inputs per sample.
    out_features
        Classes.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        Shape (out_features, in_features).
    bias : Parameter
        Shape (out_features,).
    """

    def __init__(self, in_features: int, out_features: int = 10, dtype: Any = np.float32) -> None:
        super().__init__(in_features, out_features, dtype=dtype)
        self.weight.data[...] = 0
        if self.bias is not None:
            self.bias.data[...] = 0

    def predict_proba(self, x: ArrayLike) -> NDArray[Any]:
        """Return the class probabilities, shape (N, classes), of samples of shape (N, in_features)."""
        samples = move(np.ascontiguousarray(x, dtype=self.weight.data.dtype), self.weight.device)
        bias = self.bias.data if self.bias is not None else None
        return to_host(kernels.softmax(kernels.matmul(samples, self.weight.data, trans_b=True, bias=bias)))
