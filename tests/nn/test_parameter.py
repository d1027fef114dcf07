"""Parameters: what they take, share, and refuse."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn


def test_shares_contiguous_memory(dtype: Any) -> None:
    array = np.ones((2, 3), dtype)
    parameter = nn.Parameter(array)
    assert parameter.data is array
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert parameter.dtype == dtype
    assert isinstance(parameter, dl.Tensor)


def test_is_contiguous() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for view in (array.T, array[:, ::2], array[::-1]):
        parameter = nn.Parameter(view)
        assert parameter.data.flags.c_contiguous
        np.testing.assert_array_equal(parameter.data, view)


def test_of_other_things() -> None:
    assert nn.Parameter([1.0, 2.0]).dtype == np.float32
    assert nn.Parameter(dl.ones(3)).shape == (3,)
    assert nn.Parameter(np.array(1.5)).shape == ()
    assert nn.Parameter(np.zeros(3, ">f4")).dtype == np.float32
    frozen = nn.Parameter([1.0], requires_grad=False)
    assert not frozen.requires_grad


def test_of_a_recorded_result_it_is_a_leaf() -> None:
    x = dl.ones(2, requires_grad=True)
    parameter = nn.Parameter(x * 2)
    assert parameter.is_leaf
    assert parameter.grad_fn is None


@pytest.mark.parametrize("data", [[1, 2], np.zeros(2, int), np.zeros(2, bool)])
def test_of_what_has_no_derivative(data: Any) -> None:
    with pytest.raises(
        TypeError, match=r"requires_grad=True for a tensor of dtype .*; expected float32 or float64"
    ):
        nn.Parameter(data)
    assert not nn.Parameter(data, requires_grad=False).requires_grad


@pytest.mark.parametrize("data", ["text", None, [1j], object(), np.zeros(2, np.float16)])
def test_of_what_is_no_array(data: Any) -> None:
    with pytest.raises(TypeError, match="expected"):
        nn.Parameter(data)


def test_copies_are_parameters() -> None:
    parameter = nn.Parameter([1.0, 2.0], name="w")
    parameter.grad = [3.0, 4.0]
    twin = copy.deepcopy(parameter)
    assert type(twin) is nn.Parameter
    assert twin.name == "w"
    assert twin.grad.tolist() == [3.0, 4.0]
    assert twin.grad.data is not parameter.grad.data
    loaded = pickle.loads(pickle.dumps(nn.Parameter([1.0], requires_grad=False)))
    assert type(loaded) is nn.Parameter
    assert not loaded.requires_grad


def test_arithmetic_gives_tensors() -> None:
    assert type(nn.Parameter([1.0]) * 2) is dl.Tensor
    assert type(nn.Parameter([1.0]).detach()) is dl.Tensor


def test_repr() -> None:
    assert repr(nn.Parameter([1.0])) == "Parameter containing:\ntensor([1.], requires_grad=True)"
