"""What happens between matrix products: the chapter csrc/layers, for arrays of the CPU and of devices.

Every function takes float32 or float64 arrays of any strides (contiguous ones without a copy), returns a
new array unless ``out`` is given, and releases the GIL while it computes. ``variant`` picks a step of the
ladder by name, see :func:`dlkit.kernels.variants`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import OnDemand, as_array, backend_of, is_device_array, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ACTIVATIONS",
    "activation",
    "activation_backward",
    "adadelta_step",
    "adam_step",
    "clamp_inplace",
    "clip_factor",
    "column_sum",
    "cross_entropy",
    "dropout",
    "elu",
    "exp",
    "gelu",
    "leaky_relu",
    "log_softmax",
    "log_softmax_backward",
    "relu",
    "scale_inplace",
    "sgd_step",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_backward",
    "softplus",
    "sum_squares",
    "tanh",
]


devices: Any = OnDemand("dlkit.kernels.device_layers")

ACTIVATIONS: tuple[str, ...] = _cpu.activation_kinds
"""Names that `activation` and `activation_backward` take."""

_ndarray = np.ndarray
_forward = _cpu.activation
_backward = _cpu.activation_backward
_cross_entropy = _cpu.cross_entropy
_column_sum = _cpu.column_sum
_adadelta_step = _cpu.adadelta_step
_adam_step = _cpu.adam_step
_sgd_step = _cpu.sgd_step

_KINDS = {name: index for index, name in enumerate(ACTIVATIONS)}
_DEFAULT_ALPHA = {"leaky_relu": 0.01, "elu": 1.0}
_NEEDS_INPUT = frozenset(("silu", "gelu"))

# The order of `enum class Rung` in csrc/layers/layers.h; "atomic" is the middle rung of an embedding's gradient.
_RUNGS = {"naive": 0, "estimate": 1, "atomic": 1, "fused": 2}
_AUTOMATIC = 3
_LADDERS: dict[str, list[tuple[str, str, str]]] = {}
for _operation, *_row in _cpu.layer_variants():
    _LADDERS.setdefault(_operation, []).append((_row[0], _row[1], _row[2]))


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return (name, idea, needs) of each variant of each operation here that has several."""
    return _LADDERS


def rung_of(variant: str | None, operation: str) -> int:
    """Return the number of a variant of an operation of the CPU, as kernels take it.

    Raises
    ------
    ValueError
        If the operation has none of that name.
    """
    if variant is None:
        return _AUTOMATIC
    names = tuple(row[0] for row in _LADDERS[operation])
    if variant not in names:
        close = nearest(str(variant), names)
        raise ValueError(f"{operation}: variant is {variant!r}; expected one of {', '.join(names)}{close}")
    return _RUNGS[variant]


def device_rung_of(variant: str | None, operation: str, array: Any) -> int:
    """As `rung_of`, of an operation of the device that an array is on."""
    if variant is None:
        return _AUTOMATIC
    names = tuple(row[0] for row in devices.ladders(backend_of(array).name).get(operation, ()))
    if variant not in names:
        close = nearest(str(variant), names)
        raise ValueError(f"{operation}: variant is {variant!r}; expected one of {', '.join(names)}{close}")
    return _RUNGS[variant]


def _kind(kind: str, operation: str) -> int:
    try:
        return _KINDS[kind]
    except (KeyError, TypeError):
        close = nearest(str(kind), ACTIVATIONS)
        expected = ", ".join(ACTIVATIONS)
        raise ValueError(f"{operation}: kind is {kind!r}; expected one of {expected}{close}") from None


def _alpha(kind: str, alpha: float | None) -> float:
    return _DEFAULT_ALPHA.get(kind, 0.0) if alpha is None else alpha


