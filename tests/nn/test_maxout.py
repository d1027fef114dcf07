from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck


@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 5), (2, 6, 4, 3), (0, 6, 2), (1, 3)])
@pytest.mark.parametrize("pieces", [1, 3])
def test_is_the_greatest_of_neighbouring_channels(rng, shape, pieces, dtype):
    x = rng.standard_normal(shape).astype(dtype)
    out = nn.Maxout(pieces)(dl.Tensor(x))
    grouped = x.reshape(shape[0], shape[1] // pieces, pieces, *shape[2:])
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.data, grouped.max(axis=2))


@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 4, 3)])
def test_the_gradient_goes_to_the_greatest(rng, shape):
    x = rng.standard_normal(shape)
    gradcheck(lambda t: (nn.Maxout(2)(t) * 3).sum(), dl.tensor(x, requires_grad=True))
    tensor = dl.tensor(x, requires_grad=True)
    nn.Maxout(2)(tensor).sum().backward()
    grouped = x.reshape(shape[0], shape[1] // 2, 2, *shape[2:])
    expected = (grouped == grouped.max(axis=2, keepdims=True)).reshape(shape)
    np.testing.assert_array_equal(tensor.grad.data, expected)


def test_repr():
    assert repr(nn.Maxout(3)) == "Maxout(pieces=3)"


@pytest.mark.parametrize(
    ("pieces", "shape", "kind", "message"),
    [
        (0, None, ValueError, "Maxout: pieces is 0; expected at least 1"),
        (1.5, None, TypeError, "Maxout: pieces is a float"),
        (2, (3, 5), ValueError, r"Maxout: x is \(3, 5\); expected \(N, C, ...\)"),
        (2, (4,), ValueError, r"Maxout: x is \(4,\)"),
    ],
)
def test_wrong_arguments(pieces, shape, kind, message):
    with pytest.raises(kind, match=message):
        nn.Maxout(pieces)(np.zeros(shape or (1, 1), np.float32))
