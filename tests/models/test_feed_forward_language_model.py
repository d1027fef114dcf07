"""The feed-forward language model."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn, optim
from dlkit.autograd import gradcheck
from dlkit.models import FeedForwardLanguageModel, summary
from dlkit.models.feed_forward_language_model import count_weights


def small(**changes):
    dl.manual_seed(0)
    settings = {"words": 11, "order": 4, "dimensions": 3, "hidden": 5, "dtype": np.float64, **changes}
    return FeedForwardLanguageModel(**settings)


@pytest.mark.parametrize("direct", [False, True])
def test_scores_loss_and_gradients_beside_pytorch(rng, direct, torch):
    model = small(direct=direct, spread=0.5)
    x, y = rng.integers(0, 11, (7, 3)), rng.integers(0, 11, 7)
    v = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in model.state_dict().items()}
    # The paper's y = b + W x + U tanh(d + H x), U and W being parts of one matrix here.
    seen = v["embedding.weight"][torch.from_numpy(x)].flatten(1)
    hidden = torch.tanh(v["hidden.bias"] + seen @ v["hidden.weight"].T)
    expected = v["output.bias"] + hidden @ v["output.weight"][:, :5].T
    if direct:
        expected = expected + seen @ v["output.weight"][:, 5:].T
    loss = torch.nn.functional.cross_entropy(expected, torch.from_numpy(y))
    loss.backward()
    np.testing.assert_allclose(model(x).numpy(), expected.detach().numpy(), rtol=1e-12)
    ours = model.loss(x, y)
    ours.backward()
    np.testing.assert_allclose(ours.item(), loss.item(), rtol=1e-12)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            parameter.grad.numpy(), v[name].grad.numpy(), rtol=1e-9, atol=1e-14, err_msg=name
        )


@pytest.mark.parametrize("direct", [False, True])
def test_gradients_by_finite_differences(rng, direct):
    model = small(direct=direct)
    x, y = rng.integers(0, 11, (6, 3)), rng.integers(0, 11, 6)
    assert gradcheck(lambda *_: model.loss(x, y), list(model.parameters()))


def test_contexts():
    tokens = np.array([0, 7, 8, 0, 9, 5])
    across = small(across=True).contexts(tokens)
    assert across.tolist() == [[0, 0, 0], [0, 0, 7], [0, 7, 8], [7, 8, 0], [8, 0, 9]]
    within = small().contexts(tokens)
    assert within.tolist() == [[0, 0, 0], [0, 0, 7], [0, 7, 8], [0, 0, 0], [0, 0, 9]]
    assert small(order=2).contexts(tokens).tolist() == [[0], [7], [8], [0], [9]]
    assert small(order=9, end=4).contexts(tokens[:2]).tolist() == [[4] * 7 + [0]]


@pytest.mark.parametrize("across", [False, True])
def test_surprises_are_those_of_each_context(rng, across):
    model = small(across=across, dropout=0.4)
    tokens = rng.integers(0, 11, 1200)
    model.eval()
    logs = nn.functional.log_softmax(model(model.contexts(tokens)), 1).numpy()
    expected = -logs[np.arange(1199), tokens[1:]]
    model.train()
    np.testing.assert_allclose(model.surprises(tokens), expected, rtol=1e-12)
    assert model.training
    after = model.log_probs_after(tokens[:40])
    np.testing.assert_allclose(after, logs[39], rtol=1e-12)
    assert np.exp(after).sum() == pytest.approx(1)


def test_what_follows_an_end_does_not_hang_on_what_was_before_it():
    model = small()
    one, other = (model.log_probs_after(np.array(text)) for text in ([3, 9, 0], [0]))
    np.testing.assert_array_equal(one, other)
    model = small(across=True)
    one, other = (model.log_probs_after(np.array(text)) for text in ([3, 9, 0], [0]))
    assert np.abs(one - other).max() > 1e-6


def test_it_learns_a_sequence_by_heart():
    tokens = np.array([0, 3, 1, 4, 1, 5, 2, 6] * 4)
    model = small(words=7, dimensions=8, hidden=16, across=True, dtype=np.float32)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    contexts = model.contexts(tokens)
    for _ in range(80):
        loss = model.loss(contexts, tokens[1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.surprises(tokens)[3:].max() < 0.3
    assert model.sample(tokens[:5], 6, temperature=0).tolist() == tokens[5:11].tolist()


def test_samples():
    model = small()
    start = np.array([0, 1])
    a = model.sample(start, 50, rng=np.random.default_rng(1), forbidden=(2, 3))
    b = model.sample(start, 50, rng=np.random.default_rng(1), forbidden=(2, 3))
    np.testing.assert_array_equal(a, b)
    assert not set(a.tolist()) & {2, 3}
    assert model.sample(start, 0).shape == (0,)
    hot = model.sample(start, 300, rng=np.random.default_rng(1), temperature=5.0)
    cold = model.sample(start, 300, rng=np.random.default_rng(1), temperature=0.05)
    assert len(set(cold.tolist())) < len(set(hot.tolist()))


def test_dropout_is_for_training_alone(rng):
    model = small(dropout=0.5)
    x = rng.integers(0, 11, (5, 3))
    assert np.abs(model(x).numpy() - model(x).numpy()).max() > 1e-3
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())


def test_weights_travel(tmp_path, rng):
    model, other = small(direct=True), small(direct=True, spread=1.0)
    names = ["embedding.weight", "hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    assert list(model.state_dict()) == names
    pytest.importorskip("safetensors")
    nn.save_safetensors(model, tmp_path / "m.safetensors")
    other.load_state_dict(nn.load_safetensors(tmp_path / "m.safetensors"))
    x = rng.integers(0, 11, (5, 3))
    np.testing.assert_array_equal(model(x).numpy(), other(x).numpy())


def test_vectors_to_begin_with(rng):
    model = small()
    table = rng.normal(size=(11, 3)).astype(np.float32)
    model.set_vectors(table)
    np.testing.assert_array_equal(model.embedding.weight.numpy(), table)
    with pytest.raises(ValueError, match=r"table is \(11, 4\); expected \(11, 3\)"):
        model.set_vectors(np.zeros((11, 4)))


def test_frequencies_to_begin_with():
    model = small(spread=1e-9)
    counts = np.arange(11)
    model.set_frequencies(counts)
    expected = (counts + 1) / (counts.sum() + 11)
    np.testing.assert_allclose(np.exp(model.log_probs_after(np.array([3]))), expected, rtol=1e-6)
    for wrong in (np.ones(10), -counts):
        with pytest.raises(ValueError, match=r"counts is .* expected \(11,\), from 0"):
            model.set_frequencies(wrong)


@pytest.mark.parametrize("direct", [False, True])
def test_counts(direct):
    arguments = {"words": 11, "order": 4, "dimensions": 3, "hidden": 5, "direct": direct}
    model = FeedForwardLanguageModel(**arguments)
    assert count_weights(**arguments, dropout=0.0) == sum(
        p.data.size for p in model.parameters() if p.data.ndim == 2
    )
    found = summary(model, (np.zeros((2, 3), np.int64),))
    assert found.parameters == sum(p.data.size for p in model.parameters())
    columns = 5 + (9 if direct else 0)
    # Products and biases, and six operations for each hyperbolic tangent.
    assert found.flops == 2 * (2 * 9 * 5 + 5) + 6 * 2 * 5 + 2 * (2 * columns * 11 + 11)


def test_the_emulated_gpu_says_the_same(simt, rng):
    model = small(dtype=np.float32, direct=True)
    tokens, y = rng.integers(0, 11, 9), rng.integers(0, 11, 8)
    expected, after = model.surprises(tokens), model.log_probs_after(tokens)
    x = model.contexts(tokens)
    loss = model.loss(x, y)
    loss.backward()
    gradients = {name: p.grad.numpy().copy() for name, p in model.named_parameters()}
    other = small(dtype=np.float32, direct=True).to("simt")
    np.testing.assert_allclose(other.surprises(tokens), expected, rtol=1e-5)
    np.testing.assert_allclose(other.log_probs_after(tokens), after, rtol=1e-5)
    other.loss(dl.tensor(x, device="simt"), dl.tensor(y, device="simt")).backward()
    for name, p in other.named_parameters():
        np.testing.assert_allclose(p.grad.data.get(), gradients[name], rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": 0}, "words is 0; expected an integer of 1 to"),
        ({"order": 1}, "order is 1; expected an integer of 2 to 64"),
        ({"order": 65}, "order is 65"),
        ({"dimensions": 2.5}, "dimensions is 2.5"),
        ({"hidden": True}, "hidden is True"),
        ({"end": 11}, "end is 11; expected an integer of 0 to 10"),
        ({"words": "many"}, "words is 'many'"),
        ({"spread": -1}, "spread is -1; expected a finite number of 0 or more"),
        ({"dropout": 1.5}, "1.5"),
    ],
)
def test_settings_that_make_no_model(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_inputs_that_do_not_fit():
    model = small()
    with pytest.raises(ValueError, match=r"x is \(2, 2\); expected \(N, 3\) of word numbers"):
        model([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match=r"x is \(3,\)"):
        model([1, 2, 3])
    with pytest.raises(IndexError, match="11"):
        model([[1, 2, 11]])
    with pytest.raises(TypeError, match="integers"):
        model(np.zeros((1, 3)))
    for tokens in (np.array([1]), np.zeros((2, 2), int), np.zeros(3)):
        with pytest.raises(ValueError, match="at least two integers"):
            model.surprises(tokens)
    with pytest.raises(ValueError, match="start"):
        model.sample(np.array([], int), 3)
    with pytest.raises(ValueError, match="temperature"):
        model.sample(np.array([1]), 3, temperature=-1)
    with pytest.raises(ValueError, match="count"):
        model.sample(np.array([1]), -3)
