"""The feed-forward tagger of windows."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.models import WindowTagger
from dlkit.models.window_tagger import count_weights, window_rows

SIZES = [3, 2, 2, 1]
LENGTHS = [4, 3, 1]


def inputs(rng):
    rows = sum(SIZES)
    return {
        "words": rng.integers(1, 11, rows),
        "batch_sizes": SIZES,
        "discrete": np.stack([rng.integers(1, 4, rows), rng.integers(1, 6, rows)], axis=1),
    }


def sentences(values):
    """The rows of each sentence of a packed batch."""
    starts = np.cumsum([0, *SIZES])
    return [values[[starts[step] + j for step in range(length)]] for j, length in enumerate(LENGTHS)]


@pytest.mark.parametrize("reach", [0, 1, 2, 5])
def test_window_rows(reach):
    found = window_rows(np.array(SIZES), reach)
    assert found.shape == (8, 2 * reach + 1)
    for rows, seen in zip(sentences(np.arange(8)), sentences(found), strict=True):
        padded = np.pad(rows, reach, constant_values=8)
        expected = [padded[t : t + 2 * reach + 1] for t in range(len(rows))]
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("activation", ["tanh", "hardtanh", "relu"])
@pytest.mark.parametrize("crf", [False, True])
def test_gradients(rng, activation, crf):
    dl.manual_seed(0)
    model = WindowTagger(
        *(11, 3, 3),
        window=3,
        hidden=4,
        activation=activation,
        discrete=[4, 6],
        discrete_dimensions=2,
        crf=crf,
        spread=0.5,
        dtype=np.float64,
    )
    given, tags = inputs(rng), rng.integers(0, 3, sum(SIZES))
    parameters = list(model.parameters())
    assert gradcheck(lambda *_: model.loss(model(**given), tags, SIZES), parameters)
    model.zero_grad()
    model.loss(model(**given), tags, SIZES).backward()
    assert model.embedding.weight.grad.numpy()[0].any()  # what is outside the sentence is learnt


def test_the_same_as_pytorch(rng, torch):
    model = WindowTagger(11, 5, 4, hidden=7, discrete=[4, 6], discrete_dimensions=3, dropout=0.3).eval()
    given = inputs(rng)
    found = sentences(model(**given).detach().numpy())
    state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    for words, values, scores in zip(
        sentences(given["words"]), sentences(given["discrete"]), found, strict=True
    ):
        padded = torch.from_numpy(np.pad(words, 2))
        vectors = torch.nn.functional.embedding(padded, state["embedding.weight"]).unfold(0, 5, 1)
        parts = [vectors.permute(0, 2, 1).flatten(1)]
        table = state["discrete_embedding.weight"].split([4, 6])
        both = [
            torch.nn.functional.embedding(torch.from_numpy(np.pad(values[:, k], 2)), table[k]) for k in (0, 1)
        ]
        parts.append(torch.cat(both, 1).unfold(0, 5, 1).permute(0, 2, 1).flatten(1))
        hidden = torch.tanh(
            torch.nn.functional.linear(torch.cat(parts, 1), state["hidden.weight"], state["hidden.bias"])
        )
        expected = torch.nn.functional.linear(hidden, state["output.weight"], state["output.bias"])
        np.testing.assert_allclose(scores, expected.numpy(), atol=1e-5)


def test_a_tag_depends_on_its_window_alone(rng):
    model = WindowTagger(11, 3, 4, window=5, hidden=6).eval()
    words = rng.integers(1, 10, 9)
    with dl.no_grad():
        before = model(words, [1] * 9).numpy()
        words[8] = 10
        after = model(words, [1] * 9).numpy()
    np.testing.assert_array_equal(after[:6], before[:6])
    assert (after[6:] != before[6:]).any(axis=1).all()


@pytest.mark.parametrize("crf", [False, True])
def test_learns_tags_that_need_both_neighbours(crf):
    dl.manual_seed(0)
    rng = np.random.default_rng(0)
    model = WindowTagger(6, 2, 8, window=3, hidden=32, activation="hardtanh", crf=crf)
    optimizer = dl.optim.Adam(model.parameters(), lr=0.02)
    sizes = [16] * 7
    for _ in range(100):
        words = rng.integers(2, 6, (7, 16))
        padded = np.pad(words, ((1, 1), (0, 0)))
        tags = (padded[:-2] > padded[2:]).astype(np.int64).ravel()
        scores = model(words.ravel(), sizes)
        loss = model.loss(scores, tags, sizes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.decode(scores, sizes) == tags).mean() > 0.95


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"words": 1}, "words is 1, expected an integer of at least 2"),
        ({"tags": 0}, "tags is 0"),
        ({"window": 4}, "window is 4, expected an odd number"),
        ({"window": 0}, "window is 0"),
        ({"hidden": 2.5}, "hidden is 2.5"),
        ({"activation": "gelu"}, "activation is 'gelu', expected one of tanh, hardtanh, relu"),
        ({"discrete": [1]}, r"discrete is \(1,\), expected for each feature an integer of at least 2"),
        ({"discrete_dimensions": 0}, "discrete_dimensions is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"spread": float("nan")}, "spread is nan"),
    ],
)
def test_bad_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        WindowTagger(**{"words": 5, "tags": 2, **settings})


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"words": np.ones((2, 4), int)}, ValueError, r"words is \(2, 4\)"),
        ({"words": np.ones(8)}, TypeError, "words is of dtype float64"),
        ({"words": np.full(8, 11)}, IndexError, "expected 0 to 10"),
        ({"batch_sizes": [4, 3]}, ValueError, "batch_sizes add up to 7, expected the 8 rows"),
        ({"batch_sizes": [3, 4, 1]}, ValueError, "expected no increase"),
        ({"batch_sizes": [4.9, 4.1]}, TypeError, "batch_sizes has dtype float64, expected integers"),
        ({"batch_sizes": [8, 0]}, ValueError, "expected no increase, and at least 1"),
        ({"batch_sizes": []}, ValueError, "batch_sizes"),
        ({"discrete": None}, ValueError, r"discrete is None, expected \(8, 2\)"),
        ({"discrete": np.ones((8, 1), int)}, ValueError, r"discrete is \(8, 1\)"),
        ({"discrete": np.ones((8, 2))}, TypeError, "discrete is of dtype float64"),
        ({"discrete": np.full((8, 2), 4)}, IndexError, "discrete holds 4 to 4 of feature 0; expected 0 to 3"),
    ],
)
def test_bad_input(rng, change, error, text):
    model = WindowTagger(11, 3, 4, hidden=5, discrete=[4, 6])
    with pytest.raises(error, match=text):
        model(**{**inputs(rng), **change})


@pytest.mark.parametrize("more", [{}, {"discrete": [4, 6], "discrete_dimensions": 3}])
def test_weights_are_counted_without_making_them(more):
    arguments = {"words": 11, "tags": 3, "dimensions": 4, "window": 5, "hidden": 5, **more}
    held = sum(p.data.size for p in WindowTagger(**arguments).parameters())
    assert 0.6 * held < count_weights(**arguments) <= held
