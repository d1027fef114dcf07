"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit.autograd.tensor import Tensor
from dlkit.kernels.pool import several
from dlkit.nn import functional
from dlkit.nn.linear import positive_integer
from dlkit.nn.module import Module


class _Window(Module):
    # What pooling by windows has in common: the window. Settings stay as they were given, as in PyTorch.

    dims: int

    def __init__(self, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> None:
        super().__init__()
        self.kernel_size = self._checked(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else self._checked(stride, "stride", 1)
        self.padding = self._checked(padding, "padding", 0)
        self.dilation = self._checked(dilation, "dilation", 1)
        self.ceil_mode = bool(ceil_mode)
        windows, pads, steps = (
            several(value, self.dims, type(self).__name__, name, 1)
            for value, name in (
                (self.kernel_size, "kernel_size"),
                (self.padding, "padding"),
                (self.dilation, "dilation"),
            )
        )
        for window, pad, step in list(zip(windows, pads, steps, strict=True))[-self.dims :]:
            extent = step * (window - 1) + 1
            if pad > extent // 2:
                raise ValueError(
                    f"{type(self).__name__}: padding is {pad} and the window's extent {extent}; "
                    "expected padding of at most half of it"
                )

    def _checked(self, value: Any, argument: str, least: int) -> Any:
        name = type(self).__name__
        numbers = several(value, self.dims, name, argument, least)
        if min(numbers) < least:
            raise ValueError(f"{name}: {argument} is {value!r}; expected at least {least}")
        return int(value.__index__()) if hasattr(value, "__index__") else numbers[-self.dims :]

    def extra_repr(self) -> str:
        """Return the window."""
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + f", dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class _MaxPool(_Window):
    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)
        self.return_indices = bool(return_indices)

    def window(self) -> tuple[Any, ...]:
        """Return kernel_size, stride, padding, dilation and ceil_mode."""
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def pool(self, x: Tensor, activation: str | None = None) -> Any:
        """Return the output, with an activation in the same kernel."""
        operation: Any = functional.max_pool2d if self.dims == 2 else functional.max_pool1d
        return operation(x, *self.window(), self.return_indices, activation)

    def forward(self, x: Tensor) -> Any:
        """(N, C, ...) or (C, ...)."""
        return self.pool(x)


class MaxPool2d(_MaxPool):
    """The largest element of each window that steps over images.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Of the window, vertical first.
    stride : int or (int, int), optional
        Its step; the window's own size by default.
    padding : int or (int, int)
        How far it begins outside the image, where there is nothing; at most half the window.
    dilation : int or (int, int)
        Steps between the window's elements.
    return_indices : bool
        Return where the elements are, too: int64 numbers in their image.
    ceil_mode : bool
        Let a last window go past the end of the image.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool2d(2)(np.zeros((64, 20, 24, 24), np.float32)).shape
    (64, 20, 12, 12)
    """

    dims = 2


class MaxPool1d(_MaxPool):
    """The largest element of each window that steps over sequences (N, C, L); parameters as for `MaxPool2d`."""

    dims = 1


class _AvgPool(_Window):
    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) or (C, ...)."""
        settings = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return functional.avg_pool1d(x, *settings)

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window that steps over images.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Of the window, vertical first.
    stride : int or (int, int), optional
        Its step; the window's own size by default.
    padding : int or (int, int)
        Zeros around the image, at most half the window.
    ceil_mode : bool
        Let a last window go past the end of the padded image.
    count_include_pad : bool
        Divide by the number of elements with the padding's; without, by those in the image alone.
    divisor_override : int, optional
        What to divide by instead.
    """

    dims = 2

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        if divisor_override is not None and (
            isinstance(divisor_override, bool) or not hasattr(divisor_override, "__index__")
        ):
            raise TypeError(
                f"AvgPool2d: divisor_override is {divisor_override!r}; expected an integer or None"
            )
        if divisor_override == 0:
            raise ValueError("AvgPool2d: divisor_override is 0; expected another integer, or None")
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W)."""
        settings = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return functional.avg_pool2d(x, *settings, self.divisor_override)


class AvgPool1d(_AvgPool):
    """The mean of each window that steps over sequences (N, C, L); parameters as for `AvgPool2d`, without a divisor."""

    dims = 1


class _Adaptive(Module):
    dims: int

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        items = output_size if isinstance(output_size, (list, tuple)) else [output_size]
        sizes = [1 if size is None else size for size in items]
        checked = several(
            sizes[0] if len(sizes) == 1 else sizes, self.dims, type(self).__name__, "output_size", 1
        )
        if min(checked) < 1:
            raise ValueError(f"{type(self).__name__}: output_size is {output_size!r}; expected at least 1")
        self.output_size = tuple(output_size) if isinstance(output_size, list) else output_size

    def extra_repr(self) -> str:
        """Return the size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_Adaptive):
    """The means of windows that divide images into a given number; an output size of 1 is global pooling.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        None: as large as the input.
    """

    dims = 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W)."""
        return functional.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveAvgPool1d(_Adaptive):
    """The means of windows that divide sequences (N, C, L) into `output_size`."""

    dims = 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, L) or (C, L)."""
        return functional.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveMaxPool2d(_Adaptive):
    """The maxima of windows that divide images into a given number; see `AdaptiveAvgPool2d`.

    Parameters
    ----------
    output_size : int or (int or None, int or None)
    return_indices : bool
        Return where the elements are, too: int64 numbers in their image.
    """

    dims = 2

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = bool(return_indices)

    def forward(self, x: Tensor) -> Any:
        """(N, C, H, W) or (C, H, W)."""
        return functional.adaptive_max_pool2d(x, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_Adaptive):
    """The maxima of windows that divide sequences (N, C, L) into `output_size`; see `AdaptiveMaxPool2d`."""

    dims = 1

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = bool(return_indices)

    def forward(self, x: Tensor) -> Any:
        """(N, C, L) or (C, L)."""
        return functional.adaptive_max_pool1d(x, self.output_size, self.return_indices)


