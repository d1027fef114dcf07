"""Activations as modules and functions: values, derivatives, PyTorch, extremes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F

_erf = np.vectorize(math.erf, otypes=[np.float64])

# Module, its settings, definition.
_ELEMENTWISE: list[tuple[Any, dict[str, float], Any]] = [
    (nn.ReLU, {}, lambda x: np.maximum(x, 0)),
    (nn.Sigmoid, {}, lambda x: 1 / (1 + np.exp(-x))),
    (nn.Tanh, {}, np.tanh),
    (nn.Hardtanh, {}, lambda x: np.clip(x, -1, 1)),
    (nn.Hardtanh, {"min_val": -0.5, "max_val": 2.0}, lambda x: np.clip(x, -0.5, 2)),
    (nn.GELU, {}, lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2),
    (nn.SiLU, {}, lambda x: x / (1 + np.exp(-x))),
    (nn.Softplus, {}, lambda x: np.log1p(np.exp(x))),
    (nn.LeakyReLU, {}, lambda x: np.where(x > 0, x, 0.01 * x)),
    (nn.LeakyReLU, {"negative_slope": 0.3}, lambda x: np.where(x > 0, x, 0.3 * x)),
    (nn.LeakyReLU, {"negative_slope": -0.5}, lambda x: np.where(x > 0, x, -0.5 * x)),
    (nn.ELU, {}, lambda x: np.where(x > 0, x, np.expm1(x))),
    (nn.ELU, {"alpha": 0.3}, lambda x: np.where(x > 0, x, 0.3 * np.expm1(x))),
    (nn.ELU, {"alpha": -0.3}, lambda x: np.where(x > 0, x, -0.3 * np.expm1(x))),
]
_NAMES = {
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Hardtanh": "hardtanh",
    "GELU": "gelu",
    "SiLU": "silu",
    "Softplus": "softplus",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
}
_IDS = [case[0].__name__ + "".join(f" {v}" for v in case[1].values()) for case in _ELEMENTWISE]
elementwise = pytest.mark.parametrize(("kind", "settings", "definition"), _ELEMENTWISE, ids=_IDS)


@elementwise
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0, 2), (5, 33), (2, 3, 4)], ids=str)
def test_values(
    kind: Any, settings: Any, definition: Any, shape: Any, dtype: Any, rng: np.random.Generator
) -> None:
    x = np.asarray(3 * rng.standard_normal(shape), dtype)
    y = kind(**settings)(dl.Tensor(x))
    assert y.dtype == dtype
    assert y.shape == shape
    tolerance = 1e-6 if dtype is np.float32 else 1e-14
    np.testing.assert_allclose(y.data, definition(x.astype(np.float64)), rtol=3 * tolerance, atol=tolerance)
    function = getattr(F, _NAMES[kind.__name__])
    np.testing.assert_array_equal(function(x, **settings).data, y.data)  # takes arrays, too


@elementwise
def test_derivatives(kind: Any, settings: Any, definition: Any, rng: np.random.Generator) -> None:
    values = 2 * rng.standard_normal((4, 5))
    values += np.sign(values) * 1e-4  # away from the corner at 0
    x = dl.tensor(values, requires_grad=True)
    assert gradcheck(kind(**settings), x, atol=1e-7)
    # And of inputs that are not contiguous.
    assert gradcheck(lambda a: kind(**settings)(a.T[::2]), x, atol=1e-7)


@elementwise
def test_against_pytorch(kind: Any, settings: Any, definition: Any, dtype: Any, torch: Any) -> None:
    x = np.concatenate([np.linspace(-30, 30, 4001), [0.0, -0.0, 1e-8, -1e-8]]).astype(dtype)
    mine = dl.tensor(x, requires_grad=True)
    other = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    got = kind(**settings)(mine)
    # float64 stays exact below PyTorch's softplus threshold of 20, and beyond it to 2e-9.
    theirs = getattr(torch.nn, kind.__name__)(
        **settings, **({"threshold": 40} if kind is nn.Softplus else {})
    )
    expected = theirs(other)
    tolerance = 2e-6 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(got.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    got.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(mine.grad.data, other.grad.numpy(), rtol=tolerance, atol=tolerance)


@elementwise
@pytest.mark.filterwarnings("error")
def test_extremes(kind: Any, settings: Any, definition: Any, dtype: Any) -> None:
    big = 1e30 if dtype is np.float32 else 1e300
    x = dl.tensor(np.array([-np.inf, -big, big, np.inf, np.nan], dtype), requires_grad=True)
    y = kind(**settings)(x)
    bounded = {nn.Sigmoid: 1.0, nn.Tanh: 1.0, nn.Hardtanh: settings.get("max_val", 1.0)}
    above = [bounded[kind]] * 2 if kind in bounded else [big, np.inf]
    np.testing.assert_allclose(y.data[2:4], above, rtol=1e-6)
    assert np.isnan(y.data[4])
    below = {nn.Tanh: -1, nn.ELU: -settings.get("alpha", 1.0)}.get(kind, 0)
    if kind is nn.LeakyReLU:
        below = -big * settings.get("negative_slope", 0.01)
    if kind is nn.Hardtanh:
        below = settings.get("min_val", -1.0)
    np.testing.assert_allclose(y.data[1], below, rtol=1e-6)


def test_integers_become_float32() -> None:
    for kind, settings, definition in _ELEMENTWISE:
        y = kind(**settings)(dl.tensor([-1, 0, 2]))
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.data, definition(np.array([-1.0, 0, 2])), rtol=1e-6)


def softmax(x: Any, axis: int) -> Any:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize(
    ("shape", "dim"), [((5,), 0), ((4, 6), 1), ((4, 6), 0), ((2, 3, 4), 1), ((3, 4), -2)]
)
def test_softmax(shape: Any, dim: int, dtype: Any, rng: np.random.Generator) -> None:
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    tolerance = 2e-6 if dtype is np.float32 else 1e-13
    expected = softmax(x.astype(np.float64), dim)
    for y, goal in (
        (nn.Softmax(dim)(dl.Tensor(x)), expected),
        (nn.LogSoftmax(dim)(dl.Tensor(x)), np.log(expected)),
        (F.softmax(x, dim), expected),
        (F.log_softmax(x, dim), np.log(expected)),
    ):
        assert y.dtype == dtype
        np.testing.assert_allclose(y.data, goal, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [nn.Softmax, nn.LogSoftmax])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_derivatives(kind: Any, dim: int, torch: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 3))
    mine = dl.tensor(x, requires_grad=True)
    assert gradcheck(kind(dim), mine, atol=1e-7)
    other = torch.tensor(x, requires_grad=True)
    g = rng.standard_normal((4, 3))
    kind(dim)(mine).backward(g)
    getattr(torch.nn, kind.__name__)(dim)(other).backward(torch.tensor(g))
    np.testing.assert_allclose(mine.grad.data, other.grad.numpy(), rtol=1e-12, atol=1e-13)


def test_softmax_of_huge_numbers() -> None:
    x = dl.tensor(np.array([[1e30, -1e30, 0], [-np.inf, 0, 0]], np.float32))
    np.testing.assert_allclose(F.softmax(x).data, [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(F.log_softmax(x).data[1], [-np.inf, -np.log(2), -np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_dimension_out_of_range(function: Any) -> None:
    with pytest.raises(IndexError, match=rf"{function.__name__}: dim is 2; expected -2 to 1"):
        function(np.zeros((2, 3), np.float32), 2)
    with pytest.raises(TypeError, match=rf"{function.__name__}: dim is a str; expected an integer"):
        function(np.zeros((2, 3), np.float32), "rows")


def test_repr() -> None:
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(nn.ELU()) == "ELU(alpha=1.0)"
    assert repr(nn.Softmax(1)) == "Softmax(dim=1)"
    assert repr(nn.LogSoftmax()) == "LogSoftmax(dim=-1)"


@pytest.mark.parametrize("name", [*_NAMES.values(), "softmax", "log_softmax"])
def test_what_is_no_array_of_numbers(name: str) -> None:
    for wrong in ("text", None, [1j], [None]):
        with pytest.raises(TypeError, match=rf"{name}: input is .*; expected"):
            getattr(F, name)(wrong)
    with pytest.raises(TypeError, match=name):
        getattr(F, name)(np.zeros(3, np.float16))


def test_bounds_in_the_wrong_order() -> None:
    with pytest.raises(ValueError, match=r"Hardtanh: min_val is 1, expected less than max_val, 1"):
        nn.Hardtanh(1, 1)
