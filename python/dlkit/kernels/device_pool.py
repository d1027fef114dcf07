"""Pooling of device arrays by windows that step over planes: checks, and one call of a kernel each.

Every function takes what the one of that name in `dlkit.kernels.pool` takes, with windows as pairs, where the texts
are. Nothing waits for the device, so that an index out of range raises nothing: its gradient goes nowhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.kernels import recording
from dlkit.kernels.backend import backend_named, nearest
from dlkit.kernels.device_operands import (
    Output,
    code,
    common_backend,
    contiguous,
    overlap,
    pointer,
    same_dtype,
    same_shape,
    text,
)

_NAIVE, _PACKS, _WARPS, _AUTOMATIC = range(4)
_MOST = 2**30 - 1
_PLACES = 255


def ladders(backend: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return (name, idea, needs) of each variant of each operation that a backend has."""
    tables = {}
    for operation, rows in backend_named(backend).library.pool_variants().items():
        steps = [(name, idea, needs) for name, idea, needs, _ in rows]
        tables[operation] = steps
        if operation.startswith(("max_pool2d", "avg_pool2d", "adaptive_")):
            tables[operation.replace("pool2d", "pool1d")] = steps
    return tables


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    ceil_mode: bool = False,
    return_indices: bool | str = False,
    *,
    activation: str | None = None,
    out: Any = None,
    variant: str | None = None,
    dims: int = 2,
) -> Any:
    """As `dlkit.kernels.max_pool2d`, and with `dims` 1 as `max_pool1d`."""
    operation = f"max_pool{dims}d"
    backend = common_backend(operation, ("x", x), ("out", out))
    dtype = code(operation, "x", x)
    numbers = _numbers(operation, x, None, kernel_size, stride, padding, dilation, ceil_mode, dims)
    if return_indices == "places":
        _check_places(operation, numbers)
    step = _step("max_pool2d", backend, variant, dtype, numbers, 0, operation)
    shape = (*x.shape[:2], *numbers[-dims:])
    output = Output(backend, operation, out, shape, x.dtype, (("x", x),), in_place=False)
    kept = None
    if return_indices:
        kept = backend.xp.empty(shape, np.uint8 if return_indices == "places" else np.int64)
    if output.target.size:
        source = contiguous(backend, x)
        places, indices = (kept, None) if return_indices == "places" else (None, kept)
        addresses = (pointer(array) for array in (source, output.target, places, indices))
        backend.library.max_pool(backend.stream(x), dtype, numbers, *addresses, activation == "relu", step)
    y = output.done()
    return (y, kept) if return_indices else y


