"""conv1d_max as an operation of the graph: against conv1d and max, and by finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.nn import Parameter
from dlkit.nn import functional as F


def parts(rng, dtype=np.float64):
    x = dl.tensor(rng.standard_normal((3, 9, 4)).astype(dtype), requires_grad=True)
    weight = Parameter(rng.standard_normal((5, 4, 3)).astype(dtype))
    return x, weight, Parameter(rng.standard_normal(5).astype(dtype))


def test_is_conv1d_and_a_maximum(rng):
    x, weight, bias = parts(rng)
    seed = rng.standard_normal((3, 5))
    found = []
    for fused in (True, False):
        for tensor in (x, weight, bias):
            tensor.zero_grad()
        y = (
            F.conv1d_max(x, weight, bias)
            if fused
            else F.conv1d(x.transpose(1, 2), weight, bias).max(dim=2)[0]
        )
        y.backward(seed)
        found.append([y.numpy().copy(), *(t.grad.numpy().copy() for t in (x, weight, bias))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_gradients(rng):
    x, weight, bias = parts(rng)
    assert gradcheck(lambda *_: F.conv1d_max(x, weight, bias).tanh(), [x, weight, bias])
    assert gradcheck(lambda *_: F.conv1d_max(x, weight), [x, weight])


def test_gradients_add_up_over_two_passes(rng):
    x, weight, bias = parts(rng)
    F.conv1d_max(x, weight, bias).sum().backward()
    once = weight.grad.numpy().copy(), bias.grad.numpy().copy()
    F.conv1d_max(x, weight, bias).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), 2 * once[0])
    np.testing.assert_allclose(bias.grad.numpy(), 2 * once[1])


def test_only_what_is_asked_for(rng):
    x, weight, bias = parts(rng)
    weight.requires_grad = False
    F.conv1d_max(x, weight, bias).sum().backward()
    assert weight.grad is None
    np.testing.assert_allclose(bias.grad.numpy(), 3)
    with dl.no_grad():
        assert F.conv1d_max(x, weight, bias).grad_fn is None


def test_errors(rng):
    x, weight, bias = parts(rng)
    with pytest.raises(TypeError, match="conv1d_max: weight is a ndarray; expected a Tensor"):
        F.conv1d_max(x, weight.numpy())
    with pytest.raises(TypeError, match="bias is a list; expected a Tensor or None"):
        F.conv1d_max(x, weight, [0.0])
    with pytest.raises(ValueError, match="does not fit into a length of 2"):
        F.conv1d_max(x[:, :2], weight, bias)
