"""The ranking language model."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.models import RankingLanguageModel


@pytest.mark.parametrize("activation", ["tanh", "hardtanh", "relu"])
def test_gradients(rng, activation):
    dl.manual_seed(0)
    model = RankingLanguageModel(9, 3, 5, 4, activation, spread=0.5, dtype=np.float64)
    windows, words = rng.integers(0, 9, (6, 5)), rng.integers(1, 9, (6, 2))
    assert gradcheck(lambda *_: model.loss(*model.rank(windows, words)), list(model.parameters()))


@pytest.mark.parametrize("activation", ["tanh", "hardtanh", "relu"])
def test_ranks_as_if_each_window_were_scored(rng, activation):
    model = RankingLanguageModel(9, 3, 5, 40, activation, spread=2.0)
    windows, words = rng.integers(0, 9, (6, 5)), rng.integers(1, 9, (6, 3))
    scores, others = model.rank(windows, words)
    np.testing.assert_allclose(scores.numpy(), model(windows).numpy(), atol=1e-5)
    for k in range(3):
        changed = windows.copy()
        changed[:, 2] = words[:, k]
        np.testing.assert_allclose(others.numpy()[:, k], model(changed).numpy(), atol=1e-5)


def test_the_same_as_pytorch(rng, torch):
    model = RankingLanguageModel(9, 3, 5, 4, "hardtanh", spread=1.0)
    windows, words = rng.integers(0, 9, (6, 5)), rng.integers(1, 9, (6, 1))
    loss = model.loss(*model.rank(windows, words))
    loss.backward()
    state = {
        name: torch.from_numpy(value.copy()).requires_grad_() for name, value in model.state_dict().items()
    }

    def score(numbers):
        vectors = torch.nn.functional.embedding(torch.from_numpy(numbers), state["embedding.weight"]).flatten(
            1
        )
        hidden = torch.nn.functional.hardtanh(
            torch.nn.functional.linear(vectors, state["hidden.weight"], state["hidden.bias"])
        )
        return torch.nn.functional.linear(hidden, state["output.weight"])

    changed = windows.copy()
    changed[:, 2:3] = words
    right = torch.ones(6, 1)
    expected = torch.nn.functional.margin_ranking_loss(score(windows), score(changed), right, margin=1.0)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), state[name].grad.numpy(), atol=1e-6)


def test_learns_which_word_fits():
    dl.manual_seed(0)
    rng = np.random.default_rng(0)
    model = RankingLanguageModel(7, 8, 3, 16, spread=1.0)
    optimizer = dl.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(250):
        first = rng.integers(1, 6, 64)
        windows = np.stack([first, first % 5 + 1, first], 1)  # the middle follows from its neighbours
        loss = model.loss(*model.rank(windows, rng.integers(1, 7, (64, 1))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for a in range(1, 6):
        every = np.array([[a, b, a] for b in range(1, 7)])
        assert model(every).numpy().argmax() + 1 == a % 5 + 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"words": 1}, "words is 1, expected an integer of at least 2"),
        ({"window": 4}, "window is 4, expected an odd number"),
        ({"hidden": 0}, "hidden is 0"),
        ({"dimensions": 1.5}, "dimensions is 1.5"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"spread": -1.0}, "spread is -1.0"),
    ],
)
def test_bad_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        RankingLanguageModel(**{"words": 5, **settings})


def test_bad_input():
    model = RankingLanguageModel(9, 3, 5, 4)
    ones = np.ones((6, 5), int)
    with pytest.raises(ValueError, match=r"windows is \(6, 4\), expected \(N, 5\)"):
        model(np.ones((6, 4), int))
    with pytest.raises(IndexError, match="expected 0 to 8"):
        model(ones * 9)
    with pytest.raises(TypeError, match="integers"):
        model(np.ones((6, 5)))
    for words in (np.ones(6, int), np.ones((5, 1), int)):
        with pytest.raises(ValueError, match=r"expected \(6, K\)"):
            model.rank(ones, words)
    with pytest.raises(IndexError, match="expected 0 to 8"):
        model.rank(ones, ones * 9)
