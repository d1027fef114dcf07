"""Convolution of what cannot be convolved: a clear error, before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

X = np.zeros((2, 4, 9, 9), np.float32)
W = np.zeros((6, 4, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((X, W[:, :3]), {}, ValueError, "need a weight of 4 channels, not 3"),
        ((X, W), {"groups": 2}, ValueError, "4 channels in 2 groups need a weight of 2 channels, not 4"),
        ((X, W[:, :1]), {"groups": 4}, ValueError, "weight has 6 filters and groups is 4"),
        ((X, W[:, :1]), {"groups": 3}, ValueError, "a fraction of channels"),
        ((X, W), {"groups": 0}, ValueError, "groups is 0; expected 1 or more"),
        ((X, W), {"groups": 1.5}, TypeError, "groups is a float"),
        ((X, W), {"stride": 0}, ValueError, "stride is 0; expected 1 or more"),
        ((X, W), {"stride": -1}, ValueError, "stride is -1"),
        ((X, W), {"stride": (1, 2, 3)}, TypeError, "an integer or 2 of them"),
        ((X, W), {"dilation": 0}, ValueError, "dilation is 0"),
        ((X, W), {"padding": -1}, ValueError, "padding is -1; expected 0 or more"),
        ((X, W), {"padding": 2**40}, ValueError, "padding is 1099511627776; expected 0 to 2147483647"),
        ((X, W), {"padding": 2**70}, TypeError, "integer of 64 bits"),
        ((X, W), {"padding": "all"}, ValueError, "padding is 'all'"),
        ((X, W), {"padding": "same", "stride": 2}, ValueError, "expected a stride of 1 with it"),
        ((X[:, :, :2], W), {}, ValueError, "the kernel's height is 3 but the input's is 2"),
        ((X, W), {"dilation": (1, 5)}, ValueError, r"width is 11 \(dilated\) but the input's is 9"),
        ((X[:, :, :0], W), {"padding": 1}, ValueError, "height is 3 but the padded input's is 2"),
        ((X[0], W), {}, ValueError, r"x is \(4, 9, 9\); expected \(N, channels, height, width\)"),
        ((X, W[0]), {}, ValueError, r"weight is \(4, 3, 3\); expected \(filters"),
        ((X, W, np.zeros(5, np.float32)), {}, ValueError, r"bias is \(5,\); expected \(6,\)"),
        ((X, W.astype(np.float64)), {}, TypeError, "weight is float64 but x is float32"),
        ((X.astype(np.int32), W), {}, TypeError, "dtype int32"),
        (("image", W), {}, TypeError, "x is a str"),
        ((X, W), {"activation": "tanh"}, ValueError, "activation is 'tanh'; expected None or 'relu'"),
        ((X, W), {"variant": "im2cal"}, ValueError, "did you mean 'im2col'"),
        ((X, W), {"out": np.empty((2, 6, 7, 8), np.float32)}, ValueError, r"expected \(2, 6, 7, 7\)"),
        ((X, np.zeros((6, 4, 0, 3), np.float32)), {}, ValueError, "kernel height is 0"),
    ],
)
def test_refused(arguments: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        K.conv2d(*arguments, **settings)
    assert str(raised.value).startswith("conv2d: ")


def test_an_output_that_no_address_can_count() -> None:
    x = np.zeros((1, 1, 1, 1), np.float32)
    with pytest.raises(ValueError, match="no more bytes than an address can count"):
        K.conv2d(x, np.zeros((4, 1, 1, 1), np.float32), padding=2**31 - 1)


def test_memory_that_is_not_there() -> None:
    x = np.zeros((1, 1, 1, 1), np.float32)
    with pytest.raises(MemoryError):
        K.conv2d(x, np.zeros((1, 1, 1, 1), np.float32), padding=2**29)


def test_gradients_of_another_shape() -> None:
    grad = np.zeros((2, 6, 7, 7), np.float32)
    with pytest.raises(
        ValueError, match=r"grad is \(2, 6, 7, 7\); expected \(2, 6, 6, 7\), the shape of the output"
    ):
        K.conv2d_backward_input(grad, W, (8, 9))
    with pytest.raises(ValueError, match="the shape of the output"):
        K.conv2d_backward_weight(grad, X, (3, 2))
    with pytest.raises(ValueError, match="needs out and out_bias"):
        K.conv2d_backward_weight(grad, X, (3, 3), out=W.copy(), accumulate=True)
    with pytest.raises(TypeError, match=r"input_size is 3\.5"):
        K.conv2d_backward_input(grad, W, 3.5)  # type: ignore[arg-type]


def test_outputs_that_overlap() -> None:
    x = np.zeros((1, 1, 8, 8), np.float32)
    weight = np.ones((1, 1, 1, 1), np.float32)
    with pytest.raises(ValueError, match="out overlaps x"):
        K.conv2d(x, weight, out=x)
    with pytest.raises(ValueError, match="out overlaps weight"):
        K.conv2d(np.ones((1, 1, 1, 1), np.float32), weight, out=weight)


@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_that_overlap_what_is_read(with_bias: bool) -> None:
    memory = np.zeros(6 * 4 * 9 + 6, np.float32)
    out, out_bias = memory[: 6 * 4 * 9].reshape(6, 4, 3, 3), memory[-7:-1]  # one element in common
    grad = np.ones((2, 6, 7, 7), np.float32)
    settings = {"out": out, "with_bias": with_bias}
    if with_bias:
        with pytest.raises(
            ValueError, match="conv2d_backward_weight: out_bias overlaps out; expected memory of its"
        ):
            K.conv2d_backward_weight(grad, X, (3, 3), **settings, out_bias=out_bias)
        with pytest.raises(ValueError, match="out_bias overlaps grad"):
            K.conv2d_backward_weight(grad, X, (3, 3), **settings, out_bias=grad.reshape(-1)[:6])
    K.conv2d_backward_weight(grad, X, (3, 3), **settings, out_bias=memory[-6:] if with_bias else None)
    assert (memory[-6:] == (98 if with_bias else 0)).all()


def test_gradients_that_overlap_places() -> None:
    grad = np.ones((2, 6, 3, 3), np.float32)
    memory = np.zeros(2 * 4 * 81 + 27, np.float32)
    places = memory[-27:].view(np.uint8)[: grad.size].reshape(grad.shape)
    dx, dweight = memory[27:].reshape(X.shape), memory[-W.size :].reshape(W.shape)
    with pytest.raises(ValueError, match="conv2d_max_pool_backward_input: out overlaps places"):
        K.conv2d_max_pool_backward_input(grad, places, W, (9, 9), out=dx, variant="places")
    with pytest.raises(ValueError, match="conv2d_max_pool_backward_weight: out overlaps places"):
        K.conv2d_max_pool_backward_weight(grad, places, X, (3, 3), out=dweight, variant="places")


def test_gradients_of_the_largest_over_time_that_overlap() -> None:
    x, weight = np.ones((2, 8, 4), np.float32), np.ones((3, 4, 2), np.float32)
    y, place = K.conv1d_max(x, weight)
    out = np.zeros(weight.shape, np.float32)
    with pytest.raises(ValueError, match="conv1d_max_backward: out_bias overlaps out"):
        K.conv1d_max_backward(y, place, x, weight, out=out, out_bias=out.reshape(-1)[:3])


@pytest.mark.parametrize("true", [1, np.True_, "yes"])
def test_what_counts_as_true(true: Any) -> None:
    grad = np.ones((2, 6, 7, 7), np.float32)
    out, out_bias = np.ones_like(W), np.ones(6, np.float32)
    K.conv2d_backward_weight(grad, X, (3, 3), out=out, out_bias=out_bias, with_bias=true, accumulate=true)
    assert (out_bias == 99).all()
