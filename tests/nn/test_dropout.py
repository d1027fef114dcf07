"""Dropout: what it drops, how often, and that backward drops the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_drops_with_probability_p(p: float, dtype: Any, rng: np.random.Generator) -> None:
    n = 100_000
    x = dl.Tensor(rng.uniform(1, 2, n).astype(dtype))
    y = nn.Dropout(p)(x)
    assert y.dtype == dtype
    dropped = y.data == 0
    # Five standard errors.
    assert abs(dropped.mean() - p) <= 5 * np.sqrt(p * (1 - p) / n)
    if p < 1:
        np.testing.assert_allclose(y.data[~dropped], x.data[~dropped] / (1 - p), rtol=1e-6)
        # The expectation stays: the factor makes up for what is missing.
        change = y.data.mean(dtype=np.float64) / x.data.mean(dtype=np.float64) - 1
        assert abs(change) <= 6 * np.sqrt(p / (1 - p) / n) + 1e-7


def test_neighbours_are_independent(rng: np.random.Generator) -> None:
    kept = (nn.Dropout(0.5)(dl.ones(100_000)).data > 0).astype(float) - 0.5
    for lag in (1, 2, 4, 8, 64):
        assert abs((kept[lag:] * kept[:-lag]).mean()) < 5 * 0.25 / np.sqrt(100_000)


def test_eval_passes_on() -> None:
    layer = nn.Dropout(0.9).eval()
    x = dl.ones(100)
    assert layer(x) is x
    assert layer.train()(x) is not x
    assert F.dropout(x, 0.9, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert (F.dropout(x).data == 0).any()  # on, and 0.5, by default as in PyTorch


def test_each_call_draws_anew_and_a_seed_repeats() -> None:
    layer, x = nn.Dropout(0.5), dl.ones(64, 10)

    def twice(seed: int) -> list[Any]:
        dl.manual_seed(seed)
        return [layer(x).data, layer(x).data]

    first = twice(1)
    assert (first[0] != first[1]).any()
    np.testing.assert_array_equal(first, twice(1))
    assert (first[0] != twice(2)[0]).any()


def test_random_state_goes_back() -> None:
    layer, x = nn.Dropout(0.5), dl.ones(33)
    layer(x)
    state = dl.kernels.random.get_state()
    expected = layer(x).data
    dl.kernels.random.set_state(state)
    np.testing.assert_array_equal(layer(x).data, expected)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (5, 33), (2, 3, 4)], ids=str)
def test_gradient_uses_the_same_mask(shape: Any, dtype: Any, rng: np.random.Generator) -> None:
    x = dl.tensor(np.asarray(rng.uniform(1, 2, shape), dtype), requires_grad=True)
    y = nn.Dropout(0.4)(x)
    nn.Dropout(0.4)(dl.ones(50))  # what is drawn in between changes nothing
    g = np.asarray(rng.uniform(1, 2, shape), dtype)
    y.backward(g)
    np.testing.assert_allclose(x.grad.data, g * (y.data / x.data), rtol=1e-5)
    np.testing.assert_array_equal(x.grad.data == 0, y.data == 0)


def test_gradient_of_a_view_uses_the_same_mask(rng: np.random.Generator) -> None:
    x = dl.tensor(rng.uniform(1, 2, (6, 5)), requires_grad=True)
    y = F.dropout(x.T, 0.5)
    y.backward(np.ones((5, 6)))
    np.testing.assert_allclose(x.grad.data.T, y.data / x.data.T)


def test_finite_differences(rng: np.random.Generator) -> None:
    def seeded(x: Any) -> Any:
        dl.manual_seed(3)
        return F.dropout(x, 0.3)

    assert gradcheck(seeded, dl.tensor(rng.standard_normal((5, 4)), requires_grad=True))


def test_everything_dropped() -> None:
    x = dl.tensor(np.array([1.0, np.inf, np.nan], np.float32), requires_grad=True)
    y = F.dropout(x, 1.0)
    np.testing.assert_array_equal(y.data, np.zeros(3))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, np.zeros(3))


def test_nothing_is_recorded_without_need() -> None:
    x = dl.ones(5, requires_grad=True)
    with dl.no_grad():
        assert F.dropout(x).grad_fn is None
    assert F.dropout(x.detach()).grad_fn is None
    assert F.dropout(x).grad_fn.op == "dropout"


def test_in_a_network() -> None:
    model = nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Dropout(0.5), nn.Linear(50, 2))
    x = dl.ones(3, 4)
    assert (model(x).data != model(x).data).any()
    model.eval()
    np.testing.assert_array_equal(model(x).data, model(x).data)
    assert copy.deepcopy(model)[2].training is False


def test_repr(torch: Any) -> None:
    assert repr(nn.Dropout(0.25)) == "Dropout(p=0.25)"
    assert nn.Dropout().p == torch.nn.Dropout().p == 0.5


class TestErrors:
    @pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), 2])
    def test_range(self, p: float) -> None:
        with pytest.raises(ValueError, match=r"Dropout: p is .*; expected a number from 0 to 1"):
            nn.Dropout(p)
        with pytest.raises(ValueError, match=r"dropout: p is .*; expected a number from 0 to 1"):
            F.dropout(dl.ones(3), p)
        with pytest.raises(ValueError, match=r"dropout: p is"):
            F.dropout(dl.ones(3), p, training=False)

    @pytest.mark.parametrize("p", ["0.5", None, True, [0.5]])
    def test_kind(self, p: Any) -> None:
        with pytest.raises(TypeError, match=r"Dropout: p is a .*; expected a number from 0 to 1"):
            nn.Dropout(p)

    def test_inputs(self) -> None:
        with pytest.raises(TypeError, match=r"dropout: x .*int64.*float32 or float64"):
            F.dropout(dl.tensor([1, 2]))
        with pytest.raises(TypeError, match=r"dropout: input is"):
            F.dropout("text")