def activation(
    x: Any,
    kind: str,
    *,
    out: NDArray[Any] | None = None,
    alpha: float | None = None,
    variant: str | None = None,
) -> NDArray[Any]:
    """Apply an activation function to every element.

    Parameters
    ----------
    x : array, float32 or float64, any shape and strides
    kind : str
        One of `ACTIVATIONS`: ``relu`` max(x, 0); ``leaky_relu`` alpha x below 0; ``elu`` alpha (exp(x) - 1)
        below 0 (Clevert et al., 2016); ``sigmoid``; ``tanh``; ``softplus`` log(1 + exp(x)); ``silu``
        x sigmoid(x); ``gelu`` x times the normal distribution function (Hendrycks & Gimpel, 2016; the form
        with erf); ``exp``.
    out : array of the shape and dtype of `x`, optional
        Where the result goes; may be `x` itself.
    alpha : float, optional
        0.01 for ``leaky_relu`` and 1 for ``elu`` by default; others have none.
    variant : {"naive", "estimate", "fused"}, optional

    Returns
    -------
    array of the shape and dtype of `x`
        Within 3 units in the last place, ``gelu`` within 7. A NaN stays a NaN, infinities give the limits.

    Raises
    ------
    TypeError
        If `x` is no array of float32 or float64.
    ValueError
        If `kind` is unknown, or `out` has another shape, is read-only or overlaps `x` in part.
    """
    index = _kind(kind, "activation")
    if type(x) is not _ndarray:
        if is_device_array(x):
            rung = device_rung_of(variant, "activation", x)
            return devices.activation(x, index, out, _alpha(kind, alpha), rung)  # type: ignore[no-any-return]
        x = as_array(x, "activation", "x")
    result: NDArray[Any] = _forward(
        x, index, out, _alpha(kind, alpha), _AUTOMATIC if variant is None else rung_of(variant, "activation")
    )
    return result


def activation_backward(
    grad: Any,
    kind: str,
    *,
    x: Any | None = None,
    y: Any | None = None,
    out: NDArray[Any] | None = None,
    alpha: float | None = None,
    variant: str | None = None,
) -> NDArray[Any]:
    """Multiply a gradient by the derivative of an activation.

    Parameters
    ----------
    grad : array
        The gradient by the activation's output.
    kind : str
        One of `ACTIVATIONS`.
    x : array of the shape of `grad`, optional
        The activation's input: needed for ``silu`` and ``gelu``.
    y : array of the shape of `grad`, optional
        The activation's output: enough for the others, and used where both are given. ``leaky_relu`` and
        ``elu`` with a negative `alpha` need `x`.
    out : array, optional
        Where the result goes; may be `grad`, `x` or `y` itself.
    alpha, variant
        As in `activation`.

    Returns
    -------
    array of the shape and dtype of `grad`

    Raises
    ------
    TypeError
        If an array is not of float32 or float64, or dtypes differ.
    ValueError
        If shapes differ, or what the kind needs is not given.
    """
    operation = "activation_backward"
    on_device = type(grad) is not _ndarray and is_device_array(grad)
    if type(grad) is not _ndarray and not on_device:
        grad = as_array(grad, operation, "grad")
    index = _kind(kind, operation)
    slope = _alpha(kind, alpha)
    if on_device:
        rung = device_rung_of(variant, "activation", grad)
    else:
        rung = _AUTOMATIC if variant is None else rung_of(variant, "activation")
    if kind in _NEEDS_INPUT:
        if x is None:
            raise ValueError(f"{operation}: x is None; {kind} needs the activation's input")
        saved, name = x, "x"
    elif y is not None and slope >= 0:
        saved, name = y, "y"
    elif x is not None:
        if kind == "relu" or kind == "leaky_relu":
            saved, name = x, "x"  # of the sign of the output, or better
        else:
            saved, name = activation(x, kind, alpha=slope), "x"
    elif y is not None:
        raise ValueError(f"{operation}: x is None; {kind} with alpha {slope} needs the activation's input")
    else:
        raise ValueError(
            f"{operation}: x and y are None; {kind} needs the activation's output y, or its input x"
        )
    if on_device:
        return devices.activation_backward(  # type: ignore[no-any-return]
            grad, index, saved, name, out, slope, rung
        )
    if type(saved) is not _ndarray:
        saved = as_array(saved, operation, name)
    result: NDArray[Any] = _backward(grad, index, saved, name, out, slope, rung)
    return result


