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


AVG_SETTINGS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
]


def same_as(torch: Any, module: Any, theirs: Any, x: Any) -> None:
    """Output and gradient against PyTorch's, and the gradient by finite differences."""
    ours, other = dl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = module(ours), theirs(other)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-14)
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), rtol=1e-12, atol=1e-14)
    assert gradcheck(lambda t: module(t).tanh(), [dl.tensor(x, requires_grad=True)])
    # Without a batch. Which planes lie side by side in registers, and with it the order of a mean's sum, depends on how
    # many there are.
    np.testing.assert_allclose(module(x[0]).numpy(), y.numpy()[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("settings", AVG_SETTINGS, ids=str)
def test_avg(dims: int, settings: dict[str, Any], torch: Any, rng: np.random.Generator) -> None:
    settings = flat(dims, settings)
    x = rng.standard_normal((2, 3, *(7, 8)[-dims:]))
    module = (nn.AvgPool1d if dims == 1 else nn.AvgPool2d)(**settings)
    same_as(torch, module, (torch.nn.AvgPool1d if dims == 1 else torch.nn.AvgPool2d)(**settings), x)


def test_avg_with_a_divisor(torch: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 7, 8))
    settings = {"kernel_size": 2, "divisor_override": 3}
    same_as(torch, nn.AvgPool2d(**settings), torch.nn.AvgPool2d(**settings), x)
    with pytest.raises(ValueError, match="AvgPool2d: divisor_override is 0"):
        nn.AvgPool2d(2, divisor_override=0)
    with pytest.raises(TypeError, match="AvgPool2d: divisor_override is 'x'"):
        nn.AvgPool2d(2, divisor_override="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["AdaptiveAvgPool", "AdaptiveMaxPool"])
@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, (2, 3), (None, 4)], ids=str)
def test_adaptive(kind: str, dims: int, size: Any, torch: Any, rng: np.random.Generator) -> None:
    if dims == 1 and isinstance(size, tuple):
        size = size[-1]
    x = rng.standard_normal((2, 3, *(7, 8)[-dims:]))
    name = f"{kind}{dims}d"
    module, theirs = getattr(nn, name)(size), getattr(torch.nn, name)(size)
    same_as(torch, module, theirs, x)
    assert repr(module) == repr(theirs)
    if kind == "AdaptiveMaxPool":
        y, indices = getattr(nn, name)(size, return_indices=True)(x)
        z, numbers = getattr(torch.nn, name)(size, return_indices=True)(torch.tensor(x))
        np.testing.assert_array_equal(indices.numpy(), numbers.numpy())
        np.testing.assert_array_equal(y.numpy(), z.numpy())


def test_adaptive_refused() -> None:
    with pytest.raises(ValueError, match="AdaptiveAvgPool2d: output_size is 0; expected at least 1"):
        nn.AdaptiveAvgPool2d(0)
    with pytest.raises(TypeError, match="AdaptiveAvgPool2d: output_size"):
        nn.AdaptiveAvgPool2d((1, 2, 3))


def test_k_max(rng: np.random.Generator) -> None:
    x = dl.tensor(rng.standard_normal((2, 3, 9)), requires_grad=True)
    module = nn.KMaxPool1d(4)
    assert module(x).shape == (2, 3, 4)
    assert gradcheck(lambda t: module(t).tanh(), [x])
    y, indices = F.k_max_pool1d(x, 4, return_indices=True)
    np.testing.assert_array_equal(np.take_along_axis(x.numpy(), indices.numpy(), -1), y.numpy())
    assert repr(module) == "KMaxPool1d(k=4)"
    with pytest.raises(ValueError, match="k is 4 but x is"):
        module(x[:, :, :3])


def test_max_over_time(rng: np.random.Generator) -> None:
    x = dl.tensor(rng.standard_normal((3, 4, 9)), requires_grad=True)
    lengths = np.array([9, 1, 5])
    module = nn.MaxOverTime()
    np.testing.assert_array_equal(module(x).numpy(), x.numpy().max(-1))
    for given_lengths in (lengths, dl.tensor(lengths)):
        y = module(x, given_lengths).numpy()
        np.testing.assert_array_equal(y[1], x.numpy()[1, :, 0])
        np.testing.assert_array_equal(y[2], x.numpy()[2, :, :5].max(-1))
    assert gradcheck(lambda t: module(t, lengths).tanh(), [x])


def test_stochastic(rng: np.random.Generator) -> None:
    x = dl.tensor(np.maximum(rng.standard_normal((2, 3, 7, 8)), 0) + 0.01, requires_grad=True)
    module = nn.StochasticPool2d(3, 2, 1)
    dl.manual_seed(5)
    y = module(x)
    z = module(x)
    dl.manual_seed(5)
    np.testing.assert_array_equal(module(x).numpy(), y.numpy())
    assert (z.numpy() != y.numpy()).any()
    # A gradient of 1 for each output goes to what was drawn.
    y.sum().backward()
    assert x.grad.numpy().sum() == y.numpy().size
    np.testing.assert_allclose((x.grad.numpy() * x.numpy()).sum(), y.numpy().sum())
    module.eval()
    assert gradcheck(lambda t: module(t).tanh(), [x])
    assert F.stochastic_pool2d(x[0], 2, training=False).shape == (3, 3, 4)
    # Numbers are reserved as for dropout: as many as outputs, by fours.
    dl.manual_seed(5)
    F.stochastic_pool2d(x, 3, 2, 1)
    assert dl.kernels.random.position()[1] == 2 * 3 * 4 * 4
    for stride in (0, -1):
        with pytest.raises(ValueError, match="stochastic_pool2d: stride is"):
            F.stochastic_pool2d(x, 2, stride)
    with pytest.raises(ValueError, match="stochastic_pool2d: the window's height is 9"):
        F.stochastic_pool2d(x, 9)


@pytest.mark.parametrize(("shape", "dim"), [((4, 12), 1), ((2, 6, 4, 5), 1), ((2, 3, 6), -1)])
def test_maxout(shape: Any, dim: int, rng: np.random.Generator) -> None:
    x = dl.tensor(rng.standard_normal(shape), requires_grad=True)
    module = nn.Maxout(3, dim)
    assert gradcheck(lambda t: module(t).tanh(), [x])
    assert module(x).shape[dim] == shape[dim] // 3
    assert repr(nn.Maxout(3)) == "Maxout(pieces=3)"


def test_layers_of_a_network(rng: np.random.Generator) -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 6), nn.Maxout(2)),
    )
    y = model(rng.standard_normal((5, 1, 12, 12)).astype(np.float32))
    assert y.shape == (5, 3)
    (y * y).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
