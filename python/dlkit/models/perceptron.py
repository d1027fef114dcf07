"""The perceptron: linear scores, and a rule that learns from mistakes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels
from dlkit.autograd import Tensor
from dlkit.autograd.base import as_array
from dlkit.kernels.backend import is_device_array, move, namespace, to_host
from dlkit.nn import Module, Parameter
from dlkit.nn import functional as F

#: Samples whose scores are computed together. The Gram matrix of a block costs as much as `_BLOCK` more
#: outputs would: small enough to be cheap, large enough for the matrix product to run at full speed.
_BLOCK = 64


class Perceptron(Module):
    """A layer of linear threshold units that learns only from its mistakes.

    The scores are ``x @ weight.T + bias``. With one output the sample belongs to class 1 if its score is
    positive, else to class 0; with more outputs it belongs to the class with the greatest score.

    `learn` applies the perceptron rule: take the samples one by one; where the predicted class p is the true
    class t, change nothing; else ``weight[t] += lr * x`` and ``weight[p] -= lr * x`` (one output:
    ``weight += lr * (t - p) * x``), the bias likewise with x = 1. On samples that a linear function separates
    the rule comes to an end (Novikoff, 1962); on others, such as XOR, it never does.

    Parameters
    ----------
    in_features
        Inputs per sample.
    out_features
        1 for two classes, else the number of classes.
    averaged
        Keep the average of the weights after every sample, and predict with it in evaluation mode (Collins,
        2002): steadier and more accurate on samples that cannot be separated.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        Shape (out_features, in_features), as `torch.nn.Linear` has it; zeros at the start.
    bias : Parameter
        Shape (out_features,).
    weight_sum, bias_sum, samples_seen : buffers of float64
        With `averaged`: the sums of the weights after every sample, and how many there were.

    References
    ----------
    Rosenblatt, "The Perceptron: a probabilistic model for information storage and organization in the brain",
    Psychological Review 65, 1958. Collins, "Discriminative training methods for hidden Markov models: theory
    and experiments with perceptron algorithms", EMNLP 2002.
    """

    weight_sum: Tensor
    bias_sum: Tensor
    samples_seen: Tensor

    def __init__(
        self, in_features: int, out_features: int = 10, averaged: bool = False, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(f"Perceptron: {name} is {value!r}, expected an integer of at least 1")
        self.in_features = int(in_features)
        self.out_features = int(out_features)
        self.averaged = bool(averaged)
        self.weight = Parameter(np.zeros((self.out_features, self.in_features), dtype))
        self.bias = Parameter(np.zeros(self.out_features, dtype))
        if self.averaged:
            self.register_buffer("weight_sum", Tensor(np.zeros((self.out_features, self.in_features))))
            self.register_buffer("bias_sum", Tensor(np.zeros(self.out_features)))
            self.register_buffer("samples_seen", Tensor(np.zeros(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, shape (N, out_features), of inputs of shape (N, in_features)."""
        if self.averaged and not self.training and self.samples_seen.data[0] > 0:
            weight, bias = self.average()
            return F.linear(x, Tensor(weight), Tensor(bias))
        return F.linear(x, self.weight, self.bias)

    def average(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the averages of weight and bias over all samples seen, in the dtype of the weights.

        Raises
        ------
        RuntimeError
            The model was made without ``averaged=True``, or has not seen a sample yet.
        """
        if not self.averaged:
            raise RuntimeError("Perceptron: average needs a model made with averaged=True")
        count = float(self.samples_seen.data[0])
        if count == 0:
            raise RuntimeError("Perceptron: average of no samples: call learn first")
        dtype = self.weight.data.dtype
        return (self.weight_sum.data / count).astype(dtype), (self.bias_sum.data / count).astype(dtype)

    def learn(self, x: ArrayLike, y: ArrayLike, lr: float = 1.0) -> NDArray[Any]:
        """Go through the samples once, in order, and apply the perceptron rule to each.

        Parameters
        ----------
        x
            Samples, shape (N, in_features).
        y
            Class numbers, shape (N,), integers from 0.
        lr
            Size of a correction. Started from zero weights, it scales the scores but changes no decision.

        Returns
        -------
        ndarray of shape (N, out_features)
            The scores that each sample had when its turn came: those that the rule decided on.

        Notes
        -----
        The rule is sequential, yet nearly all of its arithmetic is done in matrix products: for a block of
        samples X the scores ``X Wᵀ`` and the Gram matrix ``X Xᵀ`` are computed at once. A mistake on sample i
        then changes the scores of the later samples j of the block by ``lr * (x_i · x_j + 1)``, which is a
        row of the Gram matrix, and all corrections of a block reach the weights in a third product. Decisions
        and weights are those of the sample-by-sample rule up to rounding. On a device the products are computed there,
        and the decisions, one after another, on the host.
        """
        samples = self._moved(x)
        labels = to_host(as_array(y, "Perceptron", "y"))
        self._check(samples, labels, lr)
        scores = np.empty((len(samples), self.out_features), self.weight.dtype)
        for start in range(0, len(samples), _BLOCK):
            rows = slice(start, start + _BLOCK)
            self._learn_block(samples[rows], labels[rows].tolist(), lr, scores[rows])
        return scores

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        """Return the class numbers, shape (N,), for samples of shape (N, in_features)."""
        samples = self._moved(x)
        if samples.ndim != 2 or samples.shape[1] != self.in_features:
            raise ValueError(f"Perceptron: x is {samples.shape}, expected (N, {self.in_features})")
        weight, bias = self.weight.data, self.bias.data
        if self.averaged and not self.training and self.samples_seen.data[0] > 0:
            weight, bias = self.average()
        return decide(to_host(kernels.matmul(samples, weight, trans_b=True, bias=bias)))

    def _moved(self, x: Any) -> Any:
        # Contiguous, in the dtype of the weights and on their device.
        array, dtype = (x.data if isinstance(x, Tensor) else x), self.weight.dtype
        if is_device_array(array):
            array = array.astype(dtype, copy=False)
        else:
            array = np.ascontiguousarray(array, dtype=dtype)
        return move(array, self.weight.device)

    def _learn_block(self, x: NDArray[Any], labels: list[int], lr: float, scores: NDArray[Any]) -> None:
        weight, bias, n = self.weight.data, self.bias.data, len(x)
        device = self.weight.device
        if device == "cpu":
            kernels.matmul(x, weight, trans_b=True, bias=bias, out=scores)
        else:
            scores[...] = to_host(kernels.matmul(x, weight, trans_b=True, bias=bias))
        binary = self.out_features == 1
        corrections: NDArray[Any] | None = None
        predicted = decide(scores).tolist()
        i = 0
        while i < n:
            true, said = labels[i], predicted[i]
            i += 1
            if said == true:
                continue
            if corrections is None:
                corrections = np.zeros((n, self.out_features), x.dtype)
                influence = to_host(kernels.matmul(x, x, trans_b=True))
                influence += 1  # the bias sees x = 1
                influence *= lr
            if binary:
                corrections[i - 1, 0] = lr * (true - said)
                scores[i:, 0] += influence[i - 1, i:] * (true - said)
            else:
                corrections[i - 1, true] = lr
                corrections[i - 1, said] = -lr
                scores[i:, true] += influence[i - 1, i:]
                scores[i:, said] -= influence[i - 1, i:]
            predicted[i:] = decide(scores[i:]).tolist()
        if self.averaged:
            self._add_to_average(x, corrections)
        if corrections is not None:
            kernels.matmul(move(corrections, device), x, trans_a=True, out=weight, accumulate=True)
            bias += move(corrections.sum(axis=0), device)

    def _add_to_average(self, x: NDArray[Any], corrections: NDArray[Any] | None) -> None:
        """Add the weights after each sample; the correction of sample i is in the last n - i of them."""
        n = len(x)
        weight_sum, bias_sum = self.weight_sum.data, self.bias_sum.data
        weight_sum += n * self.weight.data
        bias_sum += n * self.bias.data
        self.samples_seen.data[0] += n
        if corrections is not None:
            device = self.weight.device
            repeated = corrections * np.arange(n, 0, -1, dtype=x.dtype)[:, None]
            weight_sum += kernels.matmul(move(repeated, device), x, trans_a=True)
            bias_sum += move(repeated.sum(axis=0), device)

    def _check(self, x: NDArray[Any], y: NDArray[Any], lr: float) -> None:
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"Perceptron: x is {x.shape}, expected (N, {self.in_features})")
        if y.shape != (len(x),):
            raise ValueError(f"Perceptron: y is {y.shape}, expected ({len(x)},) as x has {len(x)} samples")
        if y.dtype.kind not in "iu":
            raise TypeError(f"Perceptron: y has dtype {y.dtype}, expected integer class numbers")
        classes = max(self.out_features, 2)
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise ValueError(
                f"Perceptron: labels lie in {int(y.min())} … {int(y.max())}, expected 0 … {classes - 1}"
            )
        if len(x) and not np.isfinite(to_host(x.sum(dtype=np.float64))) and not np.isfinite(x).all():
            raise ValueError("Perceptron: x holds NaN or infinity, expected finite numbers")
        if not (np.isfinite(lr) and lr > 0):
            raise ValueError(f"Perceptron: lr is {lr!r}, expected a positive number")

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        text = f"in_features={self.in_features}, out_features={self.out_features}"
        return text + (", averaged=True" if self.averaged else "")


def perceptron_loss(scores: Tensor, labels: ArrayLike) -> Tensor:
    """Return the perceptron criterion: how far, on average, the true class lies below the predicted one.

    The mean over the samples of ``max(0, max_k score_k - score_true)``, or, with one output, of
    ``max(0, -score * (2 label - 1))``. Its gradient on a single sample is the perceptron rule.

    Parameters
    ----------
    scores
        Shape (N, classes), or (N, 1) for two classes.
    labels
        Class numbers, shape (N,).
    """
    numbers = as_array(labels, "perceptron_loss", "labels", like=scores.data)
    if scores.ndim != 2 or numbers.shape != (scores.shape[0],):
        raise ValueError(
            f"perceptron_loss: scores is {scores.shape} and labels {numbers.shape}, expected (N, classes) "
            f"and (N,)"
        )
    if scores.shape[1] == 1:
        sign = (2 * numbers - 1).astype(scores.dtype)
        return (scores.flatten() * Tensor(-sign)).relu().mean()
    rows = namespace(scores.data).arange(len(numbers))
    best = scores.data.argmax(axis=1)
    return (scores[rows, best] - scores[rows, numbers]).mean()


def decide(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class numbers, shape (N,), that scores of shape (N, outputs) stand for."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0).astype(np.int64)
    numbers: NDArray[np.int64] = scores.argmax(axis=1)
    return numbers
