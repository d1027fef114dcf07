"""Layers as functions: linear with its activation in one kernel, dropout, one_hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl
from dlkit import kernels, nn
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F

ACTIVATIONS = [None, "relu", "sigmoid", "tanh"]
_DEFINITIONS: dict[str | None, Any] = {
    None: lambda y: y,
    "relu": lambda y: np.maximum(y, 0),
    "sigmoid": lambda y: 1 / (1 + np.exp(-y)),
    "tanh": np.tanh,
}


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Any:
    before = kernels.get_num_threads()
    kernels.set_num_threads(request.param)
    yield request.param
    kernels.set_num_threads(before)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    "shape", [(5, 7), (7,), (2, 3, 7), (0, 7), (2, 0, 7), (1, 7), (130, 7), (2, 1, 2, 7)], ids=str
)
def test_linear(
    shape: Any, biased: bool, activation: str | None, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    w, b = rng.standard_normal((4, 7)).astype(dtype), rng.standard_normal(4).astype(dtype)
    y = F.linear(dl.Tensor(x), dl.Tensor(w), dl.Tensor(b) if biased else None, activation)
    assert y.dtype == dtype
    assert y.shape == (*shape[:-1], 4)
    product = x.astype(np.float64) @ w.astype(np.float64).T + (b.astype(np.float64) if biased else 0)
    tolerance = 2e-6 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(
        y.data, _DEFINITIONS[activation](product), rtol=10 * tolerance, atol=3 * tolerance
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 3, 4), (0, 4)], ids=str)
def test_linear_derivatives(
    shape: Any, biased: bool, activation: str | None, rng: np.random.Generator
) -> None:
    while True:  # away from ReLU's corner
        x, w, b = (dl.tensor(rng.standard_normal(s), requires_grad=True) for s in (shape, (5, 4), (5,)))
        if (np.abs(x.data @ w.data.T + (b.data if biased else 0)) > 1e-4).all():
            break
    if biased:
        assert gradcheck(lambda *t: F.linear(*t, activation), (x, w, b), atol=1e-7)
    else:
        assert gradcheck(lambda *t: F.linear(*t, None, activation), (x, w), atol=1e-7)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "wanted", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1)], ids=str
)
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4), (4,)], ids=str)
def test_linear_against_pytorch(
    shape: Any, wanted: Any, activation: str | None, torch: Any, rng: np.random.Generator
) -> None:
    # Whichever of input, weight and bias are learned; twice, so that gradients add up.
    arrays = [rng.standard_normal(s) for s in (shape, (5, 4), (5,))]
    mine = [dl.tensor(a, requires_grad=bool(r)) for a, r in zip(arrays, wanted, strict=True)]
    other = [torch.tensor(a, requires_grad=bool(r)) for a, r in zip(arrays, wanted, strict=True)]
    theirs = getattr(torch, activation) if activation else lambda y: y
    for _ in range(2):
        got = F.linear(*mine, activation)
        expected = theirs(torch.nn.functional.linear(*other))
        g = rng.standard_normal(got.shape)
        got.backward(g)
        expected.backward(torch.tensor(g))
    # atol: the terms of a sum, of size 1, may cancel.
    np.testing.assert_allclose(got.data, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    for ours, them in zip(mine, other, strict=True):
        if them.grad is None:
            assert ours.grad is None
        else:
            np.testing.assert_allclose(ours.grad.data, them.grad.numpy(), rtol=1e-11, atol=1e-12)


@given(
    rows=st.integers(0, 70),
    inner=st.integers(1, 70),
    outputs=st.integers(1, 70),
    activation=st.sampled_from(ACTIVATIONS),
    layout=st.sampled_from(["plain", "transposed", "strided", "reversed"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_linear_of_any_size_and_layout(
    rows: int, inner: int, outputs: int, activation: str | None, layout: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def laid_out(shape: tuple[int, int]) -> Any:
        if layout == "transposed":
            return rng.standard_normal(shape[::-1]).astype(np.float32).T
        if layout == "strided":
            return rng.standard_normal((2 * shape[0], 3 * shape[1])).astype(np.float32)[::2, ::3]
        array = rng.standard_normal(shape).astype(np.float32)
        return array[::-1, ::-1] if layout == "reversed" else array

    x, w = laid_out((rows, inner)), laid_out((outputs, inner))
    b = laid_out((1, outputs))[0]
    tensors = [dl.Tensor(a, requires_grad=True) for a in (x, w, b)]
    y = F.linear(*tensors, activation)
    out = _DEFINITIONS[activation](x.astype(np.float64) @ w.T.astype(np.float64) + b)
    np.testing.assert_allclose(y.data, out, rtol=1e-4, atol=1e-4)
    g = rng.standard_normal(y.shape).astype(np.float32)
    y.backward(g)
    inside = {
        None: 1.0,
        "relu": (y.data > 0).astype(float),
        "sigmoid": out * (1 - out),
        "tanh": 1 - out**2,
    }[activation]
    d = g.astype(np.float64) * inside
    for tensor, expected in zip(tensors, (d @ w, d.T @ x, d.sum(0)), strict=True):
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.data, expected, rtol=1e-4, atol=2e-4)


def test_linear_is_one_kernel_and_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    kernel = kernels.matmul
    monkeypatch.setattr(kernels, "matmul", lambda *a, **k: calls.append(k) or kernel(*a, **k))
    x, w, b = (dl.ones(*shape, requires_grad=True) for shape in ((2, 3), (4, 3), (4,)))
    y = F.linear(x, w, b, "tanh")
    assert [(k["bias"] is b.data, k["activation"]) for k in calls] == [(True, "tanh")]
    assert y.grad_fn.op == "linear_tanh"
    assert [edge is t for edge, t in zip(y.grad_fn.edges, (x, w, b), strict=True)] == [True] * 3
    # Nothing is recorded where nothing is learned.
    with dl.no_grad():
        assert F.linear(x, w, b).grad_fn is None
    assert F.linear(x.detach(), w.detach()).grad_fn is None


def test_linear_notices_a_weight_changed_in_place() -> None:
    x, w = dl.ones(2, 3, requires_grad=True), dl.ones(4, 3, requires_grad=True)
    y = F.linear(x, w)
    with dl.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="linear"):
        y.sum().backward()


class TestLinearErrors:
    x, w, b = dl.zeros(2, 3), dl.zeros(4, 3), dl.zeros(4)

    def test_shapes(self) -> None:
        with pytest.raises(
            ValueError,
            match=r"linear: x is \(2, 5\) but weight is \(4, 3\): expected x of shape \(\.\.\., 3\)",
        ):
            F.linear(dl.zeros(2, 5), self.w, self.b)
        with pytest.raises(ValueError, match=r"linear: x is \(\) but weight"):
            F.linear(dl.tensor(1.0), self.w)
        with pytest.raises(ValueError, match=r"linear: weight is \(3,\); expected \(out, in\)"):
            F.linear(self.x, dl.zeros(3))
        for shape in ((3,), (4, 1), (1, 4), ()):
            with pytest.raises(ValueError, match=r"linear: bias is .*; expected \(4,\)"):
                F.linear(self.x, self.w, dl.zeros(*shape) if shape else dl.tensor(0.0))

    def test_dtypes(self) -> None:
        with pytest.raises(
            TypeError, match=r"x is of dtype float64 but weight of float32 .*x\.astype\('float32'\)"
        ):
            F.linear(np.zeros((2, 3)), self.w, self.b)
        with pytest.raises(TypeError, match=r"x is of dtype int64 but weight of float32"):
            F.linear(np.zeros((2, 3), int), self.w)
        with pytest.raises(TypeError, match=r"and bias of float64; expected one dtype"):
            F.linear(self.x, self.w, self.b.double())
        with pytest.raises(TypeError, match="float32 or float64"):
            F.linear(self.x.long(), self.w.long())

    @pytest.mark.parametrize("name", ["rleu", "gelu", 3, "", ["relu"]])
    def test_activation(self, name: Any) -> None:
        with pytest.raises(
            ValueError, match=r"linear: activation is .*; expected None, 'relu', 'sigmoid' or 'tanh'"
        ):
            F.linear(self.x, self.w, self.b, name)

    def test_what_is_no_tensor(self) -> None:
        with pytest.raises(TypeError, match=r"linear: weight is a ndarray; expected a Tensor"):
            F.linear(self.x, self.w.data)
        with pytest.raises(TypeError, match=r"linear: bias is a list; expected a Tensor or None"):
            F.linear(self.x, self.w, [0.0] * 4)
        with pytest.raises(TypeError, match=r"linear: x is .*; expected"):
            F.linear("text", self.w)


def test_one_hot() -> None:
    got = F.one_hot([[0, 2], [1, 1]], 4)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got.data, np.eye(4)[[[0, 2], [1, 1]]])
    assert F.one_hot(dl.tensor([0, 4])).shape == F.one_hot([0, 4], num_classes=-1).shape == (2, 5)
    assert F.one_hot(np.zeros(0, int)).shape == (0, 0)
    assert F.one_hot(np.uint8(2), 3).tolist() == [0, 0, 1]


def test_one_hot_errors() -> None:
    with pytest.raises(TypeError, match=r"one_hot: labels are of dtype float32; expected integers"):
        F.one_hot([0.0, 1.0])
    with pytest.raises(ValueError, match=r"one_hot: labels are 0 to 3; expected 0 to 2"):
        F.one_hot([0, 3], 3)
    with pytest.raises(ValueError, match=r"one_hot: labels are -1 to 3"):
        F.one_hot([-1, 3])


def test_every_module_has_its_function() -> None:
    for name in (
        "relu",
        "sigmoid",
        "tanh",
        "gelu",
        "silu",
        "softplus",
        "leaky_relu",
        "elu",
        "softmax",
        "log_softmax",
    ):
        assert name in F.__all__
    assert sorted(F.__all__) == F.__all__
    assert all(callable(getattr(F, name)) for name in F.__all__)
    assert all(hasattr(nn, name) for name in nn.__all__)
