"""Convolutional layers: gradients by finite differences and against PyTorch, fusion, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F

SETTINGS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "dilation": 2},
    {"groups": 2, "bias": False},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (0, 2)},
]


def layer(dims: int, settings: dict[str, Any], dtype: Any = np.float64) -> Any:
    settings = dict(settings)
    kernel = settings.pop("kernel_size", 3)
    if dims == 1:
        kernel = kernel if isinstance(kernel, int) else kernel[-1]
        settings = {k: v[-1] if isinstance(v, tuple) else v for k, v in settings.items()}
    return (nn.Conv1d if dims == 1 else nn.Conv2d)(4, 6, kernel, **settings, dtype=dtype)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradients(dims: int, settings: dict[str, Any], rng: np.random.Generator) -> None:
    module = layer(dims, settings)
    x = dl.tensor(rng.standard_normal((2, 4, *(7, 8)[-dims:])), requires_grad=True)
    assert gradcheck(lambda *_: module(x).tanh(), [x, *module.parameters()])


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_as_in_torch(dims: int, settings: dict[str, Any], torch: Any, rng: np.random.Generator) -> None:
    module = layer(dims, settings)
    their_settings = {k: v for k, v in settings.items() if k != "kernel_size"}
    if dims == 1:
        their_settings = {k: v[-1] if isinstance(v, tuple) else v for k, v in their_settings.items()}
    kind = torch.nn.Conv1d if dims == 1 else torch.nn.Conv2d
    theirs = kind(4, 6, module.kernel_size, **their_settings, dtype=torch.float64)
    theirs.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in module.state_dict().items()})
    x = rng.standard_normal((3, 4, *(9, 8)[-dims:]))
    ours, other = dl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = module(ours), theirs(other)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), rtol=1e-10, atol=1e-12)
    for mine, their in zip(module.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), their.grad.numpy(), rtol=1e-10, atol=1e-11)


def test_an_image_alone(rng: np.random.Generator) -> None:
    module = layer(2, {})
    x = rng.standard_normal((4, 7, 8))
    one = module(dl.tensor(x, requires_grad=True))
    assert one.shape == (6, 5, 6)
    np.testing.assert_array_equal(one.numpy(), module(x[None]).numpy()[0])
    one.sum().backward()
    with pytest.raises(ValueError, match=r"x is \(7, 8\); expected \(N, C, H, W\) or \(C, H, W\)"):
        module(x[0])


@pytest.mark.parametrize("dims", [1, 2])
def test_a_relu_is_part_of_the_kernel(dims: int, rng: np.random.Generator) -> None:
    module, x = layer(dims, {}), rng.standard_normal((2, 4, *(7, 8)[-dims:]))
    fused = nn.Sequential(module, nn.ReLU())(x)
    apart = F.relu(module(x))
    np.testing.assert_array_equal(fused.numpy(), apart.numpy())
    fused.sum().backward()
    grads = [p.grad.numpy().copy() for p in module.parameters()]
    module.zero_grad()
    apart.sum().backward()
    for one, other in zip(grads, module.parameters(), strict=True):
        np.testing.assert_allclose(one, other.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("dims", [1, 2])
def test_a_pooling_takes_the_relu_along(dims: int, rng: np.random.Generator) -> None:
    module, x = layer(dims, {}), rng.standard_normal((2, 4, *(9, 11)[-dims:]))
    pool = nn.MaxPool1d(2) if dims == 1 else nn.MaxPool2d(2)
    fused = nn.Sequential(module, nn.ReLU(), pool)(x)
    apart = pool(F.relu(module(x)))
    np.testing.assert_array_equal(fused.numpy(), apart.numpy())
    weights = rng.standard_normal(fused.shape)
    (fused * weights).sum().backward()
    grads = [p.grad.numpy().copy() for p in module.parameters()]
    module.zero_grad()
    (apart * weights).sum().backward()
    for one, other in zip(grads, module.parameters(), strict=True):
        np.testing.assert_allclose(one, other.grad.numpy(), rtol=1e-12, atol=1e-12)
    # Hooks see what each module gives.
    seen: list[Any] = []
    relu = nn.ReLU()
    relu.register_forward_hook(lambda module, inputs, output: seen.append(output.numpy()))
    np.testing.assert_array_equal(nn.Sequential(module, relu, pool)(x).numpy(), fused.numpy())
    np.testing.assert_array_equal(seen[0], F.relu(module(x)).numpy())


def test_gradients_add_up(rng: np.random.Generator) -> None:
    module, x = layer(2, {}), rng.standard_normal((2, 4, 7, 8))
    module(x).sum().backward()
    once = [p.grad.numpy().copy() for p in module.parameters()]
    module(x).sum().backward()
    for one, parameter in zip(once, module.parameters(), strict=True):
        np.testing.assert_allclose(2 * one, parameter.grad.numpy(), rtol=1e-12)
    module.bias.requires_grad = False  # then only one of the two
    module.zero_grad()
    module(x).sum().backward()
    np.testing.assert_allclose(once[0], module.weight.grad.numpy(), rtol=1e-12)
    assert module.bias.grad is None


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((0, 6, 3), {}, ValueError, "in_channels is 0"),
        ((4, 6, 3), {"groups": 3}, ValueError, "in_channels is 4 and groups is 3"),
        ((4, 6, 3), {"groups": 4}, ValueError, "out_channels is 6 and groups is 4"),
        ((4, 6, 0), {}, ValueError, "kernel_size is 0; expected at least 1"),
        ((4, 6, (3, 3, 3)), {}, TypeError, "an integer or 2 of them"),
        ((4, 6, 3), {"stride": 0}, ValueError, "stride is 0"),
        ((4, 6, 3), {"padding": -1}, ValueError, "padding is -1"),
        ((4, 6, 3), {"padding": "full"}, ValueError, "padding is 'full'"),
        ((4, 6, 3), {"padding": "same", "stride": 2}, ValueError, "expected a stride of 1"),
        ((4, 6, 3), {"dtype": np.int32}, TypeError, "Conv2d"),
    ],
)
def test_refused(arguments: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        nn.Conv2d(*arguments, **settings)
    assert str(raised.value).startswith("Conv2d: ")


def test_text(rng: np.random.Generator) -> None:
    assert repr(nn.Conv2d(1, 2, 3)) == "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))"
    module = nn.Conv1d(2, 4, 3, padding="same", groups=2, bias=False)
    assert repr(module) == "Conv1d(2, 4, kernel_size=(3,), stride=(1,), padding='same', groups=2, bias=False)"
