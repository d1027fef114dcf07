"""csrc/conv/conv_pool.cpp: convolution and max-pooling in one pass, held to the two one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import run

import dlkit as dl
import dlkit.kernels as K
from dlkit import nn

FORWARD = [None, *(v.name for v in K.variants("conv2d"))]
WINDOWS: list[tuple[Any, ...]] = [
    (2,),
    (3, 2, 1),
    (2, 2, 0, 1, True),
    ((2, 3), (1, 2), (0, 1), (2, 1)),
    (4,),
]


def two(
    x: Any, weight: Any, bias: Any, settings: Any, window: Any, activation: Any, variant: Any = None
) -> Any:
    """The result and places by the two operations."""
    dims = x.ndim - 2
    conv, pool = (K.conv1d, K.max_pool1d) if dims == 1 else (K.conv2d, K.max_pool2d)
    between = conv(x, weight, bias, **settings, variant=variant)
    names = ("stride", "padding", "dilation", "ceil_mode")
    more = dict(zip(names, window[1:], strict=False))
    return pool(between, window[0], **more, return_indices="places", activation=activation)


@pytest.mark.parametrize("variant", FORWARD)
def test_the_same_bits(
    variant: str | None, case: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x, weight, bias = case.arrays(rng, dtype)
    out = run(K.conv2d, x, weight, bias, **case.settings, variant=variant)
    for number, window in enumerate(WINDOWS):
        activation = (None, "relu")[(number + threads) % 2]
        reach = np.broadcast_to(window[0], 2) * (2 if len(window) > 3 and window[3] != 1 else 1)
        if min(out.shape[2:] - reach) < 0:
            continue
        expected, where = two(x, weight, bias, case.settings, window, activation, variant)
        got, places = K.conv2d_max_pool(
            x,
            weight,
            bias,
            **case.settings,
            window=window,
            return_places=True,
            activation=activation,
            variant=variant,
        )
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(places, where)
        assert places.dtype == np.uint8
        alone = K.conv2d_max_pool(
            x, weight, bias, **case.settings, window=window, activation=activation, variant=variant
        )
        np.testing.assert_array_equal(alone, expected)


# Several images in a block, with a rest; an image in parts of its filters; by groups; a plane larger than a block.
@pytest.mark.parametrize(
    ("size", "filters", "kernel", "groups"),
    [
        ((67, 1, 28, 28), 20, 5, 1),
        ((3, 2, 70, 70), 65, 3, 1),
        ((2, 6, 150, 150), 120, 3, 6),
        ((1, 1, 400, 340), 23, 3, 1),
        ((1, 1, 1500, 1500), 2, 1, 1),
        ((1, 3, 16, 16), 5, 3, 1),
    ],
    ids=str,
)
def test_blocks(
    size: Any, filters: int, kernel: int, groups: int, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(size).astype(dtype)
    weight = rng.standard_normal((filters, size[1] // groups, kernel, kernel)).astype(dtype)
    bias = rng.standard_normal(filters).astype(dtype)
    settings = {"groups": groups}
    variant = K.variants("conv2d")[2].name
    expected, where = two(x, weight, bias, settings, (2,), "relu", variant)
    got, places = K.conv2d_max_pool(
        x, weight, bias, groups=groups, return_places=True, activation="relu", variant=variant
    )
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(places, where)
    expected, where = two(x, weight, bias, settings, (2,), None)
    got, places = K.conv2d_max_pool(x, weight, bias, groups=groups, return_places=True)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(places, where)


def test_sequences(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 6, 41)).astype(dtype)
    weight, bias = rng.standard_normal((8, 3, 4)).astype(dtype), rng.standard_normal(8).astype(dtype)
    settings = {"stride": 1, "padding": 2, "dilation": 2, "groups": 2}
    for window in ((2,), (3, 2, 1, 1, True)):
        expected, where = two(x, weight, bias, settings, window, "relu")
        got, places = K.conv1d_max_pool(
            x, weight, bias, **settings, window=window, return_places=True, activation="relu"
        )
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(places, where)


def test_nan_and_ties(dtype: Any) -> None:
    x = np.zeros((1, 1, 9, 9), dtype)
    x[0, 0, 4, 5] = np.nan
    x[0, 0, 0, 0] = -np.inf
    weight = np.ones((1, 1, 1, 1), dtype)
    for activation in (None, "relu"):
        expected, where = two(x, weight, None, {}, (2,), activation)
        got, places = K.conv2d_max_pool(x, weight, return_places=True, activation=activation)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(places, where)


def test_out_and_other_strides(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((2, 3, 9, 9)), rng.standard_normal((4, 3, 3, 3))
    expected = K.conv2d_max_pool(x, weight)
    out = np.empty_like(expected)
    assert K.conv2d_max_pool(x, weight, out=out) is out
    np.testing.assert_array_equal(out, expected)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(K.conv2d_max_pool(turned, weight), expected)


def test_nothing() -> None:
    weight, bias = np.ones((4, 3, 3, 3)), np.arange(4.0)
    y, places = K.conv2d_max_pool(np.ones((0, 3, 9, 9)), weight, bias, return_places=True)
    assert y.shape == places.shape == (0, 4, 3, 3)
    assert K.conv2d_max_pool(np.ones((2, 3, 9, 9)), weight[:0]).shape == (2, 0, 3, 3)
    y = K.conv2d_max_pool(np.ones((2, 0, 9, 9)), np.ones((4, 0, 3, 3)), bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 4, 3, 3)))


X, W = np.ones((2, 3, 9, 9), np.float32), np.ones((4, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("args", "settings", "error", "message"),
    [
        ((X, W[:, :2]), {}, ValueError, "conv2d_max_pool: x is .* 3 channels in 1 group"),
        ((X, W.astype(np.float64)), {}, TypeError, "conv2d_max_pool: weight is float64 but x is float32"),
        ((X, W), {"window": (8,)}, ValueError, "conv2d_max_pool: the window's height is 8 but the input's is 7"),
        ((X, W), {"window": (2, 0)}, ValueError, "conv2d_max_pool: stride is 0; expected 1 or more"),
        ((X, W), {"window": (2, 2, 2)}, ValueError, "conv2d_max_pool: padding is 2 and the window's extent 2"),
        ((X, W), {"window": 2}, TypeError, r"conv2d_max_pool: window is 2; expected \(kernel_size,\)"),
        ((X, W), {"window": ("a",)}, TypeError, "conv2d_max_pool: kernel_size is 'a'"),
        ((X, W), {"stride": 0}, ValueError, "conv2d_max_pool: stride is 0"),
        ((X, W), {"activation": "tanh"}, ValueError, "conv2d_max_pool: activation is 'tanh'"),
        ((X, W), {"variant": "wino"}, ValueError, "conv2d_max_pool: variant is 'wino'; expected None or one of"),
        ((X, W), {"variant": "pointwise"}, ValueError, "conv2d_max_pool: variant 'pointwise' needs"),
        ((X, W, np.ones(3, np.float32)), {}, ValueError, r"conv2d_max_pool: bias is \(3,\); expected \(4,\)"),
        ((X, W), {"out": np.empty((2, 4, 3, 4), np.float32)}, ValueError, "conv2d_max_pool: out is"),
        ((X[0], W), {}, ValueError, "conv2d_max_pool: x is"),
        (([1.0], W), {}, TypeError, "conv2d_max_pool"),
    ],
)  # fmt: skip
def test_errors(args: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        K.conv2d_max_pool(*args, **settings)


def test_a_window_of_too_many_places() -> None:
    x, weight = np.ones((1, 1, 20, 20)), np.ones((1, 1, 1, 1))
    with pytest.raises(
        ValueError, match="conv2d_max_pool: the window has 16 x 16 elements; expected at most 255"
    ):
        K.conv2d_max_pool(x, weight, window=(16,), return_places=True)
    assert K.conv2d_max_pool(x, weight, window=(16,)).shape == (1, 1, 1, 1)


# --- the gradients ----------------------------------------------------------------------------------------------------


def close(got: Any, expected: Any, dtype: Any) -> None:
    scale = max(float(np.abs(expected).max(initial=0)), 1e-30)
    assert np.abs(got - expected).max(initial=0) <= scale * (2e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("window", WINDOWS[:4], ids=str)
def test_gradients_from_places(
    window: Any, case: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x, weight, bias = case.arrays(rng, dtype)
    try:
        y, places = K.conv2d_max_pool(
            x, weight, bias, **case.settings, window=window, return_places=True, activation="relu"
        )
    except ValueError as error:
        if "expected a window that fits" not in str(error):
            raise
        pytest.skip(str(error))
    grad = rng.standard_normal(y.shape).astype(dtype)
    settings = {**case.settings, "window": window}
    size, kernel = x.shape[2:], weight.shape[2:]
    expected = K.conv2d_max_pool_backward_input(grad, places, weight, size, **settings, variant="dense")
    close(K.conv2d_max_pool_backward_input(grad, places, weight, size, **settings), expected, dtype)
    wanted = K.conv2d_max_pool_backward_weight(grad, places, x, kernel, **settings, variant="dense")
    for got, by in zip(
        K.conv2d_max_pool_backward_weight(grad, places, x, kernel, **settings), wanted, strict=True
    ):
        close(got, by, dtype)
    try:
        got = K.conv2d_max_pool_backward_input(grad, places, weight, size, **settings, variant="places")
    except ValueError as error:
        assert case.groups > 1 or case.dilation[1] > 1 or case.channels * case.height * case.width > 100_000
        assert "variant 'places' needs" in str(error)  # noqa: PT017
        return
    close(got, expected, dtype)
    sparse = {**settings, "variant": "places"}
    dweight, dbias = K.conv2d_max_pool_backward_weight(grad, places, x, kernel, **sparse)
    close(dweight, wanted[0], dtype)
    close(dbias, wanted[1], dtype)
    alone, none = K.conv2d_max_pool_backward_weight(grad, places, x, kernel, **sparse, with_bias=False)
    assert none is None
    np.testing.assert_array_equal(alone, dweight)
    out, out_bias = dweight.copy(), dbias.copy()
    K.conv2d_max_pool_backward_weight(
        grad, places, x, kernel, **sparse, out=out, out_bias=out_bias, accumulate=True
    )
    close(out, 2 * dweight, dtype)
    close(out_bias, 2 * dbias, dtype)


@pytest.mark.parametrize(
    ("size", "filters", "kernel", "padding"),
    [
        ((5, 20, 12, 12), 50, 5, 0),
        ((3, 1, 28, 28), 20, 5, 2),
        ((2, 67, 9, 8), 35, 3, 1),
        ((3, 130, 6, 6), 7, 4, 0),
    ],
    ids=str,
)
def test_gradients_of_many_registers(
    size: Any, filters: int, kernel: int, padding: int, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(size).astype(dtype)
    weight = rng.standard_normal((filters, size[1], kernel, kernel)).astype(dtype)
    y, places = K.conv2d_max_pool(x, weight, padding=padding, return_places=True, activation="relu")
    grad = rng.standard_normal(y.shape).astype(dtype)
    results = []
    for variant in ("places", "dense"):
        settings = {"padding": padding, "variant": variant}
        dx = K.conv2d_max_pool_backward_input(grad, places, weight, size[2:], **settings)
        dweight, dbias = K.conv2d_max_pool_backward_weight(grad, places, x, (kernel, kernel), **settings)
        results.append((dx, dweight, dbias))
        again = K.conv2d_max_pool_backward_weight(grad, places, x, (kernel, kernel), **settings)
        np.testing.assert_array_equal(again[0], dweight)
    for got, expected in zip(*results, strict=True):
        close(got, expected, dtype)


def test_places_of_another_call(dtype: Any, rng: np.random.Generator) -> None:
    # Any bytes: nothing is read or written outside, and what is no place has no gradient.
    x, weight = (
        rng.standard_normal((3, 4, 8, 9)).astype(dtype),
        rng.standard_normal((5, 4, 3, 3)).astype(dtype),
    )
    for window in ((2,), (3, 2, 1), (2, 2, 0, 1, True)):
        y = K.conv2d_max_pool(x, weight, window=window)
        places = rng.integers(0, 256, y.shape, dtype=np.uint8)
        places[0] = 255
        places[1] %= 9
        grad = rng.standard_normal(y.shape).astype(dtype)
        results = []
        for variant in ("places", "dense"):
            settings = {"window": window, "variant": variant}
            dx = K.conv2d_max_pool_backward_input(grad, places, weight, (8, 9), **settings)
            assert not dx[0].any()
            results.append((dx, *K.conv2d_max_pool_backward_weight(grad, places, x, (3, 3), **settings)))
        for got, expected in zip(*results, strict=True):
            close(got, expected, dtype)


def test_gradients_of_sequences(dtype: Any, rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((3, 6, 40)).astype(dtype), rng.standard_normal((9, 6, 5)).astype(dtype)
    y, places = K.conv1d_max_pool(x, weight, padding=2, return_places=True)
    grad = rng.standard_normal(y.shape).astype(dtype)
    results = []
    for variant in ("places", "dense", None):
        settings = {"padding": 2, "variant": variant}
        dx = K.conv1d_max_pool_backward_input(grad, places, weight, 40, **settings)
        results.append((dx, *K.conv1d_max_pool_backward_weight(grad, places, x, 5, **settings)))
    for got, expected, default in zip(*results, strict=True):
        close(got, expected, dtype)
        close(default, expected, dtype)


def test_gradients_of_nothing() -> None:
    weight, places = np.ones((4, 3, 3, 3)), np.zeros((0, 4, 3, 3), np.uint8)
    grad = np.ones(places.shape)
    assert K.conv2d_max_pool_backward_input(grad, places, weight, (9, 9)).shape == (0, 3, 9, 9)
    dweight, dbias = K.conv2d_max_pool_backward_weight(grad, places, np.ones((0, 3, 9, 9)), (3, 3))
    assert not dweight.any()
    assert not dbias.any()
    with pytest.raises(ValueError, match="variant 'places' needs elements"):
        K.conv2d_max_pool_backward_input(grad, places, weight, (9, 9), variant="places")


GRAD, PLACES = np.ones((2, 4, 3, 3), np.float32), np.zeros((2, 4, 3, 3), np.uint8)


@pytest.mark.parametrize("variant", [None, "places"])
@pytest.mark.parametrize(
    ("args", "settings", "error", "message"),
    [
        ((GRAD[:, :, :2], PLACES), {}, ValueError, r"grad is \(2, 4, 2, 3\)"),
        ((GRAD, PLACES[:1]), {}, ValueError, r"is \(1, 4, 3, 3\); expected \(2, 4, 3, 3\)"),
        ((GRAD, PLACES.astype(np.int64)), {}, TypeError, "places is int64; expected an array of uint8"),
        ((GRAD, [1]), {}, TypeError, "places is list; expected an array of uint8"),
        ((GRAD.astype(np.float64), PLACES), {}, TypeError, "is float32 but grad is float64"),
        ((GRAD[0], PLACES), {}, ValueError, r"grad is \(4, 3, 3\)"),
        ((GRAD, PLACES), {"window": 2}, TypeError, "window is 2"),
        ((GRAD, PLACES), {"window": (9,)}, ValueError, "the window's height is 9"),
        ((GRAD, PLACES), {"padding": -1}, ValueError, "padding is -1"),
    ],
)
def test_errors_of_gradients(variant: Any, args: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        K.conv2d_max_pool_backward_input(*args, W, (9, 9), **settings, variant=variant)
    with pytest.raises(error, match=message):
        K.conv2d_max_pool_backward_weight(*args, X, (3, 3), **settings, variant=variant)


def test_an_unknown_variant_of_a_gradient() -> None:
    for call, other, size in (
        (K.conv2d_max_pool_backward_input, W, (9, 9)),
        (K.conv2d_max_pool_backward_weight, X, (3, 3)),
    ):
        with pytest.raises(ValueError, match="variant is 'sparse'; expected None, 'places' or 'dense'"):
            call(GRAD, PLACES, other, size, variant="sparse")
    with pytest.raises(ValueError, match="accumulate=True needs out and out_bias"):
        K.conv2d_max_pool_backward_weight(GRAD, PLACES, X, (3, 3), variant="places", accumulate=True)


# --- nn ---------------------------------------------------------------------------------------------------------------


def layers(dims: int, dtype: Any, relu: bool, window: int = 2) -> tuple[nn.Module, ...]:
    conv, pool = (nn.Conv1d, nn.MaxPool1d) if dims == 1 else (nn.Conv2d, nn.MaxPool2d)
    between = (nn.ReLU(),) if relu else ()
    return conv(3, 5, 3, padding=1, dtype=dtype), *between, pool(window)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("batched", [True, False])
def test_sequential_is_as_its_modules(
    dims: int, relu: bool, window: int, batched: bool, dtype: Any, rng: np.random.Generator
) -> None:
    modules = layers(dims, dtype, relu, window)
    data = rng.standard_normal(((4,) if batched else ()) + (3, 11, 9)[: dims + 1]).astype(dtype)
    results = []
    for forward in (nn.Sequential(*modules), None):
        x = dl.tensor(data, requires_grad=True)
        y = x
        if forward is not None:
            y = forward(x)
            assert "max_pool" in repr(y._node)
            assert "conv" in repr(y._node)
        else:
            for module in modules:
                y = module(y)
        for parameter in modules[0].parameters():
            parameter.grad = None
        weights = np.arange(1, y.numpy().size + 1, dtype=dtype).reshape(y.shape) % 7
        (y * dl.tensor(weights)).sum().backward()
        results.append([y.numpy(), x.grad.numpy(), *(p.grad.numpy() for p in modules[0].parameters())])
    np.testing.assert_array_equal(results[0][0], results[1][0])
    for fused, apart in zip(*results, strict=True):
        close(fused, apart, dtype)


@pytest.mark.parametrize("sparse", [True, False])
def test_gradients_by_differences(
    sparse: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlkit.nn.conv_functional.from_places", lambda *shape: (sparse, sparse))
    model = nn.Sequential(*layers(2, np.float64, True))
    x = dl.tensor(rng.standard_normal((2, 3, 7, 6)), requires_grad=True)
    factors = dl.tensor(rng.standard_normal((2, 5, 3, 3)))

    def value() -> float:
        with dl.no_grad():
            return float((model(x) * factors).sum().numpy())

    (model(x) * factors).sum().backward()
    for tensor in (x, *model.parameters()):
        flat, grad = tensor.numpy().reshape(-1), tensor.grad.numpy().reshape(-1)
        for i in rng.choice(flat.size, size=min(flat.size, 12), replace=False):
            before, step = flat[i], 1e-6
            flat[i] = before + step
            above = value()
            flat[i] = before - step
            below = value()
            flat[i] = before
            assert abs((above - below) / (2 * step) - grad[i]) < 1e-6 * max(1, abs(grad[i]))


def test_inference_and_training_are_alike(rng: np.random.Generator) -> None:
    model = nn.Sequential(*layers(2, np.float32, True))
    x = rng.standard_normal((5, 3, 12, 12), dtype=np.float32)
    with dl.no_grad():
        without = model(x).numpy()
    np.testing.assert_array_equal(model(x).numpy(), without)


def test_windows_too_large_for_a_byte_train_all_the_same(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(16))
    x = dl.tensor(rng.standard_normal((2, 1, 34, 34), dtype=np.float32), requires_grad=True)
    model(x).sum().backward()
    assert np.count_nonzero(x.grad.numpy()) <= 2 * 2 * 4 * 9
    assert x.grad.numpy().any()


def test_a_module_that_is_watched_is_called(rng: np.random.Generator) -> None:
    model = nn.Sequential(*layers(2, np.float32, True))
    seen = []
    model[0].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    x = rng.standard_normal((2, 3, 8, 8), dtype=np.float32)
    y = model(x)
    assert seen == [(2, 5, 8, 8)]
    assert y.shape == (2, 5, 4, 4)
