"""Pooling as functions; `functional` has them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from dlkit import kernels
from dlkit.autograd.base import TensorBase, as_array, make, record, require_float, shape_text
from dlkit.autograd.mode import mode
from dlkit.kernels.pool import PLACES, pool_geometry, pool_output, several

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_MAX = {
    1: (kernels.max_pool1d, kernels.max_pool1d_backward),
    2: (kernels.max_pool2d, kernels.max_pool2d_backward),
}


def max_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    activation: str | None = None,
) -> Any:
    """Return the largest element of each window that steps over images.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, dilation : int or (int, int)
        Stride None: the window's own size. Padding: at most half the window; there is nothing in it.
    ceil_mode : bool
        Let a last window go past the end of the image.
    return_indices : bool
        Return the elements' numbers in their image, too, as int64. Without it a byte for each is kept for backward.
    activation : {"relu"}, optional
        Applied to the result, in the same kernel: the same as before pooling.

    Returns
    -------
    Tensor of shape (N, C, OH, OW) or (C, OH, OW), or a pair of it and its indices

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, or a setting is out of range.

    Notes
    -----
    As `dlkit.kernels.max_pool2d` has it. A gradient goes to the first of equal elements.
    """
    return _max_pool(2, x, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, activation)


def max_pool1d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    activation: str | None = None,
) -> Any:
    """Return the largest element of each window that steps over sequences (N, C, L) or (C, L); see `max_pool2d`."""
    return _max_pool(1, x, (kernel_size, stride, padding, dilation, ceil_mode), return_indices, activation)


def _tensor(x: Any, operation: str) -> Tensor:
    return x if isinstance(x, TensorBase) else make(as_array(x, operation, "x"))  # type: ignore[return-value]


def _batched(x: Any, operation: str, dims: int) -> tuple[Tensor, Array, bool]:
    # The tensor, its array as (N, C, ...), and whether it came without N.
    tensor = _tensor(x, operation)
    array = require_float(tensor, operation)
    if array.ndim == dims + 2:
        return tensor, array, False
    if array.ndim != dims + 1:
        axes = "H, W" if dims == 2 else "L"
        raise ValueError(
            f"{operation}: x is {shape_text(array.shape)}; expected (N, C, {axes}) or (C, {axes})"
        )
    return tensor, array[None], True


def _recorded(
    operation: str, x: Tensor, y: Array, single: bool, by_x: Callable[[Array], Array], *, saved: bool = False
) -> Tensor:
    # The output as a tensor. by_x(g): the gradient by the batch, given that by the batch of outputs.
    out = y[0] if single else y
    if not mode.enabled or not x._tracked:
        return make(out)

    def backward(g: Array) -> tuple[Array]:
        return (by_x(g.reshape(y.shape)).reshape(x._array.shape),)

    return record(operation, out, (x,), backward, (x,) if saved else None)


def _max_pool(
    dims: int,
    x: Any,
    settings: tuple[Any, Any, Any, Any, bool],
    return_indices: bool,
    activation: str | None,
) -> Any:
    operation = f"max_pool{dims}d"
    tensor, array, single = _batched(x, operation, dims)
    forward, back = _MAX[dims]
    tracked = mode.enabled and tensor._tracked
    small = prod(several(settings[0], dims, operation, "kernel_size", 1)) <= PLACES
    keep: Any = bool(return_indices) or (tracked and ("places" if small else True))
    result: Any = forward(array, *settings, keep, activation=activation)
    pair: tuple[Any, Any] = result if keep else (result, None)
    y, indices = pair
    size = array.shape[2:]
    out = _recorded(operation, tensor, y, single, lambda g: back(g, indices, size, *settings))
    if not return_indices:
        return out
    return out, make(indices[0] if single else indices)


def avg_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window that steps over images.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding : int or (int, int)
        As for `max_pool2d`; padding is of zeros.
    ceil_mode : bool
        Let a last window go past the end of the padded image; what is beyond it does not count.
    count_include_pad : bool
        Divide by the number of elements with the padding's; without, by those in the image alone.
    divisor_override : int, optional
        What to divide by instead.

    Returns
    -------
    Tensor of shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, or a setting is out of range.
    """
    tensor, array, single = _batched(x, "avg_pool2d", 2)
    settings = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    size = array.shape[2:]
    y = kernels.avg_pool2d(array, *settings)
    return _recorded(
        "avg_pool2d", tensor, y, single, lambda g: kernels.avg_pool2d_backward(g, size, *settings)
    )


