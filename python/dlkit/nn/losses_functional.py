"""Losses as functions; `functional` has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array, make, record, shape_text
from dlkit.autograd.elementwise import activate, where
from dlkit.autograd.engine import unit
from dlkit.autograd.mode import mode
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import mixed_devices, namespace

if TYPE_CHECKING:
    from dlkit.autograd.base import Array

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: str, operation: str) -> None:
    """Raise ValueError unless `reduction` is one."""
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{operation}: reduction is {reduction!r}; expected 'mean', 'sum' or 'none'")


def cross_entropy(
    logits: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax cross-entropy: -sum_k q_k log softmax(logits)_k, where q is the target's distribution.

    Parameters
    ----------
    logits : Tensor of shape (N, C), (C,) or (N, C, d1, ...)
    target : integer Tensor or array of shape (N,), () or (N, d1, ...); or floats of the shape of logits
        Class numbers, or a distribution over the classes.
    weight : array of shape (C,), optional
        A factor for each class.
    ignore_index : int
        Labels of this value count for nothing.
    reduction : {"mean", "sum", "none"}
        The mean is over labels that are not ignored, weighted by their classes' weights.
    label_smoothing : float
        The target is (1 - s) of the label plus s / C of every class (Szegedy et al., 2016).

    Returns
    -------
    Tensor
        A single value; with ``"none"`` of the target's shape.

    Raises
    ------
    TypeError
        If logits are not of float32 or float64, or labels no integers.
    ValueError
        If shapes do not fit, or a label is out of range. (On a device such a label gives NaN: to raise would mean to
        wait for the device in every step.)

    Notes
    -----
    Loss and gradient come out of one pass over the logits, forward; backward has nothing left to compute.
    """
    if reduction not in _REDUCTIONS:
        check_reduction(reduction, "cross_entropy")
    if not isinstance(logits, TensorBase):
        logits = make(as_array(logits, "cross_entropy", "logits"))
    x = logits._array
    labels = target._array if isinstance(target, TensorBase) else target
    if labels.__class__ is not np.ndarray:
        labels = as_array(labels, "cross_entropy", "target", like=x)
    if x.dtype not in _FLOATS:
        raise TypeError(f"cross_entropy: logits are of dtype {x.dtype}; expected float32 or float64")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}; expected 0 to 1")
    if labels.dtype.kind == "f" and labels.shape == x.shape and x.ndim:
        return _soft_cross_entropy(logits, target, weight, reduction, label_smoothing)
    if x.ndim != 2:
        return _reshaped(logits, labels, weight, ignore_index, reduction, label_smoothing)
    if labels.shape != x.shape[:1]:
        raise ValueError(
            f"cross_entropy: logits are {shape_text(x.shape)} but target is {shape_text(labels.shape)}; expected "
            f"({x.shape[0]},)"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"cross_entropy: target is of dtype {labels.dtype}; "
            f"expected integers, or floats of shape {shape_text(x.shape)}"
        )
    if weight is not None:
        return _weighted(logits, labels, weight, ignore_index, reduction, label_smoothing)
    recorded = logits._tracked and mode.enabled
    out, gradient = kernels.cross_entropy(
        x,
        labels,
        need_grad=recorded,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        reduction=reduction,
    )
    if not recorded:
        return make(out)
    assert gradient is not None
    ready = gradient

    def backward(g: Array) -> tuple[Array]:
        # On a device only by identity: to look at the number means to wait for it.
        if g is unit(ready) or (g.__class__ is np.ndarray and g.ndim == 0 and g == 1):
            return (ready,)
        return (ready * (g[:, None] if g.ndim else g),)

    return record("cross_entropy", out, (logits,), backward)


