from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl


def softmax(x, axis):
    powers = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    return powers / powers.sum(axis=axis, keepdims=True)


_CASES = [
    *[((4,), 0), ((2, 3), 1), ((2, 3), -1), ((2, 3), 0)],
    *[((2, 3, 4), 1), ((0, 3), 1), ((2, 1), -1), ((0, 3), 0)],
]


@pytest.mark.parametrize(("shape", "dim"), _CASES, ids=str)
def test_against_numpy(check, rng, shape, dim):
    x = 2 * rng.standard_normal(shape)
    check(lambda a: a.softmax(dim), lambda a: softmax(a, dim), x)
    check(lambda a: a.log_softmax(dim), lambda a: np.log(softmax(a, dim)), x)


def test_of_a_number():
    x = dl.tensor(3.0, requires_grad=True)
    y = x.softmax() + x.log_softmax()
    y.backward()
    assert y.item() == 1.0
    assert x.grad.item() == 0.0


def test_far_out():
    x = dl.tensor([[1e4, 0.0], [-1e4, -1e4]], requires_grad=True)
    assert x.softmax().tolist() == [[1.0, 0.0], [0.5, 0.5]]
    out = x.log_softmax()
    assert out.numpy()[0].tolist() == [0.0, -1e4]
    out[0, 1].backward()
    assert x.grad.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_rows_sum_to_one_and_gradients_to_zero(rng):
    x = dl.Tensor(rng.standard_normal((50, 7)).astype(np.float32), requires_grad=True)
    y = x.softmax()
    np.testing.assert_allclose(y.sum(1).numpy(), 1, rtol=1e-6)
    y.backward(rng.standard_normal((50, 7)))
    np.testing.assert_allclose(x.grad.sum(1).numpy(), 0, atol=1e-6)


def test_integers_become_float32():
    assert dl.arange(3).softmax().dtype == np.float32


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_dimensions_that_are_not_there(name):
    with pytest.raises(IndexError, match=rf"{name}: dim is 2; expected -2 to 1 for a tensor of 2 dimensions"):
        getattr(dl.ones(2, 3), name)(2)
    with pytest.raises(TypeError, match=rf"{name}: dim is a NoneType; expected an integer"):
        getattr(dl.ones(2, 3), name)(None)