def max_pool2d_backward(
    grad: Any,
    indices: Any,
    input_size: tuple[int, int],
    kernel_size: Any = None,
    stride: Any = None,
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    ceil_mode: bool = False,
    *,
    out: Any = None,
    variant: str | None = None,
    dims: int = 2,
) -> Any:
    """As `dlkit.kernels.max_pool2d_backward`, and with `dims` 1 as `max_pool1d_backward`."""
    operation = f"max_pool{dims}d_backward"
    backend = common_backend(operation, ("grad", grad), ("indices", indices), ("out", out))
    dtype = code(operation, "grad", grad)
    _check_planes(operation, "grad", grad, dims)
    same_shape(operation, ("grad", grad), ("indices", indices))
    by_place = indices.dtype == np.uint8
    if not by_place and indices.dtype != np.int64:
        raise TypeError(f"{operation}: indices has dtype {indices.dtype.name}; expected int64 or uint8")
    if kernel_size is None:
        if by_place:
            raise ValueError(
                f"{operation}: indices are uint8 places within the window and kernel_size is None; expected the "
                "window"
            )
        height, width = _input_size(operation, input_size)
        outputs = (1, *grad.shape[2:])[-2:]
        numbers = (grad.shape[0] * grad.shape[1], height, width, *(1,) * 4, 0, 0, 1, 1, *outputs)
    else:
        settings = kernel_size, stride, padding, dilation, ceil_mode
        numbers = _of_gradient(operation, grad, input_size, *settings, dims)
    step = _step("max_pool2d_backward", backend, variant, dtype, numbers, 0, operation)
    shape = (*grad.shape[:2], *numbers[3 - dims : 3])
    output = Output(backend, operation, out, shape, grad.dtype, (("grad", grad),), in_place=False)
    if out is not None and overlap(out, indices):
        raise ValueError(f"{operation}: out overlaps indices; expected memory of its own")
    if output.target.size:
        given, kept = contiguous(backend, grad), contiguous(backend, indices)
        where = (pointer(kept), 0) if by_place else (0, pointer(kept))
        backend.library.max_pool_backward(
            *(backend.stream(grad), dtype, numbers, pointer(given), *where, pointer(output.target)),
            *(kernel_size is None, step),
        )
    return output.done()


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Any = None,
    variant: str | None = None,
    dims: int = 2,
) -> Any:
    """As `dlkit.kernels.avg_pool2d`, and with `dims` 1 as `avg_pool1d`."""
    operation = f"avg_pool{dims}d"
    backend = common_backend(operation, ("x", x), ("out", out))
    dtype, divisor = code(operation, "x", x), _divisor(operation, divisor_override)
    numbers = _numbers(operation, x, None, kernel_size, stride, padding, (1, 1), ceil_mode, dims)
    step = _step("avg_pool2d", backend, variant, dtype, numbers, divisor, operation)
    shape = (*x.shape[:2], *numbers[-dims:])
    output = Output(backend, operation, out, shape, x.dtype, (("x", x),), in_place=False)
    if output.target.size:
        source = contiguous(backend, x)
        backend.library.avg_pool(
            *(backend.stream(x), dtype, numbers, bool(count_include_pad), divisor),
            *(pointer(source), pointer(output.target), False, step),
        )
    return output.done()


def avg_pool2d_backward(
    grad: Any,
    input_size: tuple[int, int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: Any = None,
    variant: str | None = None,
    dims: int = 2,
) -> Any:
    """As `dlkit.kernels.avg_pool2d_backward`, and with `dims` 1 as `avg_pool1d_backward`."""
    operation = f"avg_pool{dims}d_backward"
    backend = common_backend(operation, ("grad", grad), ("out", out))
    dtype, divisor = code(operation, "grad", grad), _divisor(operation, divisor_override)
    _check_planes(operation, "grad", grad, dims)
    settings = kernel_size, stride, padding, (1, 1), ceil_mode
    numbers = _of_gradient(operation, grad, input_size, *settings, dims)
    step = _step("avg_pool2d_backward", backend, variant, dtype, numbers, divisor, operation)
    shape = (*grad.shape[:2], *numbers[3 - dims : 3])
    output = Output(backend, operation, out, shape, grad.dtype, (("grad", grad),), in_place=False)
    if output.target.size:
        given = contiguous(backend, grad)
        backend.library.avg_pool(
            *(backend.stream(grad), dtype, numbers, bool(count_include_pad), divisor),
            *(pointer(given), pointer(output.target), True, step),
        )
    return output.done()


def stochastic_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    *,
    seed: int,
    offset: int,
    variant: str | None = None,
) -> tuple[Any, Any]:
    """As `dlkit.kernels.stochastic_pool2d`. In a recording, the offset is counted from where a replay begins."""
    operation = "stochastic_pool2d"
    backend = common_backend(operation, ("x", x))
    dtype = code(operation, "x", x)
    numbers = _numbers(operation, x, None, kernel_size, stride, padding, (1, 1), ceil_mode)
    _check_places(operation, numbers)
    step = _step(operation, backend, variant, dtype, numbers, 0)
    seed, offset = _unsigned(operation, "seed", seed), _unsigned(operation, "offset", offset)
    shape = (*x.shape[:2], *numbers[-2:])
    y, places = backend.xp.empty(shape, x.dtype), backend.xp.empty(shape, np.uint8)
    if y.size:
        source = contiguous(backend, x)
        first, counter = recording.offset(offset)
        addresses = (pointer(array) for array in (source, y, places))
        backend.library.stochastic_pool(
            backend.stream(x), dtype, numbers, *addresses, seed, first, pointer(counter), step
        )
    return y, places