def _reshaped(
    logits: Tensor, labels: Array, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    shape = logits.shape
    if not shape:
        raise ValueError("cross_entropy: logits have no dimensions; expected (N, C)")
    expected = () if len(shape) == 1 else (shape[0], *shape[2:])
    if labels.shape != expected:
        raise ValueError(
            f"cross_entropy: logits are {shape_text(shape)} but target is {shape_text(labels.shape)}; expected "
            f"{shape_text(expected)}"
        )
    if len(shape) == 1:
        flat = logits.reshape(1, shape[0])
    else:
        flat = logits.permute(0, *range(2, len(shape)), 1).reshape(-1, shape[1])
    out = cross_entropy(flat, labels.reshape(-1), weight, ignore_index, reduction, label_smoothing)
    return out.reshape(expected) if reduction == "none" else out


def _class_weights(weight: Any, classes: int, dtype: Any, operation: str, like: Array) -> Array:
    array = as_array(weight, operation, "weight", like=like)
    if array.shape != (classes,):
        raise ValueError(f"{operation}: weight is {shape_text(array.shape)}; expected ({classes},)")
    mixed = mixed_devices(operation, [("input", like), ("weight", array)])
    if mixed is not None:
        raise mixed
    return array.astype(dtype, copy=False)


def _weighted(
    logits: Tensor, labels: Array, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    x = logits._array
    classes = x.shape[1]
    factors = _class_weights(weight, classes, x.dtype, "cross_entropy", x)
    _check_classes(logits, labels, "cross_entropy", ignore_index)
    kept = labels != ignore_index
    safe, counts = _safe(labels, kept, x)
    of_label = factors[safe] * counts
    logs = logits.log_softmax(1)
    losses = _picked(logs, safe, kept) * make((label_smoothing - 1) * of_label)
    if label_smoothing:
        smooth = factors * counts[:, None] * (-label_smoothing / classes)
        losses = losses + (where(make(kept[:, None]), logs, 0.0) * make(smooth.astype(x.dtype))).sum(1)
    return _weighted_mean(losses, of_label, reduction)


def _safe(labels: Array, kept: Array, like: Array) -> tuple[Array, Array]:
    # Class numbers that are in range, and for each row how often it counts: 1, 0 where it is ignored, and on devices
    # NaN where the label is out of range.
    safe = np.where(kept, labels, labels.dtype.type(0)).astype(np.int64)
    counts = kept.astype(like.dtype)
    if labels.__class__ is not np.ndarray:
        valid = (safe >= 0) & (safe < like.shape[1])
        safe = np.where(valid, safe, np.int64(0))
        counts = np.where(valid, counts, like.dtype.type(np.nan))
    return safe, counts


def _at_labels(x: Tensor, labels: Array) -> Tensor:
    # Of each row the element of its label. On a device by a mask: an index would have to be looked at first.
    array = x._array
    if array.__class__ is np.ndarray:
        return x[np.arange(len(labels)), labels]
    chosen = labels[:, None] == namespace(array).arange(array.shape[1])
    return where(make(chosen), x, 0.0).sum(1)


def _picked(x: Tensor, labels: Array, kept: Array) -> Tensor:
    # Rows that do not count may hold anything: 0 instead, for infinity times 0 is NaN.
    picked = _at_labels(x, labels)
    return picked if kept.__class__ is np.ndarray and kept.all() else where(make(kept), picked, 0.0)


def _weighted_mean(losses: Tensor, factors: Array, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    if factors.__class__ is not np.ndarray:
        return total / make(factors.sum())  # 0 / 0 is NaN, too
    count = float(factors.sum())
    return total * (1 / count if count else float("nan"))


def _soft_cross_entropy(
    logits: Tensor, target: Any, weight: Any, reduction: str, label_smoothing: float
) -> Tensor:
    shape = logits.shape
    given: Any = (
        target
        if isinstance(target, TensorBase)
        else make(as_array(target, "cross_entropy", "target", like=logits._array))
    )
    goal: Tensor = given.to(logits.dtype)
    d = 0 if len(shape) == 1 else 1
    if label_smoothing:
        goal = goal * (1 - label_smoothing) + label_smoothing / shape[d]
    if weight is not None:
        factors = _class_weights(weight, shape[d], logits.dtype, "cross_entropy", logits._array)
        goal = goal * make(factors.reshape(-1, *(1,) * (len(shape) - 1 - d)))
    losses = -(logits.log_softmax(d) * goal).sum(d)
    return _reduced(losses, reduction)


def nll_loss(
    log_probabilities: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Negative log-likelihood: minus the log-probability of each label.

    Parameters
    ----------
    log_probabilities : Tensor of shape (N, C)
        As `log_softmax` gives them.
    target : integers of shape (N,)
    weight, ignore_index, reduction
        As in `cross_entropy`.
    """
    check_reduction(reduction, "nll_loss")
    x = _tensor(log_probabilities, "nll_loss", "log_probabilities")
    labels = as_array(target, "nll_loss", "target", like=x._array)
    _check_classes(x, labels, "nll_loss", ignore_index)
    kept = labels != ignore_index
    safe, factors = _safe(labels, kept, x._array)
    if weight is not None:
        factors = factors * _class_weights(weight, x.shape[1], x.dtype, "nll_loss", x._array)[safe]
    return _weighted_mean(-_picked(x, safe, kept) * make(factors), factors, reduction)


def _check_classes(x: Tensor, labels: Array, operation: str, ignore_index: int | None = None) -> None:
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(
            f"{operation}: the input is {shape_text(x.shape)} and target {shape_text(labels.shape)}; "
            "expected (N, C) and (N,)"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{operation}: target is of dtype {labels.dtype}; expected integers")
    mixed = mixed_devices(operation, [("the input", x._array), ("target", labels)])
    if mixed is not None:
        raise mixed
    if labels.__class__ is not np.ndarray:
        return  # to look at them means to wait for the device
    wrong = (labels < 0) | (labels >= x.shape[1])
    if ignore_index is not None:
        wrong &= labels != ignore_index
    if wrong.any():
        first = int(wrong.argmax())
        raise ValueError(f"{operation}: target[{first}] is {labels[first]}; expected 0 to {x.shape[1] - 1}")


def _tensor(value: Any, operation: str, argument: str) -> Tensor:
    if not isinstance(value, TensorBase):
        value = make(as_array(value, operation, argument))
    if value._array.dtype not in _FLOATS:
        raise TypeError(
            f"{operation}: {argument} is of dtype {value._array.dtype}; expected float32 or float64"
        )
    return value  # type: ignore[no-any-return]


def _pair(x: Any, target: Any, operation: str, reduction: str) -> tuple[Tensor, Tensor]:
    check_reduction(reduction, operation)
    tensor = _tensor(x, operation, "input")
    if isinstance(target, TensorBase):
        goal = target
    else:
        goal = make(as_array(target, operation, "target", like=tensor._array))
    if tensor.shape != goal._array.shape:
        raise ValueError(
            f"{operation}: the input is {shape_text(tensor.shape)} but target is "
            f"{shape_text(goal._array.shape)}; expected one shape"
        )
    return tensor, goal.to(tensor.dtype)  # type: ignore[attr-defined]


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    # The mean of nothing is NaN, as in PyTorch, without NumPy's warning.
    return losses.mean() if losses._array.size else losses.sum() * float("nan")


def _check_targets(target: Array, accepted: Array, operation: str, expected: str) -> None:
    if target.__class__ is not np.ndarray:
        return  # to look at them means to wait for the device
    if not accepted.all():
        place = tuple(int(i) for i in np.argwhere(~accepted)[0])
        where_text = f"[{', '.join(map(str, place))}]" if place else ""
        raise ValueError(f"{operation}: target{where_text} is {target[place]}; expected {expected}")


def _factor(value: Any, like: Tensor, operation: str, argument: str) -> Tensor:
    factor: Any = (
        value
        if isinstance(value, TensorBase)
        else make(as_array(value, operation, argument, like=like._array))
    )
    try:
        fits = np.broadcast_shapes(factor.shape, like.shape) == like.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{operation}: {argument} is {shape_text(factor.shape)}; it does not broadcast to {shape_text(like.shape)}"
        )
    return factor.to(like.dtype)  # type: ignore[no-any-return]


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(x - target)^2, of tensors of one shape."""
    a, b = _pair(x, target, "mse_loss", reduction)
    difference = a - b
    return _reduced(difference * difference, reduction)


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|x - target|, of tensors of one shape."""
    a, b = _pair(x, target, "l1_loss", reduction)
    return _reduced((a - b).abs(), reduction)


def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |x - target| is below beta, else d - beta / 2 (Girshick, 2015)."""
    a, b = _pair(x, target, "smooth_l1_loss", reduction)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}; expected 0 or more")
    distance = (a - b).abs()
    if beta:
        distance = where(distance < beta, distance * distance * (0.5 / beta), distance - 0.5 * beta)
    return _reduced(distance, reduction)


def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where d = |x - target| is below delta, else delta (d - delta / 2) (Huber, 1964)."""
    a, b = _pair(x, target, "huber_loss", reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}; expected more than 0")
    distance = (a - b).abs()
    losses = where(distance < delta, distance * distance * 0.5, (distance - 0.5 * delta) * delta)
    return _reduced(losses, reduction)


def binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) of probabilities; logarithms are taken as no less than -100.

    Raises
    ------
    ValueError
        If the input or a target is not from 0 to 1, or a weight does not broadcast to the input's shape.
    """
    operation = "binary_cross_entropy"
    a, t = _pair(x, target, operation, reduction)
    looked_at = a._array.size and a._array.__class__ is np.ndarray
    if looked_at and not (a._array.min() >= 0 and a._array.max() <= 1):
        raise ValueError(
            f"{operation}: the input is {a._array.min()} to {a._array.max()}; expected probabilities from 0 to 1"
        )
    _check_targets(t._array, (t._array >= 0) & (t._array <= 1), operation, "0 to 1")
    factor = None if weight is None else _factor(weight, a, operation, "weight")
    losses = -(t * a.log().clamp(min=-100.0) + (1 - t) * (1 - a).log().clamp(min=-100.0))
    return _reduced(losses if factor is None else losses * factor, reduction)


def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Binary cross-entropy of sigmoid(x), computed as softplus(x) - t x, which does not overflow.

    Parameters
    ----------
    x : Tensor
        Logits.
    target : Tensor or array of the same shape, from 0 to 1
    weight : optional
        A factor of the losses, broadcast.
    reduction : {"mean", "sum", "none"}
    pos_weight : optional
        A factor of the positive part, broadcast.

    Raises
    ------
    ValueError
        If a target is not from 0 to 1, or a weight does not broadcast to the input's shape.
    """
    operation = "binary_cross_entropy_with_logits"
    a, t = _pair(x, target, operation, reduction)
    _check_targets(t._array, (t._array >= 0) & (t._array <= 1), operation, "0 to 1")
    factor = None if weight is None else _factor(weight, a, operation, "weight")
    if pos_weight is None:
        losses = activate(a, "softplus") - a * t
    else:
        positive = (_factor(pos_weight, a, operation, "pos_weight") - 1) * t + 1
        losses = (1 - t) * a + positive * activate(-a, "softplus")
    return _reduced(losses if factor is None else losses * factor, reduction)


def multi_margin_loss(
    x: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """The multi-class hinge: sum over k other than the label t of max(0, margin - x_t + x_k)^p, divided by C.

    Parameters
    ----------
    x : Tensor of shape (N, C)
    target : integers of shape (N,)
    p : {1, 2}
    margin : float
    weight : array of shape (C,), optional
        A factor for each label.
    reduction : {"mean", "sum", "none"}
        The mean is over all rows, whatever their labels' weights.
    """
    check_reduction(reduction, "multi_margin_loss")
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p is {p}; expected 1 or 2")
    a = _tensor(x, "multi_margin_loss", "input")
    labels = as_array(target, "multi_margin_loss", "target", like=a._array)
    _check_classes(a, labels, "multi_margin_loss")
    classes, xp = a.shape[1], namespace(a._array)
    labels, counts = _safe(labels, labels == labels, a._array)
    factors = counts * a.dtype.type(1 / max(classes, 1))
    if weight is not None:
        factors = factors * _class_weights(weight, classes, a.dtype, "multi_margin_loss", a._array)[labels]
    others = (labels[:, None] != xp.arange(classes)).astype(a.dtype)
    excess = (a - _at_labels(a, labels).unsqueeze(1) + margin).relu() * make(others)
    if p == 2:
        excess = excess * excess
    return _reduced(excess.sum(1) * make(factors), reduction)


def hinge_loss(x: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - t x) with targets t of -1 and 1, of the shape of the scores.

    Raises
    ------
    ValueError
        If a target is neither -1 nor 1.
    """
    a, t = _pair(x, target, "hinge_loss", reduction)
    _check_targets(t._array, np.abs(t._array) == 1, "hinge_loss", "-1 or 1")
    return _reduced((margin - t * a).relu(), reduction)
