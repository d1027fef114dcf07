from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import functional

_OF_ONE = [name for name in functional.__all__ if name not in ("matmul", "clamp", "logsumexp")]


@pytest.mark.parametrize("name", _OF_ONE)
def test_they_are_the_methods(name):
    function = getattr(dl, name)
    x = dl.tensor([0.25, 0.5], requires_grad=True)
    y = dl.tensor([0.25, 0.5], requires_grad=True)
    first, second = function(x), getattr(y, name)()
    assert first.tolist() == second.tolist()
    first.sum().backward()
    second.sum().backward()
    assert x.grad.tolist() == y.grad.tolist()
    for other in (x.numpy(), x.tolist()):
        assert function(other).tolist() == first.tolist()
    assert function.__doc__


def test_arguments():
    x = dl.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert dl.sum(x, 0).tolist() == x.sum(0).tolist()
    assert dl.mean(x, dim=1, keepdim=True).shape == (2, 1)
    assert dl.softmax(x, 0).tolist() == x.softmax(0).tolist()
    assert dl.clamp(x, 2, max=3).tolist() == [[2, 2], [3, 3]]
    assert dl.logsumexp(x, 1).tolist() == x.logsumexp(1).tolist()
    assert dl.matmul(x, x).tolist() == (x @ x).tolist()
    assert dl.matmul(np.eye(2, dtype=np.float32), x).tolist() == x.tolist()


def test_numbers():
    assert dl.sqrt(4).item() == 2.0
    assert dl.exp(0.0).dtype == np.float32
    assert dl.abs(-3).item() == 3


@pytest.mark.parametrize("name", functional.__all__)
def test_what_is_no_number(name):
    with pytest.raises(TypeError, match=rf"{name}: a is a str of dtype <U1; expected real numbers"):
        getattr(dl, name)("a")