def stochastic_average2d(
    x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, *, variant: str | None = None
) -> Any:
    """As `dlkit.kernels.stochastic_average2d`."""
    operation = "stochastic_pool2d"
    backend = common_backend(operation, ("x", x))
    dtype = code(operation, "x", x)
    numbers = _numbers(operation, x, None, kernel_size, stride, padding, (1, 1), ceil_mode)
    step = _step("stochastic_average2d", backend, variant, dtype, numbers, 0)
    y = backend.xp.empty((*x.shape[:2], *numbers[-2:]), x.dtype)
    if y.size:
        source = contiguous(backend, x)
        backend.library.stochastic_average(
            backend.stream(x), dtype, numbers, pointer(source), pointer(y), step
        )
    return y


def stochastic_average2d_backward(
    grad: Any,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    *,
    variant: str | None = None,
) -> Any:
    """As `dlkit.kernels.stochastic_average2d_backward`."""
    operation = "stochastic_pool2d_backward"
    backend = common_backend(operation, ("grad", grad), ("x", x))
    dtype = code(operation, "grad", grad)
    same_dtype(operation, ("x", x), ("grad", grad))
    numbers = _numbers(operation, x, None, kernel_size, stride, padding, (1, 1), ceil_mode)
    _check_output(operation, grad, (*x.shape[:2], *numbers[-2:]))
    step = _step("stochastic_average2d_backward", backend, variant, dtype, numbers, 0)
    dx = backend.xp.empty(x.shape, x.dtype)
    if dx.size:
        given, source = contiguous(backend, grad), contiguous(backend, x)
        scratch = backend.scratch(2 * given.size * given.itemsize)
        addresses = (pointer(array) for array in (given, source, dx, scratch))
        backend.library.stochastic_average_backward(backend.stream(grad), dtype, numbers, *addresses, step)
    return dx


def _unsigned(operation: str, argument: str, value: Any) -> int:
    if not hasattr(value, "__index__") or not 0 <= value.__index__() < 2**64:
        raise TypeError(f"{operation}: {argument} is {value!r}; expected an integer from 0 to 2^64 - 1")
    return int(value.__index__())


def _check_places(operation: str, numbers: tuple[int, ...]) -> None:
    if numbers[3] * numbers[4] > _PLACES:
        raise ValueError(
            f"{operation}: the window has {numbers[3]} x {numbers[4]} elements; expected at most 255 for places of "
            "one byte"
        )


def _check_output(operation: str, grad: Any, expected: tuple[int, ...]) -> None:
    if tuple(grad.shape) != expected:
        raise ValueError(
            f"{operation}: grad is {text(grad.shape)}; expected {text(expected)}, the shape of the output"
        )


def _check_planes(operation: str, argument: str, array: Any, dims: int) -> None:
    if array.ndim != dims + 2:
        axes = "height, width" if dims == 2 else "length"
        raise ValueError(f"{operation}: {argument} is {text(array.shape)}; expected (N, channels, {axes})")


def _input_size(operation: str, size: Any) -> tuple[int, int]:
    height, width = (int(extent) for extent in size)
    for extent in (height, width):
        if not 0 <= extent <= _MOST:
            raise ValueError(f"{operation}: input_size is {(height, width)}; expected 0 to {_MOST}")
    return height, width


