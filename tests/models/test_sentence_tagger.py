"""The sentence approach: filters over the sentence as seen from each token, and their maximum."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.models import SentenceTagger
from dlkit.models.sentence_tagger import MaxOverSentence, count_weights

SIZES = [4, 3, 3, 1, 1]
LENGTHS = [5, 3, 3, 1]


def inputs(rng):
    rows = sum(SIZES)
    return {
        "words": rng.integers(1, 11, rows),
        "batch_sizes": SIZES,
        "discrete": np.stack([rng.integers(1, 4, rows), rng.integers(1, 6, rows)], axis=1),
    }


def rows_of_sentences():
    starts = np.cumsum([0, *SIZES])
    return [np.array([starts[step] + j for step in range(length)]) for j, length in enumerate(LENGTHS)]


def made(**more):
    return SentenceTagger(
        *(11, 3, 3),
        **{
            **{"window": 3, "filters": 4, "hidden": 5, "discrete": [4, 6], "discrete_dimensions": 2},
            **{"reach": 2, "distance_dimensions": 2, "spread": 0.5, "dtype": np.float64, **more},
        },
    )


@pytest.mark.parametrize("crf", [False, True])
def test_gradients(rng, crf):
    dl.manual_seed(0)
    model = made(crf=crf, activation="tanh")
    given, tags = inputs(rng), rng.integers(0, 3, sum(SIZES))
    assert gradcheck(lambda *_: model.loss(model(**given), tags, SIZES), list(model.parameters()))


def test_max_over_sentence_is_its_definition(rng):
    a, b = rng.normal(size=(sum(SIZES), 6)), rng.normal(size=(2 * len(SIZES) - 1, 6))
    x, y = dl.Tensor(a, requires_grad=True), dl.Tensor(b, requires_grad=True)
    out = MaxOverSentence.apply(x, y, np.array(SIZES))
    g = rng.normal(size=out.shape)
    by_a, by_b = np.zeros_like(a), np.zeros_like(b)
    for rows in rows_of_sentences():
        for t, row in enumerate(rows):
            apart = np.arange(len(rows)) - t + len(SIZES) - 1
            sums = a[rows] + b[apart]
            np.testing.assert_array_equal(out.numpy()[row], sums.max(axis=0))
            for f, i in enumerate(sums.argmax(axis=0)):
                by_a[rows[i], f] += g[row, f]
                by_b[apart[i], f] += g[row, f]
    out.backward(dl.Tensor(g))
    np.testing.assert_allclose(x.grad.numpy(), by_a, rtol=1e-12)
    np.testing.assert_allclose(y.grad.numpy(), by_b, rtol=1e-12)


def test_the_same_as_pytorch(rng, torch):
    """The convolution of the paper, over words, features and distances together, once for each token."""
    model = made(dtype=np.float32, dropout=0.4).eval()
    given = inputs(rng)
    found = model(**given).detach().numpy()
    state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    tables = state["discrete_embedding.weight"].split([4, 6])
    filters = torch.cat([state["convolution.weight"], state["distances.weight"]], 1)

    def windows(vectors):
        return vectors.unfold(0, 3, 1).permute(0, 2, 1).flatten(1)

    for rows in rows_of_sentences():
        words = torch.from_numpy(np.pad(given["words"][rows], 1))
        values = torch.from_numpy(np.pad(given["discrete"][rows], ((1, 1), (0, 0))))
        seen = [
            windows(state["embedding.weight"][words]),
            windows(torch.cat([tables[k][values[:, k]] for k in (0, 1)], 1)),
        ]
        for t, row in enumerate(rows):
            apart = (torch.arange(-1, len(rows) + 1) - t).clamp(-2, 2) + 2
            every = torch.cat([*seen, windows(state["distance_embedding.weight"][apart])], 1)
            answers = (every @ filters.T + state["convolution.bias"]).max(0).values
            hidden = torch.nn.functional.hardtanh(
                torch.nn.functional.linear(answers, state["hidden.weight"], state["hidden.bias"])
            )
            expected = torch.nn.functional.linear(hidden, state["output.weight"], state["output.bias"])
            np.testing.assert_allclose(found[row], expected.numpy(), atol=1e-5)


def test_a_sentence_does_not_depend_on_its_batch(rng):
    model = made().eval()
    given = inputs(rng)
    whole = model(**given).detach().numpy()
    for rows in rows_of_sentences():
        alone = model(given["words"][rows], [1] * len(rows), discrete=given["discrete"][rows])
        np.testing.assert_allclose(alone.detach().numpy(), whole[rows], atol=1e-12)


def test_sees_what_no_window_does():
    """The tag says whether the sentence holds a certain word, and on which side."""
    dl.manual_seed(0)
    rng = np.random.default_rng(0)
    model = SentenceTagger(6, 3, 8, window=1, filters=32, hidden=32, discrete=(), reach=10)
    optimizer = dl.optim.Adam(model.parameters(), lr=0.02)
    sizes = [16] * 9
    for _ in range(120):
        words = rng.integers(3, 6, (9, 16))
        there = rng.integers(0, 9, 16)
        words[there, np.arange(16)] = 2
        tags = np.sign(np.arange(9)[:, np.newaxis] - there).ravel() + 1
        scores = model(words.ravel(), sizes)
        loss = model.loss(scores, tags, sizes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.decode(scores, sizes) == tags).mean() > 0.95


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"window": 2}, "SentenceTagger: window is 2, expected an odd number"),
        ({"filters": 0}, "filters is 0"),
        ({"reach": 0}, "reach is 0"),
        ({"distance_dimensions": 1.5}, "distance_dimensions is 1.5"),
        ({"activation": "cube"}, "activation is 'cube'"),
        ({"dropout": -1.0}, "dropout is -1.0"),
    ],
)
def test_bad_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        made(**settings)


def test_bad_input(rng):
    with pytest.raises(ValueError, match=r"SentenceTagger: discrete is None, expected \(12, 2\)"):
        made()(**{**inputs(rng), "discrete": None})
    with pytest.raises(ValueError, match="batch_sizes add up to 11"):
        made()(**{**inputs(rng), "batch_sizes": [4, 3, 3, 1]})


def test_weights_are_counted_without_making_them():
    arguments = {
        **{"words": 11, "tags": 3, "dimensions": 4, "window": 5, "filters": 6, "hidden": 5, "discrete": [4]},
        **{"discrete_dimensions": 3, "reach": 2, "distance_dimensions": 2},
    }
    held = sum(p.data.size for p in SentenceTagger(**arguments).parameters())
    assert 0.6 * held < count_weights(**arguments) <= held
