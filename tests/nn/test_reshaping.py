"""Flatten and Identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (0, 3, 4), (1, 2, 3, 4), (2, 1, 1)], ids=str)
@pytest.mark.parametrize("dims", [(), (0,), (0, -1), (1, -1), (0, 1), (-2, -1)], ids=str)
def test_flatten_against_pytorch(shape: Any, dims: Any, torch: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape)
    got = nn.Flatten(*dims)(dl.tensor(x))
    np.testing.assert_array_equal(got.data, torch.nn.Flatten(*dims)(torch.tensor(x)).numpy())


def test_flatten_of_arrays_and_derivative(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4))
    np.testing.assert_array_equal(nn.Flatten()(x).data, x.reshape(2, 12))
    assert gradcheck(nn.Flatten(), dl.tensor(x, requires_grad=True))
    assert gradcheck(lambda a: nn.Flatten()(a.permute(2, 0, 1)), dl.tensor(x, requires_grad=True))


def test_identity() -> None:
    x = dl.ones(2)
    assert nn.Identity()(x) is x
    assert nn.Identity(54, unused="here")(x) is x


def test_repr(torch: Any) -> None:
    assert repr(nn.Flatten()) == repr(torch.nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(nn.Identity()) == repr(torch.nn.Identity())


@pytest.mark.parametrize(("dims", "shape"), [((3, -1), (2, 3)), ((1, 2), (2, 3)), ((-3, -1), (2, 3))])
def test_dimensions_out_of_range(dims: Any, shape: Any) -> None:
    with pytest.raises(IndexError, match=r"flatten: .*; expected -2 to 1"):
        nn.Flatten(*dims)(dl.zeros(*shape))


def test_dimensions_in_the_wrong_order() -> None:
    with pytest.raises(ValueError, match="flatten: start_dim"):
        nn.Flatten(2, 1)(dl.zeros(2, 3, 4))
