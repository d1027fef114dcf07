"""Adaptive and sampled softmax on devices: what the CPU gives, from the same weights and draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.kernels.backend import to_host


def both(make: Any, labels: Any, training: bool = True) -> list[list[Any]]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(labels), 6)).astype(np.float32)
    results = []
    for device in ("cpu", "simt"):
        dl.manual_seed(3)
        module = make().to(device)
        module.train(training)
        x = dl.tensor(values).to(device).requires_grad_()
        found = module(x, labels)
        loss = found.loss if isinstance(found, tuple) else found
        loss.backward()
        arrays = [loss.data, x.grad.data, *(p.grad.data for p in module.parameters() if p.grad is not None)]
        if isinstance(found, tuple):
            arrays += [found.output.data, module.predict(x).data]
        results.append([*map(to_host, arrays), to_host(module.log_prob(x).data)])
    return results


@pytest.mark.parametrize("labels", [[0, 1, 2, 2], [0, 9, 3, 4, 8, 19, 1, 11], [19, 18], [5]])
def test_adaptive(simt: Any, labels: list[int]) -> None:
    cpu, device = both(lambda: nn.AdaptiveLogSoftmaxWithLoss(6, 20, [3, 8, 12]), np.array(labels))
    for a, b in zip(cpu, device, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("labels", [[0, 1, 2, 2], [0, 9, 3, 4, 8, 19, 1, 11], [5]])
def test_tied_adaptive(simt: Any, labels: list[int]) -> None:
    weight = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    cpu, device = both(
        lambda: nn.TiedAdaptiveLogSoftmaxWithLoss(nn.Parameter(weight.copy()), [3, 8, 12]), np.array(labels)
    )
    for a, b in zip(cpu, device, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("samples", [1, 12])
def test_sampled(simt: Any, training: bool, samples: int) -> None:
    labels = np.array([0, 9, 3, 0, 8, 19, 1, 11])
    cpu, device = both(lambda: nn.SampledSoftmaxLoss(6, 20, samples), labels, training)
    for a, b in zip(cpu, device, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_targets_on_the_device_and_bad_ones(simt: Any) -> None:
    module = nn.AdaptiveLogSoftmaxWithLoss(6, 20, [3]).to("simt")
    x = dl.zeros(3, 6, device="simt")
    here = module(x, np.array([1, 5, 19])).loss.item()
    assert module(x, dl.tensor(np.array([1, 5, 19])).to("simt")).loss.item() == here
    with pytest.raises(ValueError, match=r"target\[1\] is 20; expected 0 to 19"):
        module(x, np.array([1, 20, 3]))
