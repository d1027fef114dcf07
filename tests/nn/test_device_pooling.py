"""Pooling layers on an emulated GPU: the CPU's numbers and draws, and gradients by finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.kernels.backend import to_host
from dlkit.nn import functional as F

LAYERS: list[tuple[str, Any, tuple[int, ...]]] = [
    ("MaxPool2d", lambda: nn.MaxPool2d(3, 2, 1), (2, 3, 7, 8)),
    ("MaxPool1d", lambda: nn.MaxPool1d(3), (2, 3, 9)),
    ("MaxPool2d of more than a byte", lambda: nn.MaxPool2d(16), (1, 2, 17, 16)),
    ("AvgPool2d", lambda: nn.AvgPool2d(2), (2, 3, 6, 4)),
    ("AdaptiveAvgPool2d", lambda: nn.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 4)),
    ("AdaptiveAvgPool2d, global", lambda: nn.AdaptiveAvgPool2d(1), (2, 3, 7, 7)),
    ("AdaptiveAvgPool1d", lambda: nn.AdaptiveAvgPool1d(4), (2, 3, 9)),
    ("AdaptiveMaxPool2d", lambda: nn.AdaptiveMaxPool2d(3), (2, 3, 7, 4)),
    ("AdaptiveMaxPool1d", lambda: nn.AdaptiveMaxPool1d(1), (2, 3, 40)),
    ("KMaxPool1d", lambda: nn.KMaxPool1d(3), (2, 3, 9)),
    ("MaxOverTime", nn.MaxOverTime, (2, 3, 9)),
    ("StochasticPool2d", lambda: nn.StochasticPool2d(2), (2, 3, 6, 8)),
    ("StochasticPool2d, overlapping", lambda: nn.StochasticPool2d(3, 2, 1), (2, 3, 7, 8)),
    ("StochasticPool2d, average", lambda: nn.StochasticPool2d(2).eval(), (2, 3, 6, 8)),
    ("StochasticPool2d, overlapping, average", lambda: nn.StochasticPool2d(3, 2, 1).eval(), (2, 3, 7, 8)),
    ("Maxout", lambda: nn.Maxout(3), (4, 12)),
    ("Maxout of feature maps", lambda: nn.Maxout(2), (2, 6, 4, 5)),
]


@pytest.mark.parametrize(("make", "shape"), [row[1:] for row in LAYERS], ids=[row[0] for row in LAYERS])
def test_as_on_the_cpu(simt: Any, make: Any, shape: Any, dtype: Any, rng: np.random.Generator) -> None:
    module = make()
    x = rng.random(shape).astype(dtype)
    found = []
    for device in ("cpu", "simt"):
        dl.manual_seed(5)
        inputs = dl.tensor(x, device=device, requires_grad=True)
        y = module(inputs)
        assert y.device == device
        (y * y).sum().backward()
        found.append([to_host(y.detach()._array), to_host(inputs.grad._array)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(("make", "shape"), [row[1:] for row in LAYERS], ids=[row[0] for row in LAYERS])
def test_gradients(simt: Any, make: Any, shape: Any, rng: np.random.Generator) -> None:
    module = make()
    if shape[-1] > 16:
        shape = (1, 1, *shape[2:])
    size = int(np.prod(shape))
    apart = 0.1 + rng.permutation(size).reshape(shape) / size  # no maximum changes by a small step
    x = dl.tensor(apart, device="simt", requires_grad=True)

    def call(t: Any) -> Any:
        dl.manual_seed(5)  # the same draws each time
        return module(t).tanh()

    assert gradcheck(call, [x])


def test_indices_and_lengths(simt: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 9))
    there = dl.tensor(x, device="simt", requires_grad=True)
    for got, expected in (
        (F.adaptive_max_pool1d(there, 2, True), F.adaptive_max_pool1d(x, 2, True)),
        (F.k_max_pool1d(there, 2, True), F.k_max_pool1d(x, 2, True)),
        (F.max_pool1d(there, 2, return_indices=True), F.max_pool1d(x, 2, return_indices=True)),
    ):
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one.detach().cpu().numpy(), other.numpy())
    lengths = np.array([4, 9])
    expected = F.max_over_time(x, lengths).numpy()
    for given in (lengths, dl.tensor(lengths, device="simt")):
        np.testing.assert_array_equal(F.max_over_time(there, given).detach().cpu().numpy(), expected)
    with pytest.raises(ValueError, match="lengths holds 10; expected 1 to 9"):
        F.max_over_time(there, np.array([4, 10]))


def test_convolution_and_maximum(simt: Any, rng: np.random.Generator) -> None:
    shapes = (3, 9, 4), (5, 4, 3), (5,)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    found = []
    for device in ("cpu", "simt"):
        x, weight, bias = (dl.tensor(a, device=device, requires_grad=True) for a in arrays)
        y = F.conv1d_max(x, weight, bias)
        (y * y).sum().backward()
        found.append([t.cpu().numpy() for t in (y.detach(), x.grad, weight.grad, bias.grad)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_places_are_kept_as_bytes(simt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.kernels import device_pool

    kept = []
    whole = device_pool.max_pool2d_backward

    def seen(grad: Any, indices: Any, *args: Any, **settings: Any) -> Any:
        kept.append(indices.dtype)
        return whole(grad, indices, *args, **settings)

    monkeypatch.setattr(device_pool, "max_pool2d_backward", seen)
    x = dl.tensor(np.zeros((1, 1, 4, 4), np.float32), device="simt", requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert kept == [np.uint8]
