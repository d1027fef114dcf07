"""What happens between matrix products, of device arrays: checks, scratch memory, and one call of the kernels each.

Every function takes what the one of that name in `dlkit.kernels.layers` takes, where the texts are. Nothing waits for
the device: what cannot be known without waiting, such as whether a label is in range, shows in the numbers (NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from dlkit.kernels import recording
from dlkit.kernels.backend import Backend, backend_named
from dlkit.kernels.device_operands import (
    Output,
    code,
    common_backend,
    contiguous,
    extent,
    overlap,
    pointer,
    repeats_elements,
    same_dtype,
    same_shape,
    text,
)

# One element of the result of a reduction, and where it goes.
_SCALAR = np.dtype(np.float64)


def ladders(backend: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return (name, idea, needs) of each variant of each operation that a backend has several of."""
    tables: dict[str, list[tuple[str, str, str]]] = {}
    for operation, *row in backend_named(backend).library.layer_variants():
        tables.setdefault(operation, []).append((row[0], row[1], row[2]))
    return tables


def activation(x: Any, kind: int, out: Any, alpha: float, rung: int) -> Any:
    """As `dlkit.kernels.activation`; the kind by its number."""
    operation = "activation"
    backend = common_backend(operation, ("x", x), ("out", out))
    dtype = code(operation, "x", x)
    output = Output(backend, operation, out, x.shape, x.dtype, (("x", x),))
    if x.size:
        source = contiguous(backend, x)
        backend.library.activation(
            *(
                backend.stream(x),
                dtype,
                kind,
                pointer(source),
                pointer(output.target),
                x.size,
                float(alpha),
                rung,
            )
        )
    return output.done()


def activation_backward(
    grad: Any, kind: int, saved: Any, name: str, out: Any, alpha: float, rung: int
) -> Any:
    """As `dlkit.kernels.activation_backward`; the kind by its number, with what it was saved as."""
    operation = "activation_backward"
    inputs = ("grad", grad), (name, saved)
    backend = common_backend(operation, *inputs, ("out", out))
    dtype = code(operation, "grad", grad)
    same_dtype(operation, *inputs)
    same_shape(operation, *inputs)
    output = Output(backend, operation, out, grad.shape, grad.dtype, inputs)
    if grad.size:
        gradient, kept = contiguous(backend, grad), contiguous(backend, saved)
        backend.library.activation_backward(
            *(backend.stream(grad), dtype, kind, pointer(gradient), pointer(kept), pointer(output.target)),
            *(grad.size, float(alpha), rung),
        )
    return output.done()


def _rows(operation: str, argument: str, array: Any) -> tuple[int, int]:
    if array.ndim == 0:
        raise ValueError(f"{operation}: {argument} is a scalar; expected at least one dimension")
    return prod(array.shape[:-1]), array.shape[-1]


def _row_stride(backend: Backend, array: Any) -> tuple[Any, int]:
    # Of a matrix whose rows are contiguous, the elements from one to the next; of anything else a copy.
    item = array.itemsize
    if (
        array.ndim == 2
        and array.data.ptr % item == 0
        and (array.strides[1] == item or array.shape[1] == 1)
        and array.strides[0] % item == 0
        and array.strides[0] >= array.shape[1] * item
    ):
        return array, array.strides[0] // item
    return contiguous(backend, array), array.shape[-1]


def softmax(x: Any, out: Any, logarithm: bool, rung: int) -> Any:
    """As `dlkit.kernels.softmax` and `log_softmax`."""
    operation = "log_softmax" if logarithm else "softmax"
    backend = common_backend(operation, ("x", x), ("out", out))
    dtype = code(operation, "x", x)
    rows, cols = _rows(operation, "x", x)
    output = Output(backend, operation, out, x.shape, x.dtype, (("x", x),))
    if x.size:
        source, stride = _row_stride(backend, x)
        backend.library.softmax(
            *(backend.stream(x), dtype, pointer(source), stride, pointer(output.target), rows, cols),
            *(logarithm, rung),
        )
    return output.done()


def softmax_backward(grad: Any, y: Any, out: Any, logarithm: bool, rung: int) -> Any:
    """As `dlkit.kernels.softmax_backward` and `log_softmax_backward`."""
    operation = "log_softmax_backward" if logarithm else "softmax_backward"
    inputs = ("grad", grad), ("y", y)
    backend = common_backend(operation, *inputs, ("out", out))
    dtype = code(operation, "grad", grad)
    same_dtype(operation, *inputs)
    same_shape(operation, *inputs)
    rows, cols = _rows(operation, "grad", grad)
    output = Output(backend, operation, out, grad.shape, grad.dtype, inputs)
    if grad.size:
        gradient, result = contiguous(backend, grad), contiguous(backend, y)
        backend.library.softmax_backward(
            *(backend.stream(grad), dtype, pointer(gradient), pointer(result), pointer(output.target)),
            *(rows, cols, logarithm, rung),
        )
    return output.done()


