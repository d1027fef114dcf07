"""Pooling of device arrays beyond windows that step: adaptive windows, k-max, over time, maxout.

Every function takes what the one of that name in `dlkit.kernels.pool` takes, where the texts are; those of adaptive
windows take the number of dimensions first. Nothing waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.kernels.backend import is_device_array
from dlkit.kernels.device_operands import (
    Output,
    code,
    common_backend,
    contiguous,
    pointer,
    text,
)
from dlkit.kernels.device_pool import step_named

_MOST = 2**30 - 1
_PACKS, _WARPS = 1, 2
_PLACES = 255


def adaptive_avg_pool(
    dims: int, x: Any, output_size: tuple[int, int], *, out: Any = None, variant: str | None = None
) -> Any:
    """As `dlkit.kernels.adaptive_avg_pool2d` and `adaptive_avg_pool1d`; `output_size` (height, width)."""
    operation = f"adaptive_avg_pool{dims}d"
    backend = common_backend(operation, ("x", x), ("out", out))
    dtype = code(operation, "x", x)
    numbers = _adaptive(operation, dims, "x", x, _extents(dims, x), output_size)
    step, _ = step_named("adaptive_avg_pool2d", backend, variant, operation)
    shape = _shape(dims, x, output_size)
    output = Output(backend, operation, out, shape, x.dtype, (("x", x),), in_place=False)
    if output.target.size:
        source = contiguous(backend, x)
        backend.library.adaptive_avg_pool(
            *(backend.stream(x), dtype, numbers, pointer(source), pointer(output.target), False, step)
        )
    return output.done()


def adaptive_avg_pool_backward(
    dims: int, grad: Any, input_size: tuple[int, int], *, out: Any = None, variant: str | None = None
) -> Any:
    """As `dlkit.kernels.adaptive_avg_pool2d_backward` and `adaptive_avg_pool1d_backward`."""
    operation = f"adaptive_avg_pool{dims}d_backward"
    backend = common_backend(operation, ("grad", grad), ("out", out))
    dtype = code(operation, "grad", grad)
    numbers = _adaptive(operation, dims, "grad", grad, input_size, _extents(dims, grad))
    step, needs = step_named("adaptive_avg_pool2d_backward", backend, variant, operation)
    if step == _WARPS and any(
        extent % windows for extent, windows in zip(numbers[1:3], numbers[3:], strict=True)
    ):
        raise ValueError(f"{operation}: variant 'warps' needs {needs}")
    shape = _shape(dims, grad, input_size)
    output = Output(backend, operation, out, shape, grad.dtype, (("grad", grad),), in_place=False)
    if output.target.size:
        given = contiguous(backend, grad)
        backend.library.adaptive_avg_pool(
            *(backend.stream(grad), dtype, numbers, pointer(given), pointer(output.target), True, step)
        )
    return output.done()


def adaptive_max_pool(
    dims: int, x: Any, output_size: tuple[int, int], *, variant: str | None = None
) -> tuple[Any, Any]:
    """As `dlkit.kernels.adaptive_max_pool2d` and `adaptive_max_pool1d`."""
    operation = f"adaptive_max_pool{dims}d"
    backend = common_backend(operation, ("x", x))
    dtype = code(operation, "x", x)
    numbers = _adaptive(operation, dims, "x", x, _extents(dims, x), output_size)
    step, _ = step_named("adaptive_max_pool2d", backend, variant, operation)
    shape = _shape(dims, x, output_size)
    y, indices = backend.xp.empty(shape, x.dtype), backend.xp.empty(shape, np.int64)
    if y.size:
        source = contiguous(backend, x)
        addresses = (pointer(array) for array in (source, y, indices))
        backend.library.adaptive_max_pool(backend.stream(x), dtype, numbers, *addresses, step)
    return y, indices


def k_max_pool1d(x: Any, k: int, *, variant: str | None = None) -> tuple[Any, Any]:
    """As `dlkit.kernels.k_max_pool1d`."""
    operation = "k_max_pool1d"
    backend = common_backend(operation, ("x", x))
    dtype = code(operation, "x", x)
    if x.ndim == 0:
        raise ValueError(f"{operation}: x is a scalar; expected at least one dimension")
    cols = x.shape[-1]
    if k < 1:
        raise ValueError(f"{operation}: k is {k}; expected 1 or more")
    if k > cols:
        raise ValueError(
            f"{operation}: k is {k} but x is {text(x.shape)}, of length {cols}; expected at most as many as there are"
        )
    _check_extent(operation, "the length of x", cols)
    step, _ = step_named(operation, backend, variant)
    shape = (*x.shape[:-1], k)
    y, indices = backend.xp.empty(shape, x.dtype), backend.xp.empty(shape, np.int64)
    if y.size:
        source = contiguous(backend, x)
        backend.library.k_max_pool(
            *(backend.stream(x), dtype, x.size // cols, cols, k),
            *(pointer(array) for array in (source, y, indices)),
            step,
        )
    return y, indices


def max_over_time(x: Any, lengths: Any = None, *, variant: str | None = None) -> tuple[Any, Any]:
    """As `dlkit.kernels.max_over_time`. Lengths of the host are checked there, before they are copied."""
    operation = "max_over_time"
    backend = common_backend(operation, ("x", x))
    dtype = code(operation, "x", x)
    if x.ndim != 3:
        raise ValueError(f"{operation}: x is {text(x.shape)}; expected (N, channels, length)")
    count, channels, cols = x.shape
    if cols < 1:
        raise ValueError(f"{operation}: x is {text(x.shape)}; expected a length of 1 or more")
    _check_extent(operation, "the length of x", cols)
    step, _ = step_named(operation, backend, variant)
    held = None if lengths is None else _lengths(operation, backend, x, lengths)
    y = backend.xp.empty((count, channels), x.dtype)
    indices = backend.xp.empty((count, channels), np.int64)
    if y.size:
        source = contiguous(backend, x)
        backend.library.max_over_time(
            *(backend.stream(x), dtype, count, channels, cols),
            *(pointer(array) for array in (source, held, y, indices)),
            step,
        )
    return y, indices


def maxout(
    x: Any,
    sizes: tuple[int, int, int],
    shape: tuple[int, ...],
    return_indices: bool | str,
    *,
    variant: str | None = None,
) -> Any:
    """As `dlkit.kernels.maxout`, given (outer, pieces, inner) and the shape of the result."""
    operation = "maxout"
    backend = common_backend(operation, ("x", x))
    dtype = code(operation, "x", x)
    step = _maxout_step(operation, backend, variant, x.itemsize, sizes)
    small = return_indices == "places" and sizes[1] <= _PLACES
    y = backend.xp.empty(shape, x.dtype)
    kept = backend.xp.empty(shape, np.uint8 if small else np.int64) if return_indices else None
    if y.size:
        source = contiguous(backend, x)
        where = (kept, None) if small else (None, kept)
        addresses = (pointer(array) for array in (source, y, *where))
        backend.library.maxout(backend.stream(x), dtype, *sizes, *addresses, step)
    return (y, kept) if return_indices else y


def maxout_backward(
    grad: Any,
    places: Any,
    sizes: tuple[int, int, int],
    shape: tuple[int, ...],
    *,
    variant: str | None = None,
) -> Any:
    """As `dlkit.kernels.maxout_backward`, given (outer, pieces, inner) and the shape of x."""
    operation = "maxout_backward"
    backend = common_backend(operation, ("grad", grad), ("places", places))
    dtype = code(operation, "grad", grad)
    if places.dtype not in (np.uint8, np.int64):
        raise TypeError(f"{operation}: places has dtype {places.dtype.name}; expected uint8 or int64")
    step = _maxout_step(operation, backend, variant, grad.itemsize, sizes)
    dx = backend.xp.empty(shape, grad.dtype)
    if dx.size:
        given, kept = contiguous(backend, grad), contiguous(backend, places)
        where = (kept, None) if kept.dtype == np.uint8 else (None, kept)
        addresses = (pointer(array) for array in (given, *where, dx))
        backend.library.maxout_backward(backend.stream(grad), dtype, *sizes, *addresses, step)
    return dx


def _extents(dims: int, array: Any) -> tuple[int, int]:
    # Of arrays of another number of dimensions, which are refused, something of the right length.
    size = (1, 1, *array.shape)[-dims:]
    return (1, size[0]) if dims == 1 else (size[0], size[1])


def _shape(dims: int, array: Any, size: tuple[int, int]) -> tuple[int, ...]:
    return (*array.shape[:2], *size[2 - dims :])


def _adaptive(
    operation: str,
    dims: int,
    argument: str,
    array: Any,
    input_size: tuple[int, int],
    output_size: tuple[int, int],
) -> tuple[int, ...]:
    # What the kernels take: planes, and the extents of both sides.
    if array.ndim != dims + 2:
        axes = "height, width" if dims == 2 else "length"
        raise ValueError(f"{operation}: {argument} is {text(array.shape)}; expected (N, channels, {axes})")
    for extent in output_size:
        if extent < 1 or extent > _MOST:
            raise ValueError(f"{operation}: output_size is {extent}; expected 1 to {_MOST}")
    for extent in input_size:
        if extent < 1:
            raise ValueError(f"{operation}: the input's extent is {extent}; expected 1 or more")
        _check_extent(operation, "the input's extent", extent)
    return (array.shape[0] * array.shape[1], *input_size, *output_size)


def _check_extent(operation: str, what: str, extent: int) -> None:
    if extent > _MOST:
        raise ValueError(f"{operation}: {what} is {extent}; expected at most {_MOST}")


def _lengths(operation: str, backend: Any, x: Any, lengths: Any) -> Any:
    count, _, cols = x.shape
    on_device = is_device_array(lengths)
    if on_device:
        common_backend(operation, ("x", x), ("lengths", lengths))
    else:
        lengths = np.asarray(lengths)
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{operation}: lengths has dtype {lengths.dtype}; expected integers")
    if lengths.shape != (count,):
        raise ValueError(
            f"{operation}: lengths is {text(lengths.shape)}; expected ({count},), one for each of x"
        )
    lengths = lengths.astype(np.int64, copy=False)
    if on_device:
        return contiguous(backend, lengths)
    wrong = lengths[(lengths < 1) | (lengths > cols)]
    if wrong.size:
        raise ValueError(f"{operation}: lengths holds {wrong[0]}; expected 1 to {cols}, the length of x")
    return backend.from_host(lengths, backend.device(x))


def _maxout_step(
    operation: str, backend: Any, variant: str | None, itemsize: int, sizes: tuple[int, int, int]
) -> int:
    _, pieces, inner = sizes
    for what, extent in (("pieces is", pieces), ("the extent after dim is", inner)):
        if extent > _MOST:
            raise ValueError(f"{operation}: {what} {extent}; expected at most {_MOST}")
    step, needs = step_named(operation, backend, variant)
    if step == _PACKS and inner * itemsize % 16:
        raise ValueError(f"{operation}: variant 'packs' needs {needs}")
    return step
