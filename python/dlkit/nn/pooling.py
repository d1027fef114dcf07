"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit.autograd.tensor import Tensor
from dlkit.kernels.pool import several
from dlkit.nn import functional
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

    def forward(self, x: Tensor) -> Any:
        """(N, C, ...) or (C, ...)."""
        operation = functional.max_pool2d if self.dims == 2 else functional.max_pool1d
        settings = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return operation(x, *settings, self.return_indices)


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
