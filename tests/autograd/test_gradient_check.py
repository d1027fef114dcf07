from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import GradcheckError, gradcheck


def leaf(*shape, seed=0):
    return dl.Tensor(np.random.default_rng(seed).uniform(0.5, 2, shape), requires_grad=True)


def test_right_derivatives():
    assert gradcheck(lambda a, b: (a * b).sum(), (leaf(2, 3), leaf(3, seed=1)))
    assert gradcheck(lambda a: a.exp(), leaf(3))
    assert gradcheck(lambda a: (a.sum(), a * 2), [leaf(2)])
    assert gradcheck(lambda a, factor: a * factor, (leaf(2), 3.0))
    assert gradcheck(lambda a, b: a * b, (leaf(2), dl.ones(2)))
    assert gradcheck(lambda a: a * a, leaf())
    assert gradcheck(lambda a: a * 1, leaf(0))


WRONG = {
    # A part of the function that gradients do not go through.
    "detached": lambda a: a * a.detach(),
    "through numpy": lambda a: a * dl.Tensor(np.sin(a.numpy())),
    "all of it": lambda a: a.detach() * 2,
    "one output of two": lambda a: (a * 2, a.detach() * 2),
    "rounding": lambda a: a.float().double(),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivatives(name):
    with pytest.raises(
        GradcheckError, match=r"gradcheck: the derivative of output \d\[\d\] by input 0\[\d\] is"
    ):
        gradcheck(WRONG[name], leaf(2))
    assert gradcheck(WRONG[name], leaf(2), raise_exception=False) is False


def test_the_second_input_is_checked_too():
    with pytest.raises(GradcheckError, match=r"by input 1\[0, 1\]|by input 1\[0, 0\]"):
        gradcheck(lambda a, b: a * b.detach(), (leaf(2), leaf(1, 2)))


def test_a_small_error_and_the_tolerance():
    def nearly(a):
        return a * a + 1e-3 * a.detach()

    assert not gradcheck(nearly, leaf(2), rtol=1e-6, raise_exception=False)
    assert gradcheck(nearly, leaf(2), atol=1e-2)


def test_nan_is_an_error():
    with pytest.raises(GradcheckError, match="nan"):
        gradcheck(lambda a: (a - a.detach()).sqrt() * float("nan"), leaf(1))


def test_a_function_that_changes():
    calls = iter(range(1000))
    with pytest.raises(GradcheckError, match="gives something else when called again"):
        gradcheck(lambda a: a * next(calls), leaf(2))


def test_inputs_stay_as_they_were():
    a = leaf(3)
    before = a.numpy().copy()
    gradcheck(lambda a: a.exp(), a)
    assert a.grad is None
    np.testing.assert_array_equal(a.numpy(), before)
    count = iter(range(4))

    def fails(a):
        if next(count) == 3:
            raise KeyError
        return a * 2

    with pytest.raises(KeyError):
        gradcheck(fails, a)
    np.testing.assert_array_equal(a.numpy(), before)


def test_errors():
    with pytest.raises(ValueError, match="gradcheck: no input requires a gradient"):
        gradcheck(lambda a: a, dl.ones(2))
    with pytest.raises(TypeError, match="gradcheck: input 1 is of dtype float32; expected float64"):
        gradcheck(lambda a, b: a, (leaf(1), dl.ones(1, requires_grad=True)))
    with pytest.raises(TypeError, match="gradcheck: the function returned a float; expected a Tensor"):
        gradcheck(lambda a: a.sum().item(), leaf(1))
    fixed = dl.Tensor(np.broadcast_to(1.0, 3), requires_grad=True)
    with pytest.raises(ValueError, match="gradcheck: input 0 is read-only"):
        gradcheck(lambda a: a * 2, fixed)