class KMaxPool1d(Module):
    """The k largest elements of each channel of sequences (N, C, L), in the order in which they are there: (N, C, k).

    Parameters
    ----------
    k : int
        Sequences must be as long.

    Notes
    -----
    Kalchbrenner, Grefenstette & Blunsom, "A convolutional neural network for modelling sentences", 2014.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = positive_integer(k, "KMaxPool1d", "k")

    def forward(self, x: Tensor) -> Tensor:
        """(..., L) to (..., k)."""
        result: Tensor = functional.k_max_pool1d(x, self.k)
        return result

    def extra_repr(self) -> str:
        """Return k."""
        return f"k={self.k}"


class MaxOverTime(Module):
    """The largest element of each channel over the whole sequence: (N, C, L) to (N, C).

    Notes
    -----
    Collobert et al., "Natural language processing (almost) from scratch", 2011.
    """

    def forward(self, x: Tensor, lengths: Any | None = None) -> Tensor:
        """(N, C, L) to (N, C); `lengths` (N,): how much of each sequence counts."""
        return functional.max_over_time(x, lengths)


class StochasticPool2d(_Window):
    """In training an element of each window, drawn with a probability proportional to it; else their average.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        As for `MaxPool2d`; windows of at most 255 elements.
    ceil_mode : bool
        Let a last window go past the end of the image.

    Notes
    -----
    For activations of 0 or more, as after ReLU; negative ones count as 0. Zeiler & Fergus, "Stochastic pooling for
    regularization of deep convolutional neural networks", 2013.
    """

    dims = 2

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W)."""
        settings = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return functional.stochastic_pool2d(x, *settings, self.training)

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Maxout(Module):
    """The largest of each group of consecutive channels or features, after a layer that has `pieces` times as many.

    Parameters
    ----------
    pieces : int
        How many are a group; divides the extent of `dim`.
    dim : int
        Along which axis.

    Notes
    -----
    Goodfellow et al., "Maxout networks", 2013.

    Examples
    --------
    >>> import numpy as np
    >>> Maxout(5)(np.zeros((64, 240 * 5), np.float32)).shape
    (64, 240)
    """

    def __init__(self, pieces: int, dim: int = 1) -> None:
        super().__init__()
        self.pieces = positive_integer(pieces, "Maxout", "pieces")
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Any shape with the axis `dim`."""
        return functional.maxout(x, self.pieces, self.dim)

    def extra_repr(self) -> str:
        """Return the number of pieces, and the axis if it is not 1."""
        return f"pieces={self.pieces}" + (f", dim={self.dim}" if self.dim != 1 else "")
