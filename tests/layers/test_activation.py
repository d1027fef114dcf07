"""csrc/layers/activation.cpp: against float64 definitions, finite differences and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K

_VARIANTS = [variant.name for variant in K.variants("activation")]
_SIZES = [0, 1, 7, 16, 31, 33, 1000, 200_003]
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_distribution(x: Any) -> Any:
    """Of float64. What rounding x / sqrt 2 takes off is put back to first order: it is x^2 ulp of the lower tail."""
    root, root_low = math.sqrt(0.5), -4.833646656726457e-17
    t = x * root

    def halves(a: Any) -> tuple[Any, Any]:  # Veltkamp's, of 26 bits, whose products are exact
        high = a * 134217729.0 - (a * 134217729.0 - a)
        return high, a - high

    (x_high, x_low), (r_high, r_low) = halves(x), halves(root)
    rest = x_low * r_low - (((t - x_high * r_high) - x_low * r_high) - x_high * r_low) + x * root_low
    return 0.5 * _erfc(-t) + rest * np.exp(-t * t) / math.sqrt(math.pi)


def _reference(kind: str, x: Any, alpha: float) -> Any:
    with np.errstate(over="ignore"):
        if kind == "relu":
            return np.maximum(x, 0)
        if kind == "leaky_relu":
            return np.where(x > 0, x, alpha * x)
        if kind == "elu":
            return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
        if kind == "sigmoid":
            return 1 / (1 + np.exp(-x))
        if kind == "tanh":
            return np.tanh(x)
        if kind == "softplus":
            return np.logaddexp(0, x)
        if kind == "silu":
            return x / (1 + np.exp(-x))
        if kind == "gelu":
            return x * _normal_distribution(x)
        return np.exp(x)


def _off(got: Any, expected: Any) -> float:
    norm = np.linalg.norm(expected)
    return (
        float(np.linalg.norm(got.astype(np.float64) - expected) / norm)
        if norm > 0
        else float(np.linalg.norm(got))
    )


def _tolerance(dtype: Any, kind: str = "") -> float:
    if dtype is np.float64:
        return 1e-14
    return 1e-5 if kind == "gelu" else 3e-7  # gelu's tail: see tests/core/test_vector_math.py


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("kind", K.ACTIVATIONS)
def test_forward(kind: str, variant: str, dtype: Any, threads: int, rng: np.random.Generator) -> None:
    alpha = {"leaky_relu": 0.2, "elu": 1.5}.get(kind)
    for size in _SIZES if variant != "naive" else _SIZES[:-1]:
        x = (3 * rng.standard_normal(size)).astype(dtype)
        y = K.activation(x, kind, alpha=alpha, variant=variant)
        assert y.dtype == dtype
        assert y.shape == (size,)
        assert _off(y, _reference(kind, x.astype(np.float64), alpha or 0)) < _tolerance(dtype, kind)


@pytest.mark.parametrize("kind", K.ACTIVATIONS)
def test_threads_change_no_bit(kind: str, rng: np.random.Generator) -> None:
    x = (3 * rng.standard_normal(300_001)).astype(np.float32)
    before = K.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            K.set_num_threads(count)
            results.append(K.activation(x, kind))
    finally:
        K.set_num_threads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("kind", K.ACTIVATIONS)
def test_backward_against_finite_differences(kind: str, variant: str, rng: np.random.Generator) -> None:
    x = 2 * rng.standard_normal(501)
    x[np.abs(x) < 1e-3] = 0.5  # away from the corners
    grad = rng.standard_normal(501)
    step = 1e-6
    slope = (K.activation(x + step, kind) - K.activation(x - step, kind)) / (2 * step)
    y = K.activation(x, kind)
    from_x = K.activation_backward(grad, kind, x=x, variant=variant)
    np.testing.assert_allclose(from_x, grad * slope, rtol=1e-6, atol=1e-8)
    if kind not in ("silu", "gelu"):
        from_y = K.activation_backward(grad, kind, y=y, variant=variant)
        np.testing.assert_allclose(from_y, grad * slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", K.ACTIVATIONS)
def test_against_pytorch(kind: str, dtype: Any, threads: int, rng: np.random.Generator, torch: Any) -> None:
    functional = torch.nn.functional
    function = {
        "leaky_relu": functional.leaky_relu,
        "elu": functional.elu,
        "softplus": functional.softplus,
        "silu": functional.silu,
        "gelu": functional.gelu,
    }.get(kind) or getattr(torch, kind)
    for size in (5, 100_003):
        x, grad = (rng.standard_normal(size).astype(dtype) for _ in range(2))
        leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        expected = function(leaf)
        (expected_grad,) = torch.autograd.grad(expected, leaf, torch.tensor(grad, dtype=torch.float64))
        y = K.activation(x, kind)
        # PyTorch's softplus is x itself above 20, which is less than float32 can tell.
        limit = max(_tolerance(dtype, kind), 1e-9 if kind == "softplus" else 0)
        assert _off(y, expected.detach().numpy()) < limit
        got = K.activation_backward(grad, kind, x=x, y=y)
        assert _off(got, expected_grad.numpy()) < 3 * limit


@given(
    st.lists(st.integers(0, 5), max_size=4),
    st.data(),
    st.sampled_from(K.ACTIVATIONS),
    st.sampled_from([np.float32, np.float64]),
)
def test_any_shape_and_strides(shape: list[int], data: Any, kind: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    steps = [data.draw(st.sampled_from([-2, -1, 1, 2, 3]), label="step") for _ in shape]
    order = data.draw(st.permutations(range(len(shape))), label="order")
    base = rng.standard_normal([size * abs(step) for size, step in zip(shape, steps, strict=True)]).astype(
        dtype
    )
    x = base[tuple(slice(None, None, step) for step in steps)].transpose(order)
    expected = _reference(kind, x.astype(np.float64), {"leaky_relu": 0.01, "elu": 1.0}.get(kind, 0))
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    y = K.activation(x, kind)
    assert y.shape == x.shape
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    out = np.full([2 * size for size in x.shape], np.nan, dtype)[tuple(slice(None, None, 2) for _ in x.shape)]
    if out.ndim > 0:
        assert K.activation(x, kind, out=out) is out
        np.testing.assert_array_equal(out, y)
    grad = np.ones_like(x)
    back = K.activation_backward(grad, kind, x=x, y=y)
    np.testing.assert_array_equal(back, K.activation_backward(grad, kind, x=x.copy(), y=y))


def test_in_place() -> None:
    x = np.linspace(-3, 3, 77, dtype=np.float32)
    expected = K.tanh(x)
    assert K.tanh(x, out=x) is x
    np.testing.assert_array_equal(x, expected)
    grad = np.ones_like(x)
    expected = K.activation_backward(grad, "tanh", y=x)
    K.activation_backward(grad, "tanh", y=x, out=x)
    np.testing.assert_array_equal(x, expected)


def test_shorthands() -> None:
    x = np.linspace(-3, 3, 7)
    for kind in K.ACTIVATIONS:
        np.testing.assert_array_equal(getattr(K, kind)(x), K.activation(x, kind))
    np.testing.assert_array_equal(K.leaky_relu(x, alpha=0.5), K.activation(x, "leaky_relu", alpha=0.5))


def test_other_arrays_are_taken() -> None:
    class Interface:
        def __init__(self, array: Any) -> None:
            self.__array_interface__ = array.__array_interface__

    x = np.linspace(-1, 1, 5)
    np.testing.assert_array_equal(K.relu(Interface(x)), np.maximum(x, 0))
    np.testing.assert_array_equal(K.relu([-1, 2]), [0, 2])


class TestErrors:
    x = np.linspace(-1, 1, 6, dtype=np.float32)

    @pytest.mark.parametrize(
        "dtype", [np.int64, np.float16, np.complex64, np.bool_, object, ">f4", np.longdouble]
    )
    def test_dtype(self, dtype: Any) -> None:
        with pytest.raises(TypeError, match=r"x has dtype .*expected .*float32"):
            K.relu(np.zeros(3, dtype))

    def test_no_array(self) -> None:
        with pytest.raises(TypeError, match=r"activation: x is a set; expected an array"):
            K.activation({1}, "relu")

    def test_kind(self) -> None:
        with pytest.raises(ValueError, match=r"kind is 'rleu'; expected one of relu, .*did you mean 'relu'"):
            K.activation(self.x, "rleu")

    def test_variant(self) -> None:
        with pytest.raises(
            ValueError, match=r"variant is 'niave'; expected one of naive, .*did you mean 'naive'"
        ):
            K.activation(self.x, "relu", variant="niave")

    def test_out_shape(self) -> None:
        with pytest.raises(ValueError, match=r"relu: out is \(5,\); expected \(6,\)"):
            K.relu(self.x, out=np.empty(5, np.float32))

    def test_out_dtype(self) -> None:
        with pytest.raises(TypeError, match=r"relu: .*float64.*float32"):
            K.relu(self.x, out=np.empty(6))

    def test_out_read_only(self) -> None:
        out = np.empty(6, np.float32)
        out.flags.writeable = False
        with pytest.raises(ValueError, match="relu: out is read-only"):
            K.relu(self.x, out=out)

    def test_out_overlaps_in_part(self) -> None:
        memory = np.zeros(8, np.float32)
        with pytest.raises(ValueError, match=r"tanh: out overlaps x; expected x itself or memory of its own"):
            K.tanh(memory[:6], out=memory[1:7])

    def test_out_overlaps_itself(self) -> None:
        out = np.lib.stride_tricks.as_strided(np.zeros(3, np.float32), (6,), (0,))
        with pytest.raises(ValueError, match="out has elements that share memory"):
            K.tanh(self.x, out=out)

    def test_backward_needs(self) -> None:
        grad = np.ones(6, np.float32)
        with pytest.raises(ValueError, match=r"x is None; gelu needs the activation's input"):
            K.activation_backward(grad, "gelu", y=self.x)
        with pytest.raises(ValueError, match=r"x and y are None; tanh needs the activation's output y"):
            K.activation_backward(grad, "tanh")
        with pytest.raises(ValueError, match=r"leaky_relu with alpha -1.0 needs the activation's input"):
            K.activation_backward(grad, "leaky_relu", y=self.x, alpha=-1.0)

    def test_backward_shapes(self) -> None:
        with pytest.raises(
            ValueError, match=r"relu_backward: grad is \(6,\) but y is \(5,\); expected one shape"
        ):
            K.activation_backward(np.ones(6), "relu", y=np.ones(5))
        with pytest.raises(TypeError, match="expected one dtype"):
            K.activation_backward(np.ones(6), "relu", y=np.ones(6, np.float32))
