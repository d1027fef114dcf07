"""The conditional random field as a layer and as a function."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import kernels, nn
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F
from dlkit.nn.utils import rnn


def make(tags=4, **settings):
    dl.manual_seed(0)
    return nn.CRF(tags, dtype=np.float64, **settings)


@pytest.mark.parametrize("reduction", ["mean", "token_mean", "sum", "none"])
def test_gradients(rng, reduction):
    sizes, tags = [3, 2, 2, 1], 3
    path = rng.integers(0, tags, 8)
    inputs = [
        dl.Tensor(rng.normal(size=shape), requires_grad=True)
        for shape in ((8, tags), (tags, tags), (tags,), (tags,))
    ]
    weights = dl.Tensor(rng.normal(size=3))

    def loss(emissions, *model):
        found = F.crf_loss(emissions, path, sizes, *model, reduction)
        return (found * weights).sum() if reduction == "none" else found * 1.5

    assert gradcheck(loss, inputs)


def test_reductions(rng):
    sizes = [3, 2]
    emissions, path = dl.Tensor(rng.normal(size=(5, 4))), rng.integers(0, 4, 5)
    transitions = dl.Tensor(rng.normal(size=(4, 4)))
    each = F.crf_loss(emissions, path, sizes, transitions, reduction="none").numpy()
    assert each.shape == (3,)
    for reduction, expected in (("sum", each.sum()), ("mean", each.mean()), ("token_mean", each.sum() / 5)):
        found = F.crf_loss(emissions, path, sizes, transitions, reduction=reduction)
        assert found.item() == pytest.approx(expected)


def test_only_what_is_tracked_gets_a_gradient(rng):
    emissions = dl.Tensor(rng.normal(size=(3, 2)))
    transitions = dl.Tensor(rng.normal(size=(2, 2)), requires_grad=True)
    F.crf_loss(emissions, np.array([0, 1, 1]), [1, 1, 1], transitions).backward()
    assert emissions.grad is None
    assert transitions.grad.shape == (2, 2)


@pytest.mark.parametrize("batch_first", [False, True])
def test_padded_equals_packed_equals_one_by_one(rng, batch_first):
    crf = make(5, batch_first=batch_first, reduction="none")
    lengths = [2, 6, 1, 4]
    x, tags = rng.normal(size=(4, 6, 5)), rng.integers(0, 5, (4, 6))
    for sequence, length in enumerate(lengths):  # past the end anything
        tags[sequence, length:] = 99
    padded = dl.Tensor(x if batch_first else x.transpose(1, 0, 2).copy())
    labels = tags if batch_first else tags.T
    packed = rnn.pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=False)
    packed_tags = rnn.pack_padded_sequence(dl.Tensor(labels), lengths, batch_first, enforce_sorted=False)
    losses = crf(padded, labels, lengths).numpy()  # longest first, as packed
    np.testing.assert_allclose(losses, crf(packed, packed_tags.data).numpy())
    decoded, shares = crf.decode(padded, lengths), crf.marginals(padded, lengths)
    order = np.argsort([-n for n in lengths], kind="stable")
    for place, sequence in enumerate(order):
        one = dl.Tensor(x[sequence, : lengths[sequence]][None if batch_first else slice(None)])
        one = one if batch_first else one.reshape(lengths[sequence], 1, 5)
        label = tags[sequence, : lengths[sequence]].reshape(one.shape[:2])
        assert crf(one, label).item() == pytest.approx(losses[place])
        np.testing.assert_array_equal(crf.decode(one)[0], decoded[sequence])
        np.testing.assert_allclose(crf.marginals(one)[0], shares[sequence])
        np.testing.assert_allclose(shares[sequence].sum(axis=1), 1)
    for a, b in zip(crf.decode(packed), decoded, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_may_be_a_tensor_on_a_device(rng, batch_first, simt):
    crf = make(3, batch_first=batch_first)
    emissions = dl.Tensor(rng.normal(size=(2, 4, 3) if batch_first else (4, 2, 3)))
    tags = rng.integers(0, 3, emissions.shape[:2])
    expected = crf.decode(emissions, [2, 4]), crf.marginals(emissions, [2, 4])
    loss = crf(emissions, tags, [2, 4]).item()
    lengths = dl.tensor([2, 4]).to("simt")
    for a, b in zip(crf.decode(emissions, lengths), expected[0], strict=True):
        np.testing.assert_array_equal(a, b)
    crf.to("simt")
    there = emissions.to("simt")
    for a, b in zip(crf.decode(there, lengths), expected[0], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(crf.marginals(there, lengths), expected[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    assert crf(there, tags, lengths).item() == pytest.approx(loss)


def test_allowed_transitions(rng):
    crf = make(3)
    allowed = np.array([[True, False, True], [True, True, False], [False, True, True]])
    for tags in crf.decode(dl.Tensor(rng.normal(size=(40, 6, 3))), allowed=allowed):
        assert allowed[tags[:-1], tags[1:]].all()
    rows = rng.normal(size=(9, 3))
    found = crf.decode_rows(rows, [3, 3, 3], allowed)
    expected, _ = kernels.crf_decode(
        rows,
        [3, 3, 3],
        np.where(allowed, crf.transitions.numpy(), -np.inf),
        crf.start_transitions.numpy(),
        crf.end_transitions.numpy(),
    )
    np.testing.assert_array_equal(found, expected)


def test_learns_what_may_follow(rng):
    dl.manual_seed(1)
    crf = nn.CRF(3)
    optimizer = dl.optim.Adam(crf.parameters(), lr=0.1)
    tags = np.tile([0, 1, 2], 8)[:20].reshape(20, 1)  # 0 1 2 0 1 2 ...
    emissions = dl.zeros(20, 1, 3)
    for _ in range(60):
        loss = crf(emissions, tags)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.testing.assert_array_equal(crf.decode(emissions)[0], tags[:, 0])


def test_names_are_those_of_pytorch_crf():
    crf = nn.CRF(4)
    shapes = {name: p.shape for name, p in crf.named_parameters()}
    assert shapes == {"start_transitions": (4,), "end_transitions": (4,), "transitions": (4, 4)}
    assert max(abs(p.numpy()).max() for p in crf.parameters()) <= 0.1
    assert repr(nn.CRF(4, True, "sum")) == "CRF(4, batch_first=True, reduction='sum')"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.CRF(0), ValueError, "num_tags"),
        (lambda: nn.CRF(3, reduction="all"), ValueError, "reduction is 'all'"),
        (lambda: make()(np.zeros((2, 1, 4)), np.zeros((2, 1), int)), TypeError, "emissions is a ndarray"),
        (lambda: make()(dl.zeros(2, 4), np.zeros(2, int)), ValueError, r"expected \(T, B, K\)"),
        (lambda: make()(dl.zeros(0, 1, 4), np.zeros((0, 1), int)), ValueError, "none of them 0"),
        (lambda: make(3)(dl.zeros(2, 1, 4), np.zeros((2, 1), int)), ValueError, "expected num_tags, 3"),
        (lambda: make()(dl.zeros(2, 1, 4), np.zeros((1, 2), int)), ValueError, r"tags is \(1, 2\)"),
        (lambda: make()(dl.zeros(2, 1, 4), np.zeros((2, 1), int), [3]), ValueError, r"lengths\[0\] is 3"),
        (lambda: make()(dl.zeros(2, 1, 4), np.zeros((2, 1), int), [0]), ValueError, r"lengths\[0\] is 0"),
        (lambda: make()(dl.zeros(2, 1, 4), np.zeros((2, 1), int), [1.5]), TypeError, "expected integers"),
        (lambda: make().scores(np.ones((2, 2), bool)), ValueError, r"allowed is \(2, 2\)"),
        (lambda: F.crf_loss(dl.zeros(1, 2), None, [1], dl.zeros(2, 2)), TypeError, "tags is None"),
        (lambda: F.crf_loss(np.zeros((1, 2)), [0], [1], dl.zeros(2, 2)), TypeError, "emissions is a ndarray"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("sizes", [["x"], [], [10**15], [-1], [None]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_bad_batch_sizes(sizes, reduction):
    transitions = dl.zeros(2, 2, requires_grad=True)
    with pytest.raises((TypeError, ValueError), match="batch_sizes"):
        F.crf_loss(dl.zeros(3, 2), np.zeros(3, int), sizes, transitions, reduction=reduction)


def test_packed_emissions_take_no_lengths(rng):
    packed = rnn.pack_padded_sequence(dl.Tensor(rng.normal(size=(3, 2, 4))), [3, 2])
    with pytest.raises(ValueError, match="lengths is given but emissions are packed"):
        make()(packed, np.zeros(5, int), [3, 2])


def test_packed_emissions_are_checked(rng):
    packed = rnn.pack_padded_sequence(dl.Tensor(rng.normal(size=(3, 2, 4))), [3, 2])
    with pytest.raises(TypeError, match="CRF: batch_sizes has dtype float32; expected integers"):
        make().decode(packed._replace(batch_sizes=[2.5, 2.5]))
    with pytest.raises(ValueError, match="CRF: batch_sizes add up to 4; expected the rows of data, 5"):
        make().decode(packed._replace(batch_sizes=[2, 2]))