def relu(x: Any, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """max(x, 0). See `activation`."""
    if type(x) is not _ndarray:
        if is_device_array(x):
            return activation(x, "relu", out=out)
        x = as_array(x, "relu", "x")
    result: NDArray[Any] = _forward(x, _KINDS["relu"], out, 0.0, _AUTOMATIC)
    return result


def leaky_relu(x: Any, *, alpha: float = 0.01, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """x above 0, alpha x below. See `activation`."""
    return activation(x, "leaky_relu", out=out, alpha=alpha)


def elu(x: Any, *, alpha: float = 1.0, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """x above 0, alpha (exp(x) - 1) below. See `activation`."""
    return activation(x, "elu", out=out, alpha=alpha)


def sigmoid(x: Any, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """1 / (1 + exp(-x)). See `activation`."""
    if type(x) is not _ndarray:
        if is_device_array(x):
            return activation(x, "sigmoid", out=out)
        x = as_array(x, "sigmoid", "x")
    result: NDArray[Any] = _forward(x, _KINDS["sigmoid"], out, 0.0, _AUTOMATIC)
    return result


def tanh(x: Any, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Hyperbolic tangent. See `activation`."""
    if type(x) is not _ndarray:
        if is_device_array(x):
            return activation(x, "tanh", out=out)
        x = as_array(x, "tanh", "x")
    result: NDArray[Any] = _forward(x, _KINDS["tanh"], out, 0.0, _AUTOMATIC)
    return result


def softplus(x: Any, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """log(1 + exp(x)). See `activation`."""
    return activation(x, "softplus", out=out)


def silu(x: Any, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """x times sigmoid(x). See `activation`."""
    return activation(x, "silu", out=out)


def gelu(x: Any, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """x times the normal distribution function of x. See `activation`."""
    return activation(x, "gelu", out=out)


def exp(x: Any, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """e^x. See `activation`."""
    return activation(x, "exp", out=out)


def softmax(x: Any, *, out: NDArray[Any] | None = None, variant: str | None = None) -> NDArray[Any]:
    """exp(x) / sum exp(x) along the last axis, computed from x minus its largest element.

    Parameters
    ----------
    x : array of shape (..., C), float32 or float64
    out : array of the shape and dtype of `x`, optional
        May be `x` itself.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    array of the shape and dtype of `x`
    """
    if type(x) is not _ndarray:
        if is_device_array(x):
            rung = device_rung_of(variant, "softmax", x)
            return devices.softmax(x, out, False, rung)  # type: ignore[no-any-return]
        x = as_array(x, "softmax", "x")
    result: NDArray[Any] = _cpu.softmax(x, out, False, rung_of(variant, "softmax"))
    return result


def log_softmax(x: Any, *, out: NDArray[Any] | None = None, variant: str | None = None) -> NDArray[Any]:
    """The logarithm of `softmax`, without forming it."""
    if type(x) is not _ndarray:
        if is_device_array(x):
            rung = device_rung_of(variant, "softmax", x)
            return devices.softmax(x, out, True, rung)  # type: ignore[no-any-return]
        x = as_array(x, "log_softmax", "x")
    result: NDArray[Any] = _cpu.softmax(x, out, True, rung_of(variant, "softmax"))
    return result


def softmax_backward(
    grad: Any, y: Any, *, out: NDArray[Any] | None = None, variant: str | None = None
) -> NDArray[Any]:
    """The gradient by x from `grad`, the gradient by ``y = softmax(x)``: y (grad - sum grad y)."""
    if type(grad) is not _ndarray:
        if is_device_array(grad):
            rung = device_rung_of(variant, "softmax", grad)
            return devices.softmax_backward(grad, y, out, False, rung)  # type: ignore[no-any-return]
        grad = as_array(grad, "softmax_backward", "grad")
    if type(y) is not _ndarray:
        y = as_array(y, "softmax_backward", "y")
    result: NDArray[Any] = _cpu.softmax_backward(grad, y, out, False, rung_of(variant, "softmax"))
    return result


def log_softmax_backward(
    grad: Any, y: Any, *, out: NDArray[Any] | None = None, variant: str | None = None
) -> NDArray[Any]:
    """The gradient by x from `grad`, the gradient by ``y = log_softmax(x)``: grad - exp(y) sum grad."""
    if type(grad) is not _ndarray:
        if is_device_array(grad):
            rung = device_rung_of(variant, "softmax", grad)
            return devices.softmax_backward(grad, y, out, True, rung)  # type: ignore[no-any-return]
        grad = as_array(grad, "log_softmax_backward", "grad")
    if type(y) is not _ndarray:
        y = as_array(y, "log_softmax_backward", "y")
    result: NDArray[Any] = _cpu.softmax_backward(grad, y, out, True, rung_of(variant, "softmax"))
    return result


_REDUCTIONS = {"none": 0, "sum": 1, "mean": 2}


def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    need_grad: bool = True,
    grad_scale: float = 1.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "none",
    out: NDArray[Any] | None = None,
    variant: str | None = None,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Softmax cross-entropy of each row, and its gradient by the logits, in one pass.

    Parameters
    ----------
    logits : array of shape (N, C), float32 or float64
    labels : integer array of shape (N,)
        Each row's class, from 0 to C - 1, or `ignore_index`. Any integer dtype and strides.
    need_grad : bool
        Whether to compute the gradient.
    grad_scale : float
        A factor of the gradient.
    label_smoothing : float
        The target is (1 - s) of the label plus s / C of every class (Szegedy et al., 2016).
    ignore_index : int
        Rows of this label have loss 0 and gradient 0, and are not counted in the mean.
    reduction : {"none", "sum", "mean"}
        Whether losses come as one for each row, added up, or as their mean; the gradient is that of the result.
    out : array of shape (N, C), optional
        Where the gradient goes; may be `logits` itself.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    losses : array of shape (N,), or () if they are reduced
        ``-sum_k target_k log softmax(logits)_k``. The mean of no rows is not a number.
    grad : array of shape (N, C) or None
        ``grad_scale (softmax(logits) - target)``, over the number of rows in a mean.

    Raises
    ------
    TypeError
        If logits are not of float32 or float64, or labels not of integers.
    ValueError
        If shapes do not fit, a label is out of range or NaN (the message names its index and value), or the
        reduction is unknown.
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(
            f"cross_entropy: reduction is {reduction!r}; expected one of {', '.join(_REDUCTIONS)}"
            + nearest(str(reduction), tuple(_REDUCTIONS))
        )
    if type(logits) is not _ndarray:
        if is_device_array(logits):
            return devices.cross_entropy(  # type: ignore[no-any-return]
                *(logits, labels, bool(need_grad), grad_scale, label_smoothing, ignore_index, out),
                *(device_rung_of(variant, "cross_entropy", logits), _REDUCTIONS[reduction]),
            )
        logits = as_array(logits, "cross_entropy", "logits")
    if type(labels) is not _ndarray:
        if is_device_array(labels):
            as_array(labels, "cross_entropy", "labels")
        labels = np.asarray(labels)
    result: tuple[NDArray[Any], NDArray[Any] | None] = _cross_entropy(
        logits,
        labels,
        bool(need_grad),
        grad_scale,
        label_smoothing,
        ignore_index,
        out,
        _AUTOMATIC if variant is None else rung_of(variant, "cross_entropy"),
        _REDUCTIONS[reduction],
    )
    return result


def dropout(
    x: Any,
    p: float,
    *,
    seed: int,
    offset: int,
    out: NDArray[Any] | None = None,
    variant: str | None = None,
) -> NDArray[Any]:
    """Set elements to zero with probability `p` and multiply the others by 1 / (1 - p).

    Element i (in row-major order) stays where number ``offset + i`` of the Philox stream `seed` is p or more.
    The same call on the gradient is the backward pass. Srivastava et al., 2014.

    Parameters
    ----------
    x : array, float32 or float64
    p : float
        From 0 (everything stays) to 1 (nothing does).
    seed, offset : int
        From ``dlkit.kernels.random.next_offset(x.size)``.
    out : array of the shape and dtype of `x`, optional
        May be `x` itself.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    array of the shape and dtype of `x`
    """
    if type(x) is not _ndarray:
        if is_device_array(x):
            rung = device_rung_of(variant, "dropout", x)
            return devices.dropout(x, p, seed, offset, out, rung)  # type: ignore[no-any-return]
        x = as_array(x, "dropout", "x")
    result: NDArray[Any] = _cpu.dropout(x, p, seed, offset, out, rung_of(variant, "dropout"))
    return result


def column_sum(
    x: Any, *, out: NDArray[Any] | None = None, accumulate: bool = False, variant: str | None = None
) -> NDArray[Any]:
    """Sum a matrix over its rows: the gradient of a bias.

    Parameters
    ----------
    x : array of shape (M, N), float32 or float64
    out : array of shape (N,), optional
    accumulate : bool
        Add to what `out` holds. Needs `out`.
    variant : {"naive", "fused"}, optional

    Returns
    -------
    array of shape (N,)
        The same bits on any number of threads.
    """
    if type(x) is not _ndarray:
        if is_device_array(x):
            rung = device_rung_of(variant, "column_sum", x)
            return devices.column_sum(x, out, accumulate, rung)  # type: ignore[no-any-return]
        x = as_array(x, "column_sum", "x")
    result: NDArray[Any] = _column_sum(
        x, out, bool(accumulate), _AUTOMATIC if variant is None else rung_of(variant, "column_sum")
    )
    return result


Arrays = Sequence["NDArray[Any]"]


def _on_devices(arrays: Any) -> bool:
    return len(arrays) > 0 and type(arrays[0]) is not _ndarray and is_device_array(arrays[0])


def sgd_step(
    params: Arrays,
    grads: Arrays,
    velocities: Arrays | None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
    variant: str | None = None,
    settings: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """One step of stochastic gradient descent on all parameters, in place, as PyTorch defines it.

    ``g = grad + weight_decay p``; with momentum ``v = momentum v + (1 - dampening) g`` and ``g = v``, or with
    Nesterov ``g = g + momentum v``; then ``p = p - lr g``.

    Parameters
    ----------
    params, grads : lists of arrays
        Pairs of one shape and dtype. No array that is written may share memory with another.
    velocities : list of arrays, or None without momentum
    lr : float
    momentum, dampening, weight_decay : float
    nesterov : bool
        Needs momentum and no dampening. Sutskever et al., 2013.
    first : bool
        Whether the velocities are to begin as g, whatever they hold.
    variant : {"naive", "fused"}, optional
    settings : callable, optional
        Gives, as a dictionary, the settings of each replay of a recorded step (`dlkit.cuda.Graph`); has no use else.

    Raises
    ------
    TypeError, ValueError
        Before anything is written, if lists differ in length, arrays in shape or dtype, or a setting makes no
        sense.
    """
    if len(params) and type(params[0]) is not _ndarray and is_device_array(params[0]):
        devices.sgd_step(
            *(params, grads, velocities, lr, momentum, dampening, weight_decay, bool(nesterov), bool(first)),
            *(device_rung_of(variant, "sgd_step", params[0]), settings),
        )
        return
    _sgd_step(
        params,
        grads,
        velocities,
        lr,
        momentum,
        dampening,
        weight_decay,
        bool(nesterov),
        bool(first),
        _AUTOMATIC if variant is None else rung_of(variant, "sgd_step"),
    )


def adam_step(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    *,
    step: int,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    variant: str | None = None,
    settings: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """One step of Adam or AdamW on all parameters, in place, in one pass over memory.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``,
    ``p = p - lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps)``. Kingma & Ba, 2015.

    Parameters
    ----------
    params, grads, exp_avgs, exp_avg_sqs : lists of arrays
        Of each parameter: value, gradient, m and v, of one shape and dtype. No array that is written may
        share memory with another.
    step : int
        1 at the first step.
    lr, beta1, beta2, eps : float
    weight_decay : float
        Added to the gradient as ``weight_decay p``; with `decoupled`, ``p`` shrinks by ``lr weight_decay p``
        instead (AdamW; Loshchilov & Hutter, 2019).
    decoupled : bool
    variant : {"naive", "estimate", "fused"}, optional
    settings : callable, optional
        Gives, as a dictionary, the settings of each replay of a recorded step (`dlkit.cuda.Graph`); has no use else.

    Raises
    ------
    TypeError, ValueError
        Before anything is written, if lists differ in length, arrays in shape or dtype, or a setting makes no
        sense.
    """
    if len(params) and type(params[0]) is not _ndarray and is_device_array(params[0]):
        devices.adam_step(
            *(
                params,
                grads,
                exp_avgs,
                exp_avg_sqs,
                step,
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
                bool(decoupled),
            ),
            *(device_rung_of(variant, "adam_step", params[0]), settings),
        )
        return
    _adam_step(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        step,
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        bool(decoupled),
        _AUTOMATIC if variant is None else rung_of(variant, "adam_step"),
    )


def adadelta_step(
    params: Arrays,
    grads: Arrays,
    square_avgs: Arrays,
    acc_deltas: Arrays,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    variant: str | None = None,
) -> None:
    """One step of Adadelta on all parameters, in place, in one pass over memory.

    ``s = rho s + (1 - rho) g^2``, ``d = sqrt(u + eps) / sqrt(s + eps) g``, ``u = rho u + (1 - rho) d^2``,
    ``p = p - lr d``. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012; PyTorch's lr.

    Parameters
    ----------
    params, grads, square_avgs, acc_deltas : lists of arrays
        Of each parameter: value, gradient, s and u, of one shape and dtype. No array that is written may share memory
        with another. On a device it is a dozen passes.
    lr, rho, eps : float
    weight_decay : float
        ``weight_decay p`` is added to the gradient.
    variant : {"naive", "fused"}, optional

    Raises
    ------
    TypeError, ValueError
        Before anything is written, if lists differ in length, arrays in shape or dtype, or a setting makes no sense.
    """
    if _on_devices(params):
        _adadelta_on_device(params, grads, square_avgs, acc_deltas, lr, rho, eps, weight_decay)
        return
    _adadelta_step(
        *(params, grads, square_avgs, acc_deltas, lr, rho, eps, weight_decay),
        _AUTOMATIC if variant is None else rung_of(variant, "adadelta_step"),
    )


def _adadelta_on_device(
    params: Any, grads: Any, squares: Any, deltas: Any, lr: float, rho: float, eps: float, decay: float
) -> None:
    for p, grad, square, delta in zip(params, grads, squares, deltas, strict=True):
        g = grad + decay * p if decay else grad
        square *= rho
        square += (1 - rho) * (g * g)
        step = ((delta + eps) / (square + eps)) ** 0.5 * g
        delta *= rho
        delta += (1 - rho) * (step * step)
        p -= lr * step


def sum_squares(arrays: Arrays) -> Any:
    """Sum of the squares of all elements of all arrays; the same bits on any number of threads.

    Returns
    -------
    float
        Of arrays of a device, an array of one float64 there, so that nothing waits for it.
    """
    return devices.sum_squares(arrays) if _on_devices(arrays) else _cpu.sum_squares(arrays)


def clip_factor(total: Any, max_norm: float) -> Any:
    """Return what to multiply gradients by so that their norm is at most `max_norm`.

    Parameters
    ----------
    total : float, or array of one float64 on a device
        The sum of their squares, as `sum_squares` gives it.
    max_norm : float

    Returns
    -------
    float, or array of one float64 on a device
        ``min(1, max_norm / (sqrt(total) + 1e-6))``; NaN of NaN.
    """
    if is_device_array(total):
        return devices.clip_factor(total, max_norm)
    factor = max_norm / (float(total) ** 0.5 + 1e-6)
    return factor if not factor >= 1 else 1.0


def scale_inplace(arrays: Arrays, factor: Any) -> None:
    """Multiply all elements of all arrays by `factor`, in place: a number, or what `clip_factor` gives."""
    if _on_devices(arrays):
        devices.scale_inplace(arrays, factor)
    else:
        _cpu.scale_inplace(arrays, factor)


def clamp_inplace(arrays: Arrays, limit: float) -> None:
    """Bring all elements of all arrays into [-limit, limit], in place. A NaN stays."""
    if _on_devices(arrays):
        devices.clamp_inplace(arrays, limit)
    else:
        _cpu.clamp_inplace(arrays, limit)
