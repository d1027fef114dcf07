"""functional.layer_norm and batch_norm: values, gradients, running statistics, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F


def _leaf(rng: np.random.Generator, *shape: int, dtype: Any = np.float64) -> Any:
    return dl.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)


def _near(got: Any, expected: Any, dtype: Any = np.float64) -> None:
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


class TestLayerNorm:
    @pytest.mark.parametrize("count", [1, 2, 3])
    @pytest.mark.parametrize("affine", ["neither", "weight", "bias", "both"])
    def test_values_and_gradients(self, count: int, affine: str, rng: np.random.Generator) -> None:
        x = _leaf(rng, 2, 3, 4)
        shape = x.shape[3 - count :]
        weight = _leaf(rng, *shape) if affine in ("weight", "both") else None
        bias = _leaf(rng, *shape) if affine in ("bias", "both") else None
        axes = tuple(range(3 - count, 3))
        normal = (x.data - x.data.mean(axes, keepdims=True)) / np.sqrt(x.data.var(axes, keepdims=True) + 1e-5)
        expected = normal * (1 if weight is None else weight.data) + (0 if bias is None else bias.data)
        _near(F.layer_norm(x, shape, weight, bias).data, expected)
        given = [t for t in (x, weight, bias) if t is not None]

        def through(*tensors: Any) -> Any:
            rest = iter(tensors[1:])
            w = next(rest) if weight is not None else None
            b = next(rest) if bias is not None else None
            return F.layer_norm(tensors[0], shape, w, b) ** 2

        assert gradcheck(through, given)

    def test_an_integer_is_the_last_dimension(self, rng: np.random.Generator) -> None:
        x = rng.standard_normal((5, 4), dtype=np.float32)
        np.testing.assert_array_equal(F.layer_norm(x, 4).data, F.layer_norm(x, [4]).data)

    def test_no_rows(self, dtype: Any) -> None:
        x, weight = dl.tensor(np.zeros((0, 4), dtype), requires_grad=True), dl.ones(4, dtype=dtype)
        out = F.layer_norm(x, 4, weight)
        assert out.shape == (0, 4)
        out.sum().backward()
        assert x.grad.shape == (0, 4)

    def test_errors(self) -> None:
        x = np.zeros((2, 4), np.float32)
        for shape, expected in (((3,), r"\(\.\.\., 3\)"), ((2, 2, 4), r"\(\.\.\., 2, 2, 4\)")):
            with pytest.raises(ValueError, match=rf"layer_norm: x is \(2, 4\); expected {expected}"):
                F.layer_norm(x, shape)
        with pytest.raises(
            ValueError, match=r"layer_norm: weight is \(2,\) but x is \(2, 4\); expected \(4,\)"
        ):
            F.layer_norm(x, 4, dl.ones(2))
        with pytest.raises(TypeError, match="layer_norm: x is of dtype float32 but bias of float64"):
            F.layer_norm(x, 4, None, dl.tensor(np.zeros(4)))
        with pytest.raises(TypeError, match="layer_norm: weight is a ndarray; expected a Tensor or None"):
            F.layer_norm(x, 4, np.ones(4, np.float32))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="layer_norm: x is of dtype int64; expected float32 or float64"):
            F.layer_norm(np.zeros((2, 4), np.int64), 4)
        with pytest.raises(TypeError, match="normalized_shape is 'a'"):
            F.layer_norm(x, "a")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"normalized_shape is \(\); expected at least one size"):
            F.layer_norm(x, ())


_SHAPES = [(5, 3), (4, 3, 6), (2, 3, 4, 5)]


class TestBatchNorm:
    @pytest.mark.parametrize("shape", _SHAPES, ids=str)
    @pytest.mark.parametrize("affine", ["neither", "weight", "bias", "both"])
    @pytest.mark.parametrize("training", [True, False])
    def test_gradients(
        self, shape: tuple[int, ...], affine: str, training: bool, rng: np.random.Generator
    ) -> None:
        weight = _leaf(rng, 3) if affine in ("weight", "both") else None
        bias = _leaf(rng, 3) if affine in ("bias", "both") else None
        mean, var = dl.tensor(rng.standard_normal(3)), dl.tensor(rng.uniform(0.5, 2, 3))

        def through(*tensors: Any) -> Any:
            rest = iter(tensors[1:])
            w = next(rest) if weight is not None else None
            b = next(rest) if bias is not None else None
            running = (None, None) if training else (mean, var)
            return F.batch_norm(tensors[0], *running, w, b, training) ** 2

        assert gradcheck(through, [t for t in (_leaf(rng, *shape), weight, bias) if t is not None])

    @pytest.mark.parametrize("shape", _SHAPES, ids=str)
    def test_running_statistics(self, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> None:
        mean, var = dl.zeros(3, dtype=dtype), dl.ones(3, dtype=dtype)
        axes = (0, *range(2, len(shape)))
        expected_mean, expected_var = np.zeros(3), np.ones(3)
        for _ in range(3):
            x = (rng.standard_normal(shape) * 3 + 1).astype(dtype)
            F.batch_norm(x, mean, var, training=True, momentum=0.3)
            expected_mean = 0.7 * expected_mean + 0.3 * x.mean(axes, dtype=np.float64)
            expected_var = 0.7 * expected_var + 0.3 * x.var(axes, dtype=np.float64, ddof=1)
        _near(mean.data, expected_mean, dtype)
        _near(var.data, expected_var, dtype)
        wide = (1, 3) + (1,) * (len(shape) - 2)
        expected = (x - expected_mean.reshape(wide)) / np.sqrt(expected_var.reshape(wide) + 1e-5)
        _near(F.batch_norm(x, mean, var).data, expected, dtype)
        _near(mean.data, expected_mean, dtype)  # which using them leaves alone

    def test_statistics_that_move_on_before_backward(self, rng: np.random.Generator) -> None:
        x = _leaf(rng, 5, 3)
        mean, var = dl.zeros(3, dtype=np.float64), dl.ones(3, dtype=np.float64)
        out = F.batch_norm(x, mean, var)
        var[0] = 100.0
        out.sum().backward()
        _near(x.grad.data, np.full((5, 3), 1 / np.sqrt(1 + 1e-5)))

    def test_no_samples(self) -> None:
        mean, var = dl.zeros(3), dl.ones(3)
        x, weight = (
            dl.tensor(np.zeros((0, 3), np.float32), requires_grad=True),
            dl.ones(3, requires_grad=True),
        )
        out = F.batch_norm(x, mean, var, weight, training=True)
        assert out.shape == (0, 3)
        assert (mean.data == 0).all()
        assert (var.data == 1).all()
        out.sum().backward()
        assert x.grad.shape == (0, 3)
        assert (weight.grad.data == 0).all()

    def test_graph_is_kept_or_released(self, rng: np.random.Generator) -> None:
        x, weight = _leaf(rng, 20, 3), _leaf(rng, 3)
        loss = (F.batch_norm(x, None, None, weight, training=True) ** 2).sum()
        loss.backward(retain_graph=True)
        once = x.grad.data.copy()
        loss.backward()
        _near(x.grad.data, 2 * once)
        with pytest.raises(RuntimeError, match="released by an earlier backward pass"):
            loss.backward()
        loss = F.batch_norm(x, None, None, weight, training=True).sum()
        weight.data[0] = 3
        dl.autograd.base.mark_changed(weight)
        with pytest.raises(RuntimeError, match="changed in place"):
            loss.backward()

    def test_errors(self) -> None:
        x, three = np.zeros((2, 3), np.float32), dl.ones(3)
        with pytest.raises(ValueError, match=r"batch_norm: x is \(1, 3\), one value for each channel"):
            F.batch_norm(x[:1], None, None, training=True)
        F.batch_norm(x[:1], three, three)
        with pytest.raises(ValueError, match="running_mean or running_var is None; they are needed unless"):
            F.batch_norm(x, None, three)
        with pytest.raises(
            ValueError, match=r"batch_norm: x is \(3,\); expected \(N, C\) or \(N, C, \.\.\.\)"
        ):
            F.batch_norm(x[0], three, three)
        for name in ("running_mean", "running_var", "weight", "bias"):
            given = {"running_mean": three, "running_var": three, name: dl.ones(2)}
            with pytest.raises(
                ValueError, match=rf"batch_norm: {name} is \(2,\) but x is \(2, 3\); expected \(3,\)"
            ):
                F.batch_norm(x, **given)
            given[name] = dl.ones(3, dtype=np.float64)
            with pytest.raises(TypeError, match=f"x is of dtype float32 but {name} of float64"):
                F.batch_norm(x, **given)
        with pytest.raises(TypeError, match="batch_norm: x is of dtype int64"):
            F.batch_norm(x.astype(np.int64), three, three)
