"""python/dlkit/kernels/device_layers.py: what the CPU's kernels compute, of arrays of any layout, with its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

SHAPES = [(), (0,), (5,), (3, 7), (2, 3, 4), (0, 4)]


def _tolerance(dtype: Any) -> dict[str, float]:
    return {"rtol": 2e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}


def _same(got: Any, expected: Any) -> None:
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got.get(), expected, **_tolerance(expected.dtype))


@pytest.fixture
def draw(rng: np.random.Generator, dtype: Any) -> Callable[..., Any]:
    return lambda *shape: np.asarray(rng.normal(size=shape)).astype(dtype)


@pytest.mark.parametrize("kind", K.ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_activations(simt: Any, draw: Any, kind: str, shape: Any) -> None:
    x, g = draw(*shape), draw(*shape)
    y = K.activation(x, kind)
    _same(K.activation(simt.array(x), kind), y)
    expected = K.activation_backward(g, kind, x=x, y=y)
    _same(K.activation_backward(simt.array(g), kind, x=simt.array(x), y=simt.array(y)), expected)
    if kind in ("relu", "tanh"):
        _same(K.activation_backward(simt.array(g), kind, x=simt.array(x)), expected)
        _same(getattr(K, kind)(simt.array(x)), y)


@pytest.mark.parametrize("shape", [(0, 4), (5,), (3, 7), (2, 3, 4), (1, 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(simt: Any, draw: Any, name: str, shape: Any) -> None:
    x, g = draw(*shape), draw(*shape)
    y = getattr(K, name)(x)
    _same(getattr(K, name)(simt.array(x)), y)
    _same(getattr(K, f"{name}_backward")(simt.array(g), simt.array(y)), getattr(K, f"{name}_backward")(g, y))


def test_layouts(simt: Any, draw: Any) -> None:
    x = draw(4, 6)
    for view in (
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: a[:, ::2],
        lambda a: a[1:, 1:],
        lambda a: a[:, :1],
    ):
        _same(K.tanh(view(simt.array(x))), K.tanh(view(x)))
        _same(K.softmax(view(simt.array(x))), K.softmax(view(x)))
        _same(K.column_sum(view(simt.array(x))), K.column_sum(view(x)))
        out = simt.array(np.zeros((8, 12), x.dtype))
        place = out[: view(x).shape[0], 1::2][:, : view(x).shape[1]]
        assert K.softmax(view(simt.array(x)), out=place) is place
        _same(place, K.softmax(view(x)))
        assert np.count_nonzero(out.get()) == view(x).size


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(simt: Any, draw: Any, reduction: str, smoothing: float) -> None:
    x = draw(6, 5)
    labels = np.array([0, 4, -100, 2, 1, 1])
    settings: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing, "grad_scale": 2.0}
    losses, grad = K.cross_entropy(x, labels, **settings)
    for numbers in (labels, labels.astype(np.int32)):
        got, got_grad = K.cross_entropy(simt.array(x), simt.array(numbers), **settings)
        _same(got, losses)
        _same(got_grad, grad)
    assert K.cross_entropy(simt.array(x), simt.array(labels), need_grad=False)[1] is None
    in_place = simt.array(x)
    assert K.cross_entropy(in_place, simt.array(labels), out=in_place, **settings)[1] is in_place
    _same(in_place, grad)
    for empty in (x[:0],):
        expected, _ = K.cross_entropy(empty, labels[:0], **settings)
        _same(K.cross_entropy(simt.array(empty), simt.array(labels[:0]), **settings)[0], expected)


def test_a_label_out_of_range_gives_nan_where_it_is(simt: Any, draw: Any) -> None:
    losses, grad = K.cross_entropy(simt.array(draw(3, 4)), simt.array([1, 4, -1]))
    np.testing.assert_array_equal(np.isnan(losses.get()), [False, True, True])
    np.testing.assert_array_equal(np.isnan(grad.get()).all(axis=1), [False, True, True])


def test_dropout_draws_the_same_numbers(simt: Any, draw: Any) -> None:
    x = draw(5, 13)
    for p in (0.0, 0.3, 1.0):
        got = K.dropout(simt.array(x), p, seed=7, offset=12)
        np.testing.assert_array_equal(got.get() == 0, K.dropout(x, p, seed=7, offset=12) == 0)
        _same(got, K.dropout(x, p, seed=7, offset=12))


def test_column_sum(simt: Any, draw: Any) -> None:
    for shape in ((5, 3), (0, 3), (3, 0), (1, 1)):
        x = draw(*shape)
        _same(K.column_sum(simt.array(x)), K.column_sum(x))
        out, there = draw(shape[1]), None
        there = simt.array(out)
        K.column_sum(simt.array(x), out=there, accumulate=True)
        _same(there, K.column_sum(x, out=out, accumulate=True))


@pytest.mark.parametrize("strided", [False, True])
def test_optimizers(simt: Any, draw: Any, strided: bool) -> None:
    shapes = [(3, 4), (5,), (), (0, 3), (33, 7)]
    lists = [[draw(*shape) for shape in shapes] for _ in range(4)]
    lists[3] = [np.asarray(np.abs(array)) for array in lists[3]]

    def spread(array: Any) -> Any:
        return simt.array(np.stack([array, array], axis=-1))[..., 0] if strided else simt.array(array)

    moved = [[spread(array) for array in arrays] for arrays in lists]
    for step in (1, 2):
        K.adam_step(*lists, step=step, lr=0.1, weight_decay=0.01)
        K.adam_step(*moved, step=step, lr=0.1, weight_decay=0.01)
    for nesterov in (False, True):
        K.sgd_step(*lists[:3], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
        K.sgd_step(*moved[:3], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    K.sgd_step(lists[0], lists[1], None, lr=0.1)
    K.sgd_step(moved[0], moved[1], None, lr=0.1)
    for arrays, theirs in zip(lists, moved, strict=True):
        for array, there in zip(arrays, theirs, strict=True):
            np.testing.assert_allclose(there.get(), array, rtol=1e-4, atol=1e-5)


def test_gradients_are_clipped_without_leaving_the_device(simt: Any, draw: Any) -> None:
    arrays = [draw(3, 4), draw(5), draw(0)]
    moved = [simt.array(array) for array in arrays]
    total = K.sum_squares(moved)
    assert isinstance(total, simt.SimtArray)
    assert (total.shape, total.dtype) == ((), np.float64)
    np.testing.assert_allclose(total.get(), K.sum_squares(arrays), rtol=1e-6)
    for limit in (0.5, 100.0):
        factor = K.clip_factor(total, limit)
        np.testing.assert_allclose(factor.get(), K.clip_factor(K.sum_squares(arrays), limit), rtol=1e-6)
    K.scale_inplace(moved, factor := K.clip_factor(total, 0.5))
    K.scale_inplace(arrays, float(factor))
    K.clamp_inplace(moved, 0.1)
    K.clamp_inplace(arrays, 0.1)
    for array, there in zip(arrays, moved, strict=True):
        _same(there, array)
    nan = [simt.array(np.array([np.nan]))]
    assert np.isnan(K.clip_factor(K.sum_squares(nan), 1.0).get())
    K.scale_inplace([], 2.0)
    K.clamp_inplace([], 2.0)


def test_errors(simt: Any) -> None:
    a, b = simt.ones((3, 4)), simt.ones((4, 3))
    f = simt.ones((3, 4), np.float32)
    labels = simt.array([0, 1, 2])
    one = [simt.ones(3)]
    cases: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (
            TypeError,
            "activation: x has dtype int64; expected float32 or float64",
            lambda: K.relu(simt.array([1])),
        ),
        (
            ValueError,
            r"activation: out is \(4, 3\); expected \(3, 4\)",
            lambda: K.activation(a, "relu", out=b),
        ),
        (
            TypeError,
            "activation: out has dtype float32; expected float64",
            lambda: K.activation(a, "relu", out=f),
        ),
        (ValueError, "activation: out overlaps x; expected x itself or", lambda: K.relu(a, out=a[::-1])),
        (ValueError, "activation: kind is 'rleu'.*did you mean", lambda: K.activation(a, "rleu")),
        (ValueError, "variant is 'x'; expected one of", lambda: K.activation(a, "relu", variant="x")),
        (
            ValueError,
            "activation_backward: grad is .* but y is",
            lambda: K.activation_backward(a, "relu", y=b),
        ),
        (TypeError, "grad is float64 but y is float32", lambda: K.activation_backward(a, "relu", y=f)),
        (ValueError, "silu needs the activation's input", lambda: K.activation_backward(a, "silu", y=a)),
        (ValueError, "softmax: x is a scalar", lambda: K.softmax(simt.ones(()))),
        (
            ValueError,
            r"cross_entropy: logits is \(3,\); expected \(N, C\)",
            lambda: K.cross_entropy(a[:, 0], labels),
        ),
        (ValueError, r"labels is \(2,\); expected \(3,\)", lambda: K.cross_entropy(a, labels[:2])),
        (TypeError, "labels has dtype float64; expected integers", lambda: K.cross_entropy(a, simt.ones(3))),
        (ValueError, "label_smoothing is 2; expected", lambda: K.cross_entropy(a, labels, label_smoothing=2)),
        (ValueError, "at least one class", lambda: K.cross_entropy(a[:, :0], labels)),
        (
            ValueError,
            "out is given but need_grad",
            lambda: K.cross_entropy(a, labels, need_grad=False, out=a),
        ),
        (ValueError, "dropout: p is 2; expected 0 to 1", lambda: K.dropout(a, 2, seed=0, offset=0)),
        (ValueError, "dropout: seed is -1; expected", lambda: K.dropout(a, 0.5, seed=-1, offset=0)),
        (ValueError, r"column_sum: x is \(3,\); expected \(M, N\)", lambda: K.column_sum(a[:, 0])),
        (ValueError, "accumulate=True needs out", lambda: K.column_sum(a, accumulate=True)),
        (ValueError, "params has 1 arrays but grads has 0", lambda: K.sgd_step(one, [], None, lr=1.0)),
        (ValueError, r"params\[0\] is .* but grads\[0\] is", lambda: K.sgd_step(one, [a], None, lr=1.0)),
        (ValueError, "shares memory with", lambda: K.sgd_step(one, one, None, lr=1.0)),
        (ValueError, "velocities is None", lambda: K.sgd_step(one, [a[:, 0]], None, lr=1.0, momentum=0.9)),
        (ValueError, "nesterov=True needs", lambda: K.sgd_step(one, [a[:, 0]], None, lr=1.0, nesterov=True)),
        (ValueError, "step is 0; expected 1", lambda: K.adam_step(one, one, one, one, step=0, lr=1.0)),
        (TypeError, "factor is .* expected one float64", lambda: K.scale_inplace(one, a)),
    ]
    for error, match, call in cases:
        with pytest.raises(error, match=match):
            call()


def test_mixed_devices(simt: Any) -> None:
    host, array = np.ones((3, 4)), simt.ones((3, 4))
    numbers = np.array([0, 1, 2])
    for call in (
        lambda: K.relu(array, out=host),
        lambda: K.activation_backward(array, "relu", y=host),
        lambda: K.activation_backward(host, "relu", y=array),
        lambda: K.softmax_backward(host, array),
        lambda: K.softmax_backward(array, host),
        lambda: K.cross_entropy(array, numbers),
        lambda: K.cross_entropy(host, simt.array(numbers)),
        lambda: K.sgd_step([array], [host], None, lr=1.0),
    ):
        with pytest.raises(TypeError, match="on simt"):
            call()
    for outer in (lambda: K.sgd_step([host], [array], None, lr=1.0), lambda: K.relu(host, out=array)):
        with pytest.raises(TypeError, match="SimtArray"):
            outer()
