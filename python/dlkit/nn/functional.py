"""Layers and losses as functions of tensors."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd import elementwise, normalisation
from dlkit.autograd.base import TensorBase, as_array, make, record, shape_text
from dlkit.autograd.mode import mode
from dlkit.autograd.product import bias_gradient, weight_gradient
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import mixed_devices, namespace
from dlkit.nn.conv_functional import conv1d, conv1d_max_pool, conv2d, conv2d_max_pool
from dlkit.nn.crf_functional import crf_loss
from dlkit.nn.embedding_functional import embedding
from dlkit.nn.losses_functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    smooth_l1_loss,
)
from dlkit.nn.normalisation_functional import batch_norm, layer_norm
from dlkit.nn.over_time_functional import conv1d_max
from dlkit.nn.pool_functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    k_max_pool1d,
    max_over_time,
    max_pool1d,
    max_pool2d,
    maxout,
    stochastic_pool2d,
)
from dlkit.nn.recurrent_functional import RecurrentState, recurrent

if TYPE_CHECKING:
    from dlkit.autograd.base import Array

_FUSED = {None: "linear", "relu": "linear_relu", "sigmoid": "linear_sigmoid", "tanh": "linear_tanh"}


def tensor_of(value: Any, operation: str, argument: str = "input") -> Tensor:
    """Return `value` as a tensor: itself, or a new one without gradient."""
    if isinstance(value, TensorBase):
        return value  # type: ignore[return-value]
    return make(as_array(value, operation, argument))


def linear(x: Any, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """activation(x weightᵀ + bias), in one kernel; likewise backward.

    Parameters
    ----------
    x : Tensor of shape (..., in)
    weight : Tensor of shape (out, in)
    bias : Tensor of shape (out,), optional
    activation : {"relu", "sigmoid", "tanh"}, optional

    Returns
    -------
    Tensor of shape (..., out)

    Raises
    ------
    TypeError
        If dtypes differ, or are not float32 or float64; if weight or bias is no tensor.
    ValueError
        If shapes do not fit, or the activation is unknown.
    """
    if not isinstance(x, TensorBase):
        x = make(as_array(x, "linear", "x", like=getattr(weight, "_array", None)))
    try:
        inputs, w = x._array, weight._array
        b = bias._array if bias is not None else None
    except AttributeError:
        _require_tensors(weight, bias)
        raise
    try:
        out = kernels.matmul(inputs, w, trans_b=True, bias=b, activation=activation)  # type: ignore[arg-type]
        op = _FUSED[activation]
    except (KeyError, TypeError, ValueError):
        _explain(inputs, w, b, activation)
        raise
    if not (x._tracked or weight._tracked or (bias is not None and bias._tracked)) or not mode.enabled:
        return make(out)

    def backward(g: Array, direct: bool) -> tuple[Array | None, ...]:
        if activation is not None:
            g = kernels.activation_backward(g, activation, y=out)
        rows = inputs
        if rows.ndim != 2:
            count = prod(rows.shape[:-1])  # not -1: sizes may be 0
            rows, g = rows.reshape(count, rows.shape[-1]), g.reshape(count, g.shape[-1])
        by_weight = weight_gradient(weight, g, rows, direct) if weight._tracked else None
        by_x = None
        if x._tracked:
            by_x = kernels.matmul(g, w)
            if inputs.ndim != 2:
                by_x = by_x.reshape(inputs.shape)
        if bias is None:
            return by_x, by_weight
        return by_x, by_weight, bias_gradient(bias, g, direct) if bias._tracked else None

    return record(
        op, out, (x, weight) if bias is None else (x, weight, bias), backward, (x, weight), direct=True
    )


def _require_tensors(weight: Any, bias: Any) -> None:
    if not isinstance(weight, TensorBase):
        raise TypeError(f"linear: weight is a {type(weight).__name__}; expected a Tensor") from None
    if bias is not None and not isinstance(bias, TensorBase):
        raise TypeError(f"linear: bias is a {type(bias).__name__}; expected a Tensor or None") from None


def _explain(x: Array, weight: Array, bias: Array | None, activation: str | None) -> None:
    # Called when the kernel has refused: say it in the words of this operation.
    if activation is not None and (not isinstance(activation, str) or activation not in _FUSED):
        raise ValueError(
            f"linear: activation is {activation!r}; expected None, 'relu', 'sigmoid' or 'tanh'"
        ) from None
    mixed = mixed_devices(
        "linear", [("x", x), ("weight", weight)] + ([("bias", bias)] if bias is not None else [])
    )
    if mixed is not None:
        raise mixed from None
    if weight.ndim != 2:
        raise ValueError(f"linear: weight is {shape_text(weight.shape)}; expected (out, in)") from None
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x is {shape_text(x.shape)} but weight is {shape_text(weight.shape)}: expected x of shape "
            f"(..., {weight.shape[1]})"
        ) from None
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias is {shape_text(bias.shape)}; expected ({weight.shape[0]},)") from None
    dtypes = [array.dtype for array in (x, weight, bias) if array is not None]
    if len(set(dtypes)) > 1 or dtypes[0] not in (np.float32, np.float64):
        hint = f" (convert x once, with x.astype('{weight.dtype}'))" if x.dtype != weight.dtype else ""
        raise TypeError(
            f"linear: x is of dtype {x.dtype} but weight of {weight.dtype}"
            f"{'' if bias is None else f' and bias of {bias.dtype}'}; expected one dtype, float32 or float64{hint}"
        ) from None


def relu(x: Any) -> Tensor:
    """max(x, 0)."""
    return elementwise.activate(tensor_of(x, "relu"), "relu")


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x above 0, negative_slope x below."""
    return elementwise.activate(tensor_of(x, "leaky_relu"), "leaky_relu", float(negative_slope))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha (exp(x) - 1) below (Clevert et al., 2016)."""
    return elementwise.activate(tensor_of(x, "elu"), "elu", float(alpha))


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return elementwise.activate(tensor_of(x, "sigmoid"), "sigmoid")


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent."""
    return elementwise.activate(tensor_of(x, "tanh"), "tanh")


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x, but min_val below and max_val above: a tangent of straight lines (Collobert, 2004)."""
    values = tensor_of(x, "hardtanh")
    return (values if values.dtype.kind == "f" else values.astype(np.float32)).clamp(min_val, max_val)


def gelu(x: Any) -> Tensor:
    """x times the normal distribution function of x (Hendrycks & Gimpel, 2016; the form with erf)."""
    return elementwise.activate(tensor_of(x, "gelu"), "gelu")


def silu(x: Any) -> Tensor:
    """x times sigmoid(x)."""
    return elementwise.activate(tensor_of(x, "silu"), "silu")


def softplus(x: Any) -> Tensor:
    """log(1 + exp(x))."""
    return elementwise.activate(tensor_of(x, "softplus"), "softplus")


def softmax(x: Any, dim: int = -1) -> Tensor:
    """exp(x) / sum exp(x) along `dim`."""
    return normalisation.softmax(tensor_of(x, "softmax"), dim)


def log_softmax(x: Any, dim: int = -1) -> Tensor:
    """The logarithm of softmax along `dim`, without forming it."""
    return normalisation.log_softmax(tensor_of(x, "log_softmax"), dim)


def check_probability(p: Any, operation: str) -> None:
    """Raise unless `p` is a number from 0 to 1."""
    if isinstance(p, bool) or not isinstance(p, (int, float, np.floating)):
        raise TypeError(f"{operation}: p is a {type(p).__name__}; expected a number from 0 to 1")
    if not 0 <= p <= 1:
        raise ValueError(f"{operation}: p is {p}; expected a number from 0 to 1")


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """In training, set elements to 0 with probability p and multiply the others by 1 / (1 - p); else return x.

    Srivastava et al., JMLR 2014. No mask is kept: backward draws the same random numbers again. They come from the
    stream of `dlkit.manual_seed`.
    """
    check_probability(p, "dropout")
    tensor = tensor_of(x, "dropout")
    if not training or p == 0:
        return tensor
    array = tensor._array
    seed, offset = kernels.random.next_offset(array.size)
    out = kernels.dropout(array, p, seed=seed, offset=offset)
    if not tensor._tracked or not mode.enabled:
        return make(out)
    return record("dropout", out, (tensor,), lambda g: (kernels.dropout(g, p, seed=seed, offset=offset),))


def one_hot(labels: Any, num_classes: int = -1) -> Tensor:
    """Return int64 rows with a 1 at each label: (...) to (..., num_classes); of -1, as many as the labels need.

    Raises
    ------
    TypeError, ValueError
        If labels are not integers, or out of range.
    """
    numbers = as_array(labels, "one_hot", "labels")
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels are of dtype {numbers.dtype}; expected integers")
    if num_classes in (-1, None):
        classes = int(numbers.max()) + 1 if numbers.size else 0
    else:
        classes = num_classes
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
        raise ValueError(
            f"one_hot: labels are {numbers.min()} to {numbers.max()}; expected 0 to {classes - 1}"
        )
    return make((numbers[..., None] == namespace(numbers).arange(classes)).astype(np.int64))


__all__ = [
    "RecurrentState",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv1d_max",
    "conv1d_max_pool",
    "conv2d",
    "conv2d_max_pool",
    "crf_loss",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "hardtanh",
    "hinge_loss",
    "huber_loss",
    "k_max_pool1d",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_over_time",
    "max_pool1d",
    "max_pool2d",
    "maxout",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "one_hot",
    "recurrent",
    "relu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "stochastic_pool2d",
    "tanh",
]
