"""The Linear layer: its parameters, how they begin, what it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn


def test_parameters(dtype: Any) -> None:
    layer = nn.Linear(5, 3, dtype=dtype)
    assert {name: p.shape for name, p in layer.named_parameters()} == {"weight": (3, 5), "bias": (3,)}
    assert all(p.dtype == dtype and p.requires_grad and p.is_leaf for p in layer.parameters())
    plain = nn.Linear(5, 3, bias=False, dtype=dtype)
    assert plain.bias is None
    assert list(plain.state_dict()) == ["weight"]
    assert plain(np.ones((2, 5), dtype)).shape == (2, 3)


def test_forward(dtype: Any, rng: np.random.Generator) -> None:
    layer = nn.Linear(5, 3, dtype=dtype)
    x = rng.standard_normal((4, 5)).astype(dtype)
    expected = x.astype(np.float64) @ layer.weight.data.T.astype(np.float64) + layer.bias.data
    np.testing.assert_allclose(layer(dl.Tensor(x)).data, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(x).data, layer(dl.Tensor(x)).data)


def test_it_begins_uniformly(rng: np.random.Generator) -> None:
    layer = nn.Linear(400, 300)
    for values in (layer.weight.data.ravel(), layer.bias.data):
        bound = 1 / np.sqrt(400)
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.9 * bound
        # Of a uniform distribution the standard error of the mean is bound / sqrt(3 n), of the deviation less.
        deviations = 5 * bound / np.sqrt(3 * values.size)
        assert abs(values.mean()) < deviations
        assert abs(values.std() - bound / np.sqrt(3)) < deviations


def test_it_begins_as_in_pytorch(torch: Any) -> None:
    theirs = torch.nn.Linear(400, 300)
    ours = nn.Linear(400, 300)
    for name in ("weight", "bias"):
        a, b = getattr(ours, name).data, getattr(theirs, name).detach().numpy()
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.abs(a).max(), np.abs(b).max(), rtol=0.1)


def test_seed() -> None:
    def values(seed: int) -> Any:
        dl.manual_seed(seed)
        return np.concatenate([p.data.ravel() for p in nn.Linear(6, 5).parameters()])

    np.testing.assert_array_equal(values(1), values(1))
    assert (values(1) != values(2)).all()
    layer = nn.Linear(6, 5)
    before = layer.weight.data.copy()
    layer.reset_parameters()
    assert (layer.weight.data != before).all()


def test_weight_of_any_layout(rng: np.random.Generator) -> None:
    # Somebody gives .data a transposed view: the layer and its gradient work as before.
    layer, other = nn.Linear(5, 3), nn.Linear(5, 3)
    w = rng.standard_normal((5, 3)).astype(np.float32)
    layer.weight.data, other.weight.data = w.T, w.T.copy()
    other.bias.data = layer.bias.data.copy()
    x = rng.standard_normal((4, 5)).astype(np.float32)
    for module in (layer, other):
        (module(x) ** 2).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.data, other.weight.grad.data, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.bias.grad.data, other.bias.grad.data, rtol=1e-5, atol=1e-6)


def test_shared_by_two_layers(rng: np.random.Generator) -> None:
    # The gradient of a weight that is used twice is the sum of both uses.
    first, second = nn.Linear(4, 4).double(), nn.Linear(4, 4).double()
    second.weight = first.weight
    x = dl.tensor(rng.standard_normal((3, 4)))
    assert dl.autograd.gradcheck(lambda w: nn.functional.linear(nn.functional.linear(x, w), w), first.weight)
    second(first(x)).sum().backward()
    g = dl.autograd.grad(second(first(x)).sum(), [first.weight])[0]
    np.testing.assert_allclose(first.weight.grad.data, g.data)


def test_against_pytorch_trained_together(torch: Any, rng: np.random.Generator) -> None:
    ours, theirs = nn.Linear(6, 4, dtype="float64"), torch.nn.Linear(6, 4, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    x, t = rng.standard_normal((8, 6)), rng.standard_normal((8, 4))
    rounding = np.finfo(np.float64).eps / 2
    for _ in range(3):
        # Gradients are sums over the batch: wrong by roundings of their terms' absolute values, however near to 0
        # they come. 7 terms of an output, the target and the mean's factor, 8 terms of the gradient: 17 on each side.
        w, b = theirs.weight.detach().numpy(), theirs.bias.detach().numpy()
        off = 2 / t.size * (np.abs(x) @ np.abs(w).T + np.abs(b) + np.abs(t))
        bound = {"weight": 40 * rounding * off.T @ np.abs(x), "bias": 40 * rounding * off.sum(0)}
        ours.zero_grad()
        theirs.zero_grad()
        nn.MSELoss()(ours(x), t).backward()
        torch.nn.MSELoss()(theirs(torch.tensor(x)), torch.tensor(t)).backward()
        for name in ("weight", "bias"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert (np.abs(mine.grad.data - other.grad.numpy()) <= bound[name]).all(), name
            mine.data -= 0.1 * mine.grad.data
            other.data -= 0.1 * other.grad


def test_copies() -> None:
    layer = nn.Linear(3, 2)
    x = np.ones((1, 3), np.float32)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.weight is not layer.weight
        np.testing.assert_array_equal(twin(x).data, layer(x).data)
        with dl.no_grad():
            twin.weight.zero_()
        assert layer.weight.data.any()


def test_repr(torch: Any) -> None:
    assert repr(nn.Linear(3, 2)) == "Linear(in_features=3, out_features=2, bias=True)"
    assert repr(nn.Linear(3, 2, bias=False)) == repr(torch.nn.Linear(3, 2, bias=False))


class TestErrors:
    @pytest.mark.parametrize("name", ["in_features", "out_features"])
    def test_sizes(self, name: str) -> None:
        sizes = {"in_features": 2, "out_features": 2}
        for wrong in (0, -3):
            with pytest.raises(ValueError, match=rf"Linear: {name} is {wrong}; expected at least 1"):
                nn.Linear(**{**sizes, name: wrong})
        for kind in (2.0, "2", None, True, [2]):
            with pytest.raises(
                TypeError, match=rf"Linear: {name} is a {type(kind).__name__}; expected an integer"
            ):
                nn.Linear(**{**sizes, name: kind})
        assert nn.Linear(np.int64(2), np.uint8(3)).weight.shape == (3, 2)

    @pytest.mark.parametrize("dtype", ["float16", "int64", ">f4", "complex64", "text", "cpu", object])
    def test_dtype(self, dtype: Any) -> None:
        with pytest.raises(TypeError, match=r"Linear: dtype is .*; expected float32 or float64"):
            nn.Linear(2, 2, dtype=dtype)

    def test_inputs(self) -> None:
        layer = nn.Linear(3, 2)
        with pytest.raises(ValueError, match=r"linear: x is \(2, 4\) but weight is \(2, 3\)"):
            layer(dl.zeros(2, 4))
        with pytest.raises(TypeError, match=r"linear: x is of dtype float64 but weight of float32"):
            layer(np.zeros((2, 3)))
        with pytest.raises(TypeError, match=r"linear: x is"):
            layer(None)

    @pytest.mark.filterwarnings("error")
    def test_numbers_that_are_none(self) -> None:
        # NaN goes through: that is the result, and the trainer reports it.
        layer = nn.Linear(3, 2)
        assert np.isnan(layer(np.full((1, 3), np.nan, np.float32)).data).all()
