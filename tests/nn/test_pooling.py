"""Pooling layers: gradients by finite differences and against PyTorch, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F

MAX_SETTINGS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 2, "stride": 1, "dilation": 2},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
]


def flat(dims: int, settings: dict[str, Any]) -> dict[str, Any]:
    return {k: v[-1] if dims == 1 and isinstance(v, tuple) else v for k, v in settings.items()}


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("settings", MAX_SETTINGS, ids=str)
def test_max(dims: int, settings: dict[str, Any], torch: Any, rng: np.random.Generator) -> None:
    settings = flat(dims, settings)
    module = (nn.MaxPool1d if dims == 1 else nn.MaxPool2d)(**settings)
    theirs = (torch.nn.MaxPool1d if dims == 1 else torch.nn.MaxPool2d)(**settings)
    x = rng.standard_normal((2, 3, *(7, 8)[-dims:]))
    ours, other = dl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = module(ours), theirs(other)
    np.testing.assert_array_equal(y.numpy(), z.detach().numpy())
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), rtol=1e-12)
    assert gradcheck(lambda t: module(t).tanh(), [dl.tensor(x, requires_grad=True)])
    # One without a batch, and the indices.
    np.testing.assert_array_equal(module(x[0]).numpy(), y.numpy()[0])
    z, numbers = (torch.nn.functional.max_pool1d if dims == 1 else torch.nn.functional.max_pool2d)(
        other, **settings, return_indices=True
    )
    y, indices = (F.max_pool1d if dims == 1 else F.max_pool2d)(ours, **settings, return_indices=True)
    np.testing.assert_array_equal(indices.numpy(), numbers.numpy())
    assert not indices.requires_grad
    ours.grad = None
    (y * y).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), rtol=1e-12)
    assert repr(module) == repr(theirs)


def test_max_of_one_image_alone(rng: np.random.Generator) -> None:
    x = dl.tensor(rng.standard_normal((3, 7, 8)), requires_grad=True)
    assert gradcheck(lambda t: F.max_pool2d(t, 3, 2, 1), [x])
    with pytest.raises(ValueError, match=r"x is \(7, 8\); expected \(N, C, H, W\) or \(C, H, W\)"):
        F.max_pool2d(x[0], 2)


def test_a_large_window_keeps_numbers_in_the_plane(rng: np.random.Generator) -> None:
    x = dl.tensor(rng.standard_normal((1, 2, 18, 18)), requires_grad=True)
    F.max_pool2d(x, 17, 1).sum().backward()
    assert x.grad.numpy().sum() == 8


def test_relu_commutes_with_max(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 9, 8)) - 1
    one, other = dl.tensor(x, requires_grad=True), dl.tensor(x, requires_grad=True)
    y, z = F.max_pool2d(one, 2, activation="relu"), F.max_pool2d(F.relu(other), 2)
    np.testing.assert_array_equal(y.numpy(), z.numpy())
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_array_equal(one.grad.numpy(), other.grad.numpy())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"kernel_size": 0}, ValueError, "kernel_size is 0; expected at least 1"),
        ({"kernel_size": 2, "stride": 0}, ValueError, "stride is 0"),
        ({"kernel_size": 2, "padding": 2}, ValueError, "padding is 2 and the window's extent 2"),
        ({"kernel_size": (2, 2, 2)}, TypeError, "an integer or 2 of them"),
        ({"kernel_size": 2.5}, TypeError, r"kernel_size is 2\.5"),
    ],
)
def test_max_refused(settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        nn.MaxPool2d(**settings)
    assert str(raised.value).startswith("MaxPool2d: ")
