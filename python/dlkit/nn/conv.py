"""Convolutional layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from dlkit.autograd.tensor import Tensor
from dlkit.kernels.conv import conv_geometry
from dlkit.kernels.integers import integers
from dlkit.nn import functional, init
from dlkit.nn.linear import positive_integer
from dlkit.nn.module import Module, float_dtype
from dlkit.nn.parameter import Parameter


class _Conv(Module):
    # What Conv1d and Conv2d share: all but the number of dimensions.

    dims: int
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = positive_integer(in_channels, name, "in_channels")
        self.out_channels = positive_integer(out_channels, name, "out_channels")
        self.groups = positive_integer(groups, name, "groups")
        for argument, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise ValueError(
                    f"{name}: {argument} is {channels} and groups is {self.groups}; expected groups that divide it"
                )
        self.kernel_size = self._sizes(kernel_size, "kernel_size", 1)
        self.stride = self._sizes(stride, "stride", 1)
        self.dilation = self._sizes(dilation, "dilation", 1)
        self.padding = padding if isinstance(padding, str) else self._sizes(padding, "padding", 0)
        # Raises here what the first input would otherwise.
        conv_geometry(
            name, self.dims, self.kernel_size, (self.stride, self.padding, self.dilation, self.groups)
        )
        kind = float_dtype(dtype, name)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, kind))
        if bias:
            self.bias = Parameter(np.empty(self.out_channels, kind))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _sizes(self, value: Any, argument: str, least: int) -> tuple[int, ...]:
        name = type(self).__name__
        sizes = tuple(integers(value, self.dims, name, argument))
        if min(sizes) < least:
            raise ValueError(f"{name}: {argument} is {value!r}; expected at least {least}")
        return sizes

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / prod(self.weight.shape[1:]) ** 0.5
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def convolve(self, x: Tensor, activation: str | None = None) -> Tensor:
        """Return the output, with an activation in the same kernel."""
        operation = functional.conv2d if self.dims == 2 else functional.conv1d
        settings = (self.stride, self.padding, self.dilation, self.groups)
        return operation(x, self.weight, self.bias, *settings, activation)

    def convolve_and_pool(self, x: Tensor, window: tuple[Any, ...], activation: str | None = None) -> Tensor:
        """Return the output max-pooled, with an activation between, in one pass; see `functional.conv2d_max_pool`."""
        operation = functional.conv2d_max_pool if self.dims == 2 else functional.conv1d_max_pool
        settings = (self.stride, self.padding, self.dilation, self.groups)
        return operation(x, self.weight, self.bias, *settings, window, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, ...) to (N, out_channels, ...)."""
        return self.convolve(x)

    def extra_repr(self) -> str:
        """Return sizes, and the settings that are not the default."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        ones = (1,) * self.dims
        for name, value, default in (
            ("padding", self.padding, (0,) * self.dims),
            ("dilation", self.dilation, ones),
            ("groups", self.groups, 1),
            ("bias", self.bias is not None, True),
        ):
            if value != default:
                text += f", {name}={value!r}"
        return text


class Conv2d(_Conv):
    """Convolution of images: each of `out_channels` filters with all places of all channels.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the input, and filters.
    kernel_size, stride, dilation : int or (int, int)
        Vertical first.
    padding : int, (int, int), "valid" or "same"
        Zeros around the image; "same" keeps its size, with a stride of 1.
    groups : int
        Channels and filters in so many groups that do not see each other.
    bias : bool
        Whether a number is added for each filter.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter of shape (out_channels, in_channels / groups, KH, KW)
    bias : Parameter of shape (out_channels,) or None
        Both from U(-k, k) with k = 1 / sqrt(in_channels / groups KH KW) at the start, as in PyTorch.

    Notes
    -----
    Inputs are (N, in_channels, H, W) or (in_channels, H, W). In `Sequential` a ReLU that follows is part of the kernel,
    and so is a max-pooling.

    Examples
    --------
    >>> Conv2d(1, 20, 5)(np.zeros((64, 1, 28, 28), np.float32)).shape
    (64, 20, 24, 24)
    """

    dims = 2


class Conv1d(_Conv):
    """Convolution of sequences (N, in_channels, L); parameters and attributes as for `Conv2d`, in one dimension."""

    dims = 1
