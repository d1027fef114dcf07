"""Adaptive and sampled softmax: against PyTorch, the full softmax, finite differences, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import Tensor, gradcheck


def adaptive(dtype: Any = np.float64, **more: Any) -> nn.AdaptiveLogSoftmaxWithLoss:
    return nn.AdaptiveLogSoftmaxWithLoss(12, 30, [6, 15], div_value=2.0, dtype=dtype, **more)


def rows(rng: np.random.Generator, count: int = 9, requires_grad: bool = True) -> Tensor:
    return Tensor(rng.standard_normal((count, 12)), requires_grad=requires_grad)


def test_adaptive_is_a_distribution(rng: np.random.Generator) -> None:
    layer, x = adaptive(head_bias=True), rows(rng)
    logs = layer.log_prob(x).numpy()
    assert logs.shape == (9, 30)
    np.testing.assert_allclose(np.exp(logs).sum(1), 1, rtol=1e-12)
    target = rng.integers(0, 30, 9)
    output, loss = layer(x, target)
    np.testing.assert_allclose(output.numpy(), logs[np.arange(9), target], rtol=1e-12)
    np.testing.assert_allclose(loss.item(), -output.numpy().mean(), rtol=1e-12)
    np.testing.assert_array_equal(layer.predict(x).numpy(), logs.argmax(1))


@pytest.mark.parametrize(
    "target", [[0, 5, 6, 14, 15, 29], [0, 1, 2, 3, 4, 5], [29] * 6, [7, 8, 7, 8, 7, 0]], ids=str
)
def test_adaptive_gradients(target: list[int], rng: np.random.Generator) -> None:
    layer, x = adaptive(head_bias=True), rows(rng, 6)
    labels = np.array(target)
    assert gradcheck(lambda given: layer(given, labels).loss, (x,))
    for parameter in layer.parameters():
        assert gradcheck(lambda _, p=parameter: layer(x, labels).output.sum(), (parameter,))


def test_adaptive_is_pytorchs(rng: np.random.Generator, torch: Any) -> None:
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(12, 30, [6, 15], div_value=2.0, head_bias=True).double()
    ours = adaptive(head_bias=True)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x, target = rows(rng), rng.integers(0, 30, 9)
    seen = torch.from_numpy(x.numpy().copy()).requires_grad_()
    expected = theirs(seen, torch.from_numpy(target))
    output, loss = ours(x, target)
    np.testing.assert_allclose(output.numpy(), expected.output.detach().numpy(), rtol=1e-10)
    expected.loss.backward()
    loss.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), seen.grad.numpy(), rtol=1e-8, atol=1e-12)
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        grad = dict(theirs.named_parameters())[name].grad.numpy()
        np.testing.assert_allclose(parameter.grad.numpy(), grad, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ours.log_prob(x).numpy(), theirs.log_prob(seen).detach().numpy(), rtol=1e-10)


def tied(rng: np.random.Generator) -> nn.TiedAdaptiveLogSoftmaxWithLoss:
    layer = nn.TiedAdaptiveLogSoftmaxWithLoss(nn.Parameter(rng.standard_normal((30, 12))), [6, 15])
    dl.nn.init.uniform_(layer.bias, -1, 1)
    return layer


def test_tied_adaptive_is_the_adaptive_one_with_projections_that_do_nothing(rng: np.random.Generator) -> None:
    layer, x, target = tied(rng), rows(rng), np.array([0, 5, 6, 14, 15, 29, 3, 8, 20])
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    plain = nn.AdaptiveLogSoftmaxWithLoss(13, 30, [6, 15], div_value=1.0, dtype=np.float64)
    # One feature more, which is 1: the clusters of the plain one have no biases.
    wide = np.hstack([weight, bias[:, None]])
    head = np.hstack([layer.clusters.weight.numpy(), layer.clusters.bias.numpy()[:, None]])
    plain.load_state_dict(
        {
            "head.weight": np.vstack([wide[:6], head]),
            "tail.0.0.weight": np.eye(13),
            "tail.0.1.weight": wide[6:15],
            "tail.1.0.weight": np.eye(13),
            "tail.1.1.weight": wide[15:],
        }
    )
    seen = np.hstack([x.numpy(), np.ones((9, 1))])
    np.testing.assert_allclose(layer.log_prob(x).numpy(), plain.log_prob(seen).numpy(), rtol=1e-10)
    np.testing.assert_allclose(
        layer(x, target).output.numpy(), plain(seen, target).output.numpy(), rtol=1e-10
    )
    np.testing.assert_allclose(np.exp(layer.log_prob(x).numpy()).sum(1), 1, rtol=1e-12)


def test_tied_adaptive_gradients(rng: np.random.Generator) -> None:
    layer, x, target = tied(rng), rows(rng, 6), np.array([0, 7, 29, 8, 1, 6])
    assert gradcheck(lambda given: layer(given, target).loss, (x,))
    for parameter in layer.parameters():
        assert gradcheck(lambda _, p=parameter: layer(x, target).output.sum(), (parameter,))


def test_tied_adaptive_keeps_the_parameter(rng: np.random.Generator) -> None:
    table = nn.Embedding(30, 12)
    layer = nn.TiedAdaptiveLogSoftmaxWithLoss(table.weight, [6, 15])
    assert layer.weight is table.weight
    assert layer.bias.dtype == layer.clusters.weight.dtype == table.weight.dtype
    with pytest.raises(TypeError, match="weight is a ndarray; expected a Parameter"):
        nn.TiedAdaptiveLogSoftmaxWithLoss(np.zeros((30, 12)), [6])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weight is \(30,\); expected \(n_classes, in_features\)"):
        nn.TiedAdaptiveLogSoftmaxWithLoss(nn.Parameter(np.zeros(30)), [6])
    with pytest.raises(ValueError, match=r"TiedAdaptiveLogSoftmaxWithLoss: cutoffs are \[6, 30\]"):
        nn.TiedAdaptiveLogSoftmaxWithLoss(table.weight, [6, 30])


def sampled(n_samples: int, **more: Any) -> nn.SampledSoftmaxLoss:
    return nn.SampledSoftmaxLoss(12, 30, n_samples, dtype=np.float64, **more)


def test_sampled_in_evaluation_is_the_full_softmax(rng: np.random.Generator) -> None:
    layer, x, target = sampled(4).eval(), rows(rng), rng.integers(0, 30, 9)
    logs = layer.log_prob(x).numpy()
    np.testing.assert_allclose(np.exp(logs).sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(layer(x, target).item(), -logs[np.arange(9), target].mean(), rtol=1e-12)


def test_sampled_gradients(rng: np.random.Generator) -> None:
    layer, x, target = sampled(8), rows(rng), rng.integers(0, 30, 9)

    def loss(*_: Any) -> Tensor:
        dl.manual_seed(7)  # the same draw each time
        return layer(x, target)

    assert gradcheck(loss, (x,))
    for parameter in layer.parameters():
        assert gradcheck(loss, (parameter,))


def test_sampled_comes_close_to_the_full_softmax(rng: np.random.Generator) -> None:
    # Drawn often enough, each class is there with certainty, and its expected count is 1.
    layer, x, target = sampled(4000, frequencies=np.ones(30)), rows(rng), rng.integers(0, 30, 9)
    full = -layer.log_prob(x).numpy()[np.arange(9), target].mean()
    np.testing.assert_allclose(layer(x, target).item(), full, rtol=1e-10)


def test_sampled_estimates_the_sum_over_all_classes(rng: np.random.Generator) -> None:
    # exp(score - log expected count), summed over a draw, has the full sum for its mean.
    layer = sampled(10)
    x, target = rows(rng, 1, requires_grad=False), np.array([3])
    logits = dl.nn.functional.linear(x, layer.weight, layer.bias).numpy()[0]
    others = np.exp(np.delete(logits, 3)).sum()
    estimates = []
    for _ in range(4000):
        chance = np.exp(-layer(x, target).item())
        own = np.exp(logits[3] - layer._log_expected[3])
        estimates.append(own / chance - own)
    assert abs(np.mean(estimates) / others - 1) < 6 * np.std(estimates) / 4000**0.5 / others


def test_the_same_seed_draws_the_same(rng: np.random.Generator) -> None:
    layer, x, target = sampled(8), rows(rng), rng.integers(0, 30, 9)
    losses = []
    for _ in range(2):
        dl.manual_seed(3)
        losses.append(layer(x, target).item())
    assert losses[0] == losses[1]
    assert layer(x, target).item() != losses[0]


@pytest.mark.parametrize(
    ("cutoffs", "problem"),
    [
        ([], "cutoffs are .*one or more, ascending"),
        ([5, 5], "ascending"),
        ([9, 4], "ascending"),
        ([30], "below n_classes"),
        ([0, 4], "cutoffs is 0; expected at least 1"),
    ],
)
def test_cutoffs(cutoffs: list[int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        nn.AdaptiveLogSoftmaxWithLoss(12, 30, cutoffs)


@pytest.mark.parametrize("make", [adaptive, lambda: sampled(5)], ids=["adaptive", "sampled"])
def test_bad_input(make: Any, rng: np.random.Generator) -> None:
    layer, x = make(), rows(rng)
    good = rng.integers(0, 30, 9)
    with pytest.raises(ValueError, match=r"x is \(9, 11\); expected \(N, 12\)"):
        layer(x[:, :11], good)
    with pytest.raises(ValueError, match=r"x is \(9, 12\) but target is \(8,\); expected \(9,\)"):
        layer(x, good[:8])
    with pytest.raises(TypeError, match="target is of dtype float64; expected integers"):
        layer(x, good.astype(np.float64))
    with pytest.raises(ValueError, match=r"target\[2\] is 30; expected 0 to 29"):
        layer(x, np.where(np.arange(9) == 2, 30, good))
    with pytest.raises(ValueError, match="expected at least one row"):
        layer(x[:0], good[:0])


def test_frequencies() -> None:
    with pytest.raises(ValueError, match=r"frequencies are \(29,\); expected \(30,\)"):
        sampled(5, frequencies=np.ones(29))
    with pytest.raises(ValueError, match="expected numbers above 0"):
        sampled(5, frequencies=np.zeros(30))
    with pytest.raises(ValueError, match="n_samples is 0"):
        sampled(0)
    with pytest.raises(ValueError, match="div_value is 0"):
        nn.AdaptiveLogSoftmaxWithLoss(12, 30, [6], div_value=0)