def avg_pool1d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window that steps over sequences (N, C, L) or (C, L); see `avg_pool2d`."""
    tensor, array, single = _batched(x, "avg_pool1d", 1)
    settings = (kernel_size, stride, padding, ceil_mode, count_include_pad)
    size = array.shape[2:]
    y = kernels.avg_pool1d(array, *settings)
    return _recorded(
        "avg_pool1d", tensor, y, single, lambda g: kernels.avg_pool1d_backward(g, size, *settings)
    )


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """Return the means of windows that divide images into a given number; an output size of 1 is global pooling.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    output_size : int or (int or None, int or None)
        None: as large as the input.

    Returns
    -------
    Tensor of shape (N, C, OH, OW) or (C, OH, OW)
    """
    tensor, array, single = _batched(x, "adaptive_avg_pool2d", 2)
    size = array.shape[2:]
    y = kernels.adaptive_avg_pool2d(array, output_size)
    return _recorded(
        "adaptive_avg_pool2d", tensor, y, single, lambda g: kernels.adaptive_avg_pool2d_backward(g, size)
    )


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Tensor:
    """Return the means of windows that divide sequences (N, C, L) or (C, L); see `adaptive_avg_pool2d`."""
    tensor, array, single = _batched(x, "adaptive_avg_pool1d", 1)
    size = array.shape[2:]
    y = kernels.adaptive_avg_pool1d(array, output_size)
    return _recorded(
        "adaptive_avg_pool1d", tensor, y, single, lambda g: kernels.adaptive_avg_pool1d_backward(g, size)
    )


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of windows as `adaptive_avg_pool2d` has them.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
    output_size : int or (int or None, int or None)
    return_indices : bool
        Return the elements' numbers in their image, too, as int64.

    Returns
    -------
    Tensor of shape (N, C, OH, OW) or (C, OH, OW), or a pair of it and its indices
    """
    return _adaptive_max(2, x, output_size, return_indices)


