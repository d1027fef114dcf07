"""Layer and batch normalisation as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlkit.autograd.base import mark_changed, shape_text
from dlkit.autograd.tensor import Tensor
from dlkit.nn import functional, init
from dlkit.nn.linear import positive_integer
from dlkit.nn.module import Module, float_dtype
from dlkit.nn.normalisation_functional import sizes
from dlkit.nn.parameter import Parameter


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) weight + bias, over the last dimensions.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the dimensions that mean and variance are taken over.
    eps : float
    elementwise_affine : bool
        Whether weight and bias are there.
    bias : bool
        Whether bias is, if weight is.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter of shape normalized_shape, or None
        1 at the start.
    bias : Parameter of shape normalized_shape, or None
        0 at the start.

    Notes
    -----
    Ba, Kiros & Hinton, Layer normalization, 2016.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.normalized_shape = sizes(normalized_shape, "LayerNorm")
        self.eps = _not_negative(eps, "LayerNorm", "eps")
        self.elementwise_affine = bool(elementwise_affine)
        kind = float_dtype(dtype, "LayerNorm")
        given = {"weight": self.elementwise_affine, "bias": self.elementwise_affine and bias}
        for name, there in given.items():
            self.register_parameter(name, Parameter(np.empty(self.normalized_shape, kind)) if there else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        _reset(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(*, *normalized_shape) to the same."""
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return sizes and settings."""
        return f"{shape_text(self.normalized_shape)}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class _BatchNorm(Module):
    # What BatchNorm1d and BatchNorm2d share: all but the shapes that they take.

    _places: tuple[tuple[str, ...], ...]  # what may follow (N, channels)
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = positive_integer(num_features, name, "num_features")
        self.eps = _not_negative(eps, name, "eps")
        self.momentum = None if momentum is None else _not_negative(momentum, name, "momentum")
        self.affine, self.track_running_stats = bool(affine), bool(track_running_stats)
        kind = float_dtype(dtype, name)
        for parameter in ("weight", "bias"):
            self.register_parameter(
                parameter, Parameter(np.empty(self.num_features, kind)) if self.affine else None
            )
        tracked = self.track_running_stats
        for buffer in ("running_mean", "running_var"):
            self.register_buffer(buffer, np.empty(self.num_features, kind) if tracked else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count of batches to 0."""
        for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if buffer is not None:
                buffer._array[...] = value
                mark_changed(buffer)

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0, and the running statistics as they are at the start."""
        self.reset_running_stats()
        _reset(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch's statistics in training, or where none are tracked; else by the running ones."""
        shape = functional.tensor_of(x, type(self).__name__, "x").shape
        if len(shape) not in [2 + len(places) for places in self._places] or shape[1] != self.num_features:
            layouts = " or ".join(
                f"({', '.join(('N', str(self.num_features), *places))})" for places in self._places
            )
            raise ValueError(f"{type(self).__name__}: x is {shape_text(shape)}; expected {layouts}")
        tracking = self.training and self.track_running_stats
        training = self.training or (self.running_mean is None and self.running_var is None)
        count = self.num_batches_tracked if tracking else None
        momentum: Any = self.momentum
        if (
            momentum is None
        ):  # the mean of all batches so far; on a device a number there, so that nothing waits
            momentum = 0.0 if count is None else 1 / (count._array + 1)
        running = tracking or not training
        out = functional.batch_norm(
            x,
            self.running_mean if running else None,
            self.running_var if running else None,
            self.weight,
            self.bias,
            training,
            momentum,
            self.eps,
        )
        if count is not None:
            count._array[...] += 1
            mark_changed(count)
        return out

    def extra_repr(self) -> str:
        """Return size and settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of vectors or sequences: (x - mean) / sqrt(variance + eps) weight + bias for each channel.

    In training with the mean and the (population's) variance of the batch, which running averages follow; after
    `eval` with those averages.

    Parameters
    ----------
    num_features : int
        Channels: C of an input (N, C) or (N, C, L).
    eps : float
    momentum : float or None
        How far the running averages move towards a batch's statistics; None: they are the mean over all batches.
    affine : bool
        Whether weight and bias are there.
    track_running_stats : bool
        Whether there are running averages; if not, the batch's statistics are used after `eval`, too.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter of shape (num_features,), or None
        1 and 0 at the start.
    running_mean, running_var : Tensor of shape (num_features,), or None
        Buffers; 0 and 1 at the start. The running variance is that of unbiased estimates, as in PyTorch.
    num_batches_tracked : Tensor of int64, or None

    Notes
    -----
    Ioffe & Szegedy, Batch normalization, ICML 2015.
    """

    _places = ((), ("L",))


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (N, C, H, W), for each of `num_features` channels C.

    Parameters, attributes and notes as for `BatchNorm1d`.
    """

    _places = (("H", "W"),)


def _reset(weight: Parameter | None, bias: Parameter | None) -> None:
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)


def _not_negative(value: Any, operation: str, argument: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise TypeError(f"{operation}: {argument} is a {type(value).__name__}; expected a number")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{operation}: {argument} is {value}; expected 0 or more")
    return float(value)