def _divisor(operation: str, divisor: Any) -> int:
    if divisor is None:
        return 0
    if not hasattr(divisor, "__index__"):
        raise TypeError(f"{operation}: divisor_override is {divisor!r}; expected an integer of 64 bits")
    if divisor == 0:
        raise ValueError(f"{operation}: divisor_override is 0; expected another integer, or None")
    return int(divisor)


def _numbers(
    operation: str,
    x: Any,
    size: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
    dims: int = 2,
) -> tuple[int, ...]:
    # What the kernels take: planes, extents, the window and how often it fits.
    if size is None:
        _check_planes(operation, "x", x, dims)
        size = (1, *x.shape[2:])[-2:]
    windows = []
    for name, value, least in (
        ("kernel_size", kernel, 1),
        ("stride", kernel if stride is None else stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        pair = (value, value) if isinstance(value, int) else tuple(value)
        for number in pair:
            if number < least or number > _MOST:
                raise ValueError(
                    f"{operation}: {name} is {number}; expected {least}"
                    + (f" to {_MOST}" if number > _MOST else " or more")
                )
        windows.append(pair)
    (k_h, k_w), (s_h, s_w), (p_h, p_w), (d_h, d_w) = windows
    extents = (
        _fits(operation, "height", size[0], k_h, s_h, p_h, d_h, ceil),
        _fits(operation, "width" if dims == 2 else "length", size[1], k_w, s_w, p_w, d_w, ceil),
    )
    return (x.shape[0] * x.shape[1], *size, *(number for pair in windows for number in pair), *extents)


def _fits(
    operation: str, name: str, extent: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool
) -> int:
    reach, padded = dilation * (kernel - 1) + 1, extent + 2 * pad
    if pad > reach // 2:
        raise ValueError(
            f"{operation}: padding is {pad} and the window's extent {reach}; expected padding of at most half of it"
        )
    if not 1 <= extent <= _MOST:
        raise ValueError(
            f"{operation}: the input's {name} is {extent}; expected 1 "
            + ("or more" if extent < 1 else f"to {_MOST}")
        )
    room = padded - reach + (stride - 1 if ceil else 0)
    if room < 0:
        raise ValueError(
            f"{operation}: the window's {name} is {reach}{' (dilated)' if dilation > 1 else ''} but the "
            f"{'padded ' if pad else ''}input's is {padded}; expected a window that fits in"
        )
    out = room // stride + 1
    return out - 1 if ceil and (out - 1) * stride >= extent + pad else out


def _of_gradient(
    operation: str,
    grad: Any,
    size: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
    dims: int,
) -> tuple[int, ...]:
    extents = _input_size(operation, size)
    numbers = _numbers(operation, grad, extents, kernel, stride, padding, dilation, ceil, dims)
    _check_output(operation, grad, (*grad.shape[:2], *numbers[-dims:]))
    return numbers


def _step(
    ladder: str,
    backend: Any,
    variant: str | None,
    dtype: int,
    numbers: tuple[int, ...],
    divisor: int,
    operation: str | None = None,
) -> int:
    operation = operation or ladder
    step, needs = step_named(ladder, backend, variant, operation)
    if step == _PACKS and not backend.library.takes_packs(dtype, numbers, divisor):
        raise ValueError(f"{operation}: variant 'packs' needs {needs}")
    return step


def step_named(
    ladder: str, backend: Any, variant: str | None, operation: str | None = None
) -> tuple[int, str]:
    """Return the number of a step of an operation's ladder, and what it needs; for None that of the automatic choice.

    `operation` is what errors call it, by default the ladder's name.

    Raises
    ------
    ValueError
        If there is no such step.
    """
    if variant is None:
        return _AUTOMATIC, ""
    rows = backend.library.pool_variants()[ladder]
    for name, _, needs, step in rows:
        if variant == name:
            return step, needs
    names = tuple(row[0] for row in rows)
    raise ValueError(
        f"{operation or ladder}: variant is {variant!r}; expected None or one of {', '.join(names)}"
        + nearest(str(variant), names)
    )