def cross_entropy(
    logits: Any,
    labels: Any,
    need_grad: bool,
    grad_scale: float,
    label_smoothing: float,
    ignore_index: int,
    out: Any,
    rung: int,
    reduction: int,
) -> tuple[Any, Any]:
    """As `dlkit.kernels.cross_entropy`, but that a label out of range gives NaN: to raise would mean to wait."""
    operation = "cross_entropy"
    backend = common_backend(operation, ("logits", logits), ("labels", labels), ("out", out))
    dtype = code(operation, "logits", logits)
    if logits.ndim != 2:
        raise ValueError(f"{operation}: logits is {text(logits.shape)}; expected (N, C)")
    rows, cols = logits.shape
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{operation}: labels has dtype {labels.dtype}; expected integers")
    if labels.shape != (rows,):
        raise ValueError(
            f"{operation}: labels is {text(labels.shape)}; expected {text((rows,))}, one for each row of logits"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{operation}: label_smoothing is {label_smoothing}; expected 0 to 1")
    if rows and not cols:
        raise ValueError(f"{operation}: logits is {text(logits.shape)}; expected at least one class")
    if out is not None and not need_grad:
        raise ValueError(f"{operation}: out is given but need_grad is False; out holds the gradient")
    xp = backend.xp
    output = None
    if need_grad:
        output = Output(backend, operation, out, logits.shape, logits.dtype, (("logits", logits),))
        if out is not None and rows and overlap(out, labels):
            raise ValueError(f"{operation}: out overlaps labels; expected memory of its own")
    if not rows:
        empty = (
            xp.empty(0, logits.dtype)
            if not reduction
            else xp.full((), np.nan if reduction == 2 else 0, logits.dtype)
        )
        return empty, None if output is None else output.done()
    source, stride = _row_stride(backend, logits)
    numbers = contiguous(backend, labels.astype(np.int64, copy=False))
    losses = xp.empty(rows, logits.dtype)
    result = xp.empty((), logits.dtype) if reduction else None
    scratch = backend.scratch(backend.library.cross_entropy_scratch(dtype, rows))
    backend.library.cross_entropy(
        *(backend.stream(logits), dtype, pointer(source), stride, pointer(numbers), rows, cols),
        *(float(label_smoothing), int(ignore_index), float(grad_scale), reduction),
        *(
            pointer(losses),
            pointer(result),
            0 if output is None else pointer(output.target),
            pointer(scratch),
            rung,
        ),
    )
    return losses if result is None else result, None if output is None else output.done()


def dropout(x: Any, p: float, seed: int, offset: int, out: Any, rung: int) -> Any:
    """As `dlkit.kernels.dropout`. In a recording, the offset is counted from where a replay begins."""
    operation = "dropout"
    backend = common_backend(operation, ("x", x), ("out", out))
    dtype = code(operation, "x", x)
    if not 0 <= p <= 1:
        raise ValueError(f"{operation}: p is {p}; expected 0 to 1")
    for argument, value in (("seed", seed), ("offset", offset)):
        if not 0 <= value < 2**64:
            raise ValueError(f"{operation}: {argument} is {value}; expected 0 to 2**64 - 1")
    output = Output(backend, operation, out, x.shape, x.dtype, (("x", x),))
    if x.size:
        source = contiguous(backend, x)
        first, counter = recording.offset(offset)
        backend.library.dropout(
            *(backend.stream(x), dtype, pointer(source), pointer(output.target), x.size, float(p)),
            *(seed, first, pointer(counter), rung),
        )
    return output.done()


def column_sum(x: Any, out: Any, accumulate: bool, rung: int) -> Any:
    """As `dlkit.kernels.column_sum`."""
    operation = "column_sum"
    backend = common_backend(operation, ("x", x), ("out", out))
    dtype = code(operation, "x", x)
    if x.ndim != 2:
        raise ValueError(f"{operation}: x is {text(x.shape)}; expected (M, N)")
    if accumulate and out is None:
        raise ValueError(f"{operation}: accumulate=True needs out, the array to add to")
    rows, cols = x.shape
    output = Output(backend, operation, out, (cols,), x.dtype, (("x", x),), in_place=False, keep=accumulate)
    if cols and not rows and not accumulate:
        output.target.fill(0)
    elif cols and rows:
        source, stride = _row_stride(backend, x)
        scratch = backend.scratch(backend.library.column_sum_scratch(dtype, rows, cols))
        backend.library.column_sum(
            *(backend.stream(x), dtype, pointer(source), stride, rows, cols, pointer(output.target)),
            *(bool(accumulate), pointer(scratch), rung),
        )
    return output.done()


# Lists of arrays: the parameters of a network, in one launch.

Arrays = Sequence[Any]


def _lists(operation: str, *lists: tuple[str, Arrays | None]) -> tuple[Backend | None, int]:
    # Checks everything, so that nothing is written after an error.
    first, values = lists[0]
    assert values is not None
    given = [(name, arrays) for name, arrays in lists if arrays is not None]
    for name, arrays in given:
        if len(arrays) != len(values):
            raise ValueError(
                f"{operation}: {first} has {len(values)} arrays but {name} has {len(arrays)}; expected as many"
            )
    if not values:
        return None, 0
    named = [(f"{name}[{i}]", array) for name, arrays in given for i, array in enumerate(arrays)]
    backend = common_backend(operation, *named)
    dtype = code(operation, f"{first}[0]", values[0])
    for name, arrays in given:
        for i, array in enumerate(arrays):
            same_dtype(operation, (f"{first}[0]", values[0]), (f"{name}[{i}]", array))
            same_shape(operation, (f"{first}[{i}]", values[i]), (f"{name}[{i}]", array))
    return backend, dtype


def _apart(
    operation: str, written: Sequence[tuple[str, Arrays | None]], read: Sequence[tuple[str, Arrays]]
) -> None:
    # What is written shares memory with nothing else.
    spans: list[tuple[int, int, bool, str]] = []
    for writes, lists in ((True, written), (False, read)):
        for name, arrays in lists:
            for i, array in enumerate(arrays or ()):
                if writes and repeats_elements(array):
                    raise ValueError(f"{operation}: {name}[{i}] has elements that share memory")
                if array.size:
                    spans.append((*extent(array), writes, f"{name}[{i}]"))
    spans.sort()
    end, owner, owner_writes = 0, "", False
    for begin, stop, writes, name in spans:
        if begin < end and (writes or owner_writes):
            raise ValueError(f"{operation}: {owner} shares memory with {name}; expected memory of its own")
        if stop > end:
            end, owner, owner_writes = stop, name, writes


def _plain(backend: Backend, arrays: Arrays) -> list[Any]:
    return [contiguous(backend, array) for array in arrays]


def _back(arrays: Arrays, plain: Arrays) -> None:
    # Arrays that are not contiguous were worked on in a copy.
    for array, copied in zip(arrays, plain, strict=True):
        if copied is not array:
            np.copyto(array, copied)


def _pairs(arrays: Arrays) -> list[tuple[int, int]]:
    return [(pointer(array), array.size) for array in arrays if array.size]


def sgd_step(
    params: Arrays,
    grads: Arrays,
    velocities: Arrays | None,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
    rung: int,
    settings: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """As `dlkit.kernels.sgd_step`. `settings` gives those of each replay of a recording."""
    operation = "sgd_step"
    if momentum and velocities is None:
        raise ValueError(
            f"{operation}: momentum is not 0 but velocities is None; expected a list of arrays to keep them in"
        )
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError(f"{operation}: nesterov=True needs a momentum above 0 and no dampening")
    kept = velocities if momentum else None
    backend, dtype = _lists(operation, ("params", params), ("grads", grads), ("velocities", kept))
    if backend is None:
        return
    _apart(operation, [("params", params), ("velocities", kept)], [("grads", grads)])
    values, gradients = _plain(backend, params), _plain(backend, grads)
    moving = None if kept is None else _plain(backend, kept)
    entries = [
        (pointer(value), pointer(grad), 0 if moving is None else pointer(moving[i]), value.size)
        for i, (value, grad) in enumerate(zip(values, gradients, strict=True))
        if value.size
    ]
    library = backend.library

    def factors(**now: Any) -> bytes:
        now = {"momentum": momentum, "dampening": dampening, "first": first, **now}
        return bytes(
            library.sgd_factors(
                *(dtype, float(now["lr"]), float(now["momentum"]), float(now["dampening"])),
                *(float(now["weight_decay"]), bool(now["nesterov"]), bool(now["first"])),
            )
        )

    if entries:
        now = {"lr": lr, "weight_decay": weight_decay, "nesterov": nesterov}
        held = recording.factors(backend, factors, now, settings)
        library.sgd_step(
            *(backend.stream(params[0]), dtype, entries, float(lr), float(momentum), float(dampening)),
            *(float(weight_decay), nesterov, first, pointer(held), rung),
        )
        _back(params, values)
        if kept is not None and moving is not None:
            _back(kept, moving)


def adam_step(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    rung: int,
    settings: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """As `dlkit.kernels.adam_step`. `settings` gives those of each replay of a recording."""
    operation = "adam_step"
    if step < 1:
        raise ValueError(f"{operation}: step is {step}; expected 1 or more")
    lists = ("params", params), ("grads", grads), ("exp_avgs", exp_avgs), ("exp_avg_sqs", exp_avg_sqs)
    backend, dtype = _lists(operation, *lists)
    if backend is None:
        return
    _apart(operation, [lists[0], lists[2], lists[3]], [lists[1]])
    plain = [_plain(backend, arrays) for arrays in (params, grads, exp_avgs, exp_avg_sqs)]
    entries = [
        (*(pointer(array) for array in arrays), arrays[0].size)
        for arrays in zip(*plain, strict=True)
        if arrays[0].size
    ]
    library = backend.library

    def factors(**now: Any) -> bytes:
        return bytes(
            library.adam_factors(
                *(dtype, int(now["step"]), float(now["lr"]), float(now["beta1"]), float(now["beta2"])),
                *(float(now["eps"]), float(now["weight_decay"]), decoupled),
            )
        )

    if entries:
        now = {
            "step": step,
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        held = recording.factors(backend, factors, now, settings)
        library.adam_step(
            *(backend.stream(params[0]), dtype, entries, int(step), float(lr), float(beta1), float(beta2)),
            *(float(eps), float(weight_decay), decoupled, pointer(held), rung),
        )
        for i, arrays in ((0, params), (2, exp_avgs), (3, exp_avg_sqs)):
            _back(arrays, plain[i])


def sum_squares(arrays: Arrays) -> Any:
    """As `dlkit.kernels.sum_squares`; a float64 array of one element on the device, for nothing waits here."""
    operation = "sum_squares"
    backend, dtype = _lists(operation, ("arrays", arrays))
    assert backend is not None
    total = backend.xp.zeros((), _SCALAR)
    plain = _plain(backend, arrays)
    pairs = _pairs(plain)
    if pairs:
        scratch = backend.scratch(backend.library.sum_squares_scratch(dtype, [n for _, n in pairs]))
        backend.library.sum_squares(backend.stream(total), dtype, pairs, pointer(total), pointer(scratch))
    return total


def clip_factor(total: Any, max_norm: float) -> Any:
    """Return min(1, max_norm / (sqrt(total) + 1e-6)) of a sum of squares on a device, there."""
    backend = common_backend("clip_factor", ("total", total))
    factor = backend.xp.empty((), _SCALAR)
    backend.library.clip_factor(backend.stream(total), pointer(total), float(max_norm), pointer(factor))
    return factor


def scale_inplace(arrays: Arrays, factor: Any) -> None:
    """As `dlkit.kernels.scale_inplace`; the factor may be a float64 array of one element on the device."""
    operation = "scale_inplace"
    backend, dtype = _lists(operation, ("arrays", arrays))
    if backend is None:
        return
    held = None
    if not isinstance(factor, (int, float, np.floating)):
        common_backend(operation, ("arrays[0]", arrays[0]), ("factor", factor))
        if factor.dtype != _SCALAR or factor.size != 1:
            raise TypeError(
                f"{operation}: factor is {text(factor.shape)} of {factor.dtype}; expected one float64"
            )
        held, factor = factor, 1.0
    _apart(operation, [("arrays", arrays)], [])
    plain = _plain(backend, arrays)
    if pairs := _pairs(plain):
        backend.library.scale_inplace(
            *(backend.stream(arrays[0]), dtype, pairs, float(factor), pointer(held)),
        )
        _back(arrays, plain)


def clamp_inplace(arrays: Arrays, limit: float) -> None:
    """As `dlkit.kernels.clamp_inplace`."""
    operation = "clamp_inplace"
    backend, dtype = _lists(operation, ("arrays", arrays))
    if backend is None:
        return
    _apart(operation, [("arrays", arrays)], [])
    plain = _plain(backend, arrays)
    if pairs := _pairs(plain):
        backend.library.clamp_inplace(backend.stream(arrays[0]), dtype, pairs, float(limit))
        _back(arrays, plain)
