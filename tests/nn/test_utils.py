"""Clipping of gradients: against the definition and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.nn import utils

_SHAPES = [(3, 4), (), (7,), (0,), (2, 3, 2)]


def leaves(rng: np.random.Generator, dtype: Any, scale: float = 1.0) -> tuple[list[dl.Tensor], list[Any]]:
    tensors = [dl.zeros(*shape, requires_grad=True, dtype=dtype) for shape in _SHAPES]
    gradients = [np.asarray(scale * rng.standard_normal(shape), dtype) for shape in _SHAPES]
    for tensor, gradient in zip(tensors, gradients, strict=True):
        tensor.grad = gradient.copy()
    return [*tensors, dl.zeros(2, requires_grad=True)], gradients  # one without a gradient


@pytest.mark.parametrize("norm_type", [2, 2.0, 1, 3, 0.5, float("inf"), "inf"])
@pytest.mark.parametrize("share", [0.1, 0.999, 1.0, 10.0])
def test_norm(norm_type: Any, share: float, dtype: Any, torch: Any, rng: np.random.Generator) -> None:
    tensors, gradients = leaves(rng, dtype)
    p = float(norm_type)
    flat = np.concatenate([g.ravel() for g in gradients]).astype(np.float64)
    norm = np.abs(flat).max() if np.isinf(p) else (np.abs(flat) ** p).sum() ** (1 / p)
    theirs = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in _SHAPES]
    for parameter, gradient in zip(theirs, gradients, strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    if not np.isinf(p):
        expected = torch.nn.utils.clip_grad_norm_(theirs, norm * share, p).item()
    else:  # PyTorch refuses the infinity norm of an empty gradient
        expected = torch.nn.utils.clip_grad_norm_([t for t in theirs if t.numel()], norm * share, p).item()
    before = [t.grad.data for t in tensors[:-1]]
    total = utils.clip_grad_norm_(tensors, norm * share, norm_type)
    assert total.shape == ()
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(total.item(), norm, rtol=tolerance)
    np.testing.assert_allclose(total.item(), expected, rtol=tolerance)
    for tensor, other, array in zip(tensors, theirs, before, strict=False):
        assert tensor.grad.data is array  # in place
        np.testing.assert_allclose(array, other.grad.numpy(), rtol=tolerance, atol=1e-12)
        assert array.dtype == dtype


def test_small_gradients_are_left_alone(rng: np.random.Generator) -> None:
    tensors, gradients = leaves(rng, np.float32, 1e-3)
    utils.clip_grad_norm_(tensors, 1.0)
    utils.clip_grad_value_(tensors, 1.0)
    for tensor, gradient in zip(tensors, gradients, strict=False):
        np.testing.assert_array_equal(tensor.grad.data, gradient)


@pytest.mark.parametrize("limit", [0.0, 0.3, 1.0, 100.0])
def test_value(limit: float, dtype: Any, torch: Any, rng: np.random.Generator) -> None:
    tensors, gradients = leaves(rng, dtype)
    assert utils.clip_grad_value_(tensors, limit) is None
    for tensor, gradient in zip(tensors, gradients, strict=False):
        np.testing.assert_array_equal(tensor.grad.data, np.clip(gradient, -dtype(limit), dtype(limit)))
        other = torch.nn.Parameter(torch.zeros(gradient.shape, dtype=torch.tensor(gradient).dtype))
        other.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_value_([other], limit)
        np.testing.assert_array_equal(tensor.grad.data, other.grad.numpy())


def test_what_parameters_may_be(rng: np.random.Generator) -> None:
    for wrap in (lambda t: t, lambda t: [t], lambda t: (t,), lambda t: iter([t]), lambda t: {1: t}.values()):
        tensor = dl.zeros(4, requires_grad=True)
        tensor.grad = np.full(4, 3, np.float32)
        assert utils.clip_grad_norm_(wrap(tensor), 3.0).item() == pytest.approx(6)
        np.testing.assert_allclose(tensor.grad.data, 1.5, rtol=1e-5)
        utils.clip_grad_value_(wrap(tensor), 0.5)
        np.testing.assert_array_equal(tensor.grad.data, np.full(4, 0.5))


def test_mixed_dtypes() -> None:
    single, double = dl.zeros(1, requires_grad=True), dl.zeros(1, requires_grad=True, dtype="float64")
    single.grad, double.grad = [3.0], np.array([4.0])
    assert utils.clip_grad_norm_([single, double], 2.5).item() == pytest.approx(5)
    assert (single.grad.item(), double.grad.item()) == pytest.approx((1.5, 2.0), rel=1e-6)


def test_nothing_to_clip() -> None:
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    assert utils.clip_grad_norm_([dl.zeros(2, requires_grad=True)], 1.0).item() == 0
    utils.clip_grad_value_([], 1.0)
    empty = dl.zeros(0, requires_grad=True)
    empty.grad = np.zeros(0, np.float32)
    for p in (2, 1, float("inf")):
        assert utils.clip_grad_norm_([empty], 1.0, p).item() == 0


@pytest.mark.filterwarnings("error")
def test_huge_gradients_do_not_overflow() -> None:
    tensor = dl.zeros(2, requires_grad=True)
    tensor.grad = np.array([3e30, 4e30], np.float32)
    assert utils.clip_grad_norm_([tensor], 1.0).item() == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(tensor.grad.data, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm_type", [2, 1, float("inf")])
def test_gradients_that_are_no_numbers(wrong: float, norm_type: float, torch: Any) -> None:
    values = np.array([1.0, wrong, 2.0], np.float32)

    def fresh() -> dl.Tensor:
        tensor = dl.zeros(3, requires_grad=True)
        tensor.grad = values.copy()
        return tensor

    tensor = fresh()
    with pytest.raises(
        RuntimeError, match=r"clip_grad_norm_: the norm of the gradients is (nan|inf); expected a finite"
    ):
        utils.clip_grad_norm_([tensor], 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_array_equal(tensor.grad.data, values)  # not touched
    other = torch.nn.Parameter(torch.zeros(3))
    other.grad = torch.tensor(values)
    total, expected = (
        utils.clip_grad_norm_([tensor], 1.0, norm_type),
        torch.nn.utils.clip_grad_norm_([other], 1.0, norm_type),
    )
    np.testing.assert_array_equal(total.item(), expected.item())
    np.testing.assert_array_equal(tensor.grad.data, other.grad.numpy())
    tensor = fresh()
    utils.clip_grad_value_([tensor], 1.5)
    np.testing.assert_array_equal(tensor.grad.data, [1, np.clip(wrong, -1.5, 1.5), 1.5])


class TestErrors:
    @pytest.mark.parametrize("limit", [-1, float("nan")])
    def test_limits(self, limit: float) -> None:
        with pytest.raises(ValueError, match=r"clip_grad_norm_: max_norm is .*; expected 0 or more"):
            utils.clip_grad_norm_([], limit)
        with pytest.raises(ValueError, match=r"clip_grad_value_: clip_value is .*; expected 0 or more"):
            utils.clip_grad_value_([], limit)

    @pytest.mark.parametrize("norm_type", [0, -1, float("-inf"), float("nan")])
    def test_norm_type(self, norm_type: float) -> None:
        with pytest.raises(ValueError, match=r"clip_grad_norm_: norm_type is .*; expected more than 0"):
            utils.clip_grad_norm_([], 1.0, norm_type)

    @pytest.mark.parametrize(
        "wrong", [dl.nn.Linear(2, 2), dl.nn.Sequential(dl.nn.Linear(2, 2)), 3, [np.zeros(3)], {"w": 1}, None]
    )
    def test_parameters(self, wrong: Any) -> None:
        with pytest.raises(
            TypeError, match=rf"clip_grad_norm_: parameters is a {type(wrong).__name__}; expected"
        ):
            utils.clip_grad_norm_(wrong, 1.0)
        with pytest.raises(
            TypeError, match=rf"clip_grad_value_: parameters is a {type(wrong).__name__}; expected"
        ):
            utils.clip_grad_value_(wrong, 1.0)