def adaptive_max_pool1d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of windows that divide sequences (N, C, L) or (C, L); see `adaptive_max_pool2d`."""
    return _adaptive_max(1, x, output_size, return_indices)


def _adaptive_max(dims: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    operation = f"adaptive_max_pool{dims}d"
    tensor, array, single = _batched(x, operation, dims)
    forward = kernels.adaptive_max_pool2d if dims == 2 else kernels.adaptive_max_pool1d
    back = _MAX[dims][1]
    size = array.shape[2:]
    y, indices = forward(array, output_size)
    out = _recorded(operation, tensor, y, single, lambda g: back(g, indices, size))
    return (out, make(indices[0] if single else indices)) if return_indices else out


def k_max_pool1d(x: Any, k: int, return_indices: bool = False) -> Any:
    """Return the `k` largest elements along the last axis, in the order in which they are there.

    Parameters
    ----------
    x : Tensor of shape (..., L)
    k : int
        From 1 to L.
    return_indices : bool
        Return where they are, too, as int64.

    Returns
    -------
    Tensor of shape (..., k), or a pair of it and its indices

    Raises
    ------
    ValueError
        If the axis is shorter than k.

    Notes
    -----
    Kalchbrenner, Grefenstette & Blunsom, 2014. Of equal elements the first are taken.
    """
    tensor = _tensor(x, "k_max_pool1d")
    array = require_float(tensor, "k_max_pool1d")
    y, indices = kernels.k_max_pool1d(array, k)
    out = _recorded(
        "k_max_pool1d", tensor, y, False, lambda g: kernels.k_max_pool1d_backward(g, indices, array.shape[-1])
    )
    return (out, make(indices)) if return_indices else out


def max_over_time(x: Any, lengths: Any | None = None) -> Tensor:
    """Return the largest element of each channel over the whole sequence, padding left out.

    Parameters
    ----------
    x : Tensor of shape (N, C, L)
    lengths : Tensor or array of shape (N,), integers from 1 to L, optional
        How much of each sequence counts; all by default.

    Returns
    -------
    Tensor of shape (N, C)

    Notes
    -----
    Collobert et al., 2011; Kim, "Convolutional neural networks for sentence classification", 2014.
    """
    tensor = _tensor(x, "max_over_time")
    array = require_float(tensor, "max_over_time")
    if lengths is not None:
        lengths = as_array(lengths, "max_over_time", "lengths")
    y, indices = kernels.max_over_time(array, lengths)
    return _recorded(
        "max_over_time",
        tensor,
        y,
        False,
        lambda g: kernels.max_over_time_backward(g, indices, array.shape[-1]),
    )


def stochastic_pool2d(
    x: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    training: bool = True,
) -> Tensor:
    """In training, draw an element of each window with a probability proportional to it; else return their average.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W) or (C, H, W)
        Activations, such as ReLU gives; negative ones count as 0.
    kernel_size, stride, padding, ceil_mode
        As for `max_pool2d`; windows of at most 255 elements.
    training : bool
        Without, each element is weighed with its probability: the sum of squares over the sum.

    Returns
    -------
    Tensor of shape (N, C, OH, OW) or (C, OH, OW)
        0 where the window has nothing above 0.

    Notes
    -----
    Zeiler & Fergus, 2013. Random numbers are of the stream of `dlkit.manual_seed`. In training the gradient goes to the
    element that was drawn.
    """
    tensor, array, single = _batched(x, "stochastic_pool2d", 2)
    settings = (kernel_size, stride, padding)
    if not training:
        y = kernels.stochastic_average2d(array, *settings, ceil_mode)
        return _recorded(
            *("stochastic_average2d", tensor, y, single),
            lambda g: kernels.stochastic_average2d_backward(g, array, *settings, ceil_mode),
            saved=True,
        )
    geometry = pool_geometry("stochastic_pool2d", 2, *settings, 1, ceil_mode)
    if min(geometry.stride_h, geometry.stride_w) < 1:
        raise ValueError(f"stochastic_pool2d: stride is {stride!r}; expected 1 or more")
    seed, offset = kernels.random.next_offset(max(prod(pool_output(array.shape, geometry)), 0))
    y, places = kernels.stochastic_pool2d(array, *settings, ceil_mode, seed=seed, offset=offset)
    size = array.shape[2:]
    return _recorded(
        *("stochastic_pool2d", tensor, y, single),
        lambda g: kernels.max_pool2d_backward(g, places, size, *settings, 1, ceil_mode),
    )


def maxout(x: Any, pieces: int, dim: int = 1) -> Tensor:
    """Return the largest of each group of `pieces` consecutive channels or features.

    Parameters
    ----------
    x : Tensor
    pieces : int
        Divides the extent of `dim`.
    dim : int
        Along which axis.

    Returns
    -------
    Tensor with the extent of `dim` divided by `pieces`

    Notes
    -----
    Goodfellow et al., 2013. A gradient goes to the first of equal elements.
    """
    tensor = _tensor(x, "maxout")
    array = require_float(tensor, "maxout")
    if not (mode.enabled and tensor._tracked):
        return make(kernels.maxout(array, pieces, dim))
    small = isinstance(pieces, int) and pieces <= PLACES
    y, places = kernels.maxout(array, pieces, dim, "places" if small else True)
    return _recorded("maxout", tensor, y, False, lambda g: kernels.maxout_backward(g, places, pieces, dim))
