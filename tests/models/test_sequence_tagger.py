"""The recurrent tagger."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.models import SequenceTagger
from dlkit.models.sequence_tagger import count_weights

SIZES = [4, 3, 1]


def inputs(rng, characters=7, bigrams=9):
    rows = sum(SIZES)
    spellings = rng.integers(2, characters, (5, 6))
    spellings[1, 2:] = 0
    return {
        "words": rng.integers(1, 11, rows),
        "batch_sizes": SIZES,
        "spellings": spellings,
        "spelled": rng.integers(0, 5, rows),
        "bigrams": rng.integers(1, bigrams, (rows, 2)),
    }


@pytest.mark.parametrize(
    ("cell", "layers", "mode", "crf"),
    [("lstm", 2, "cnn", False), ("lstm", 1, "lstm", True), ("gru", 1, "cnn", True), ("rnn", 1, "cnn", False)],
)
def test_gradients(rng, cell, layers, mode, crf):
    dl.manual_seed(0)
    model = SequenceTagger(
        *(11, 3, 3, 3, layers, cell),
        characters=7,
        character_dimensions=2,
        character_features=4,
        character_mode=mode,
        bigrams=9,
        bigram_dimensions=2,
        dropout=0.0,
        crf=crf,
        spread=0.5,
        dtype=np.float64,
    )
    given, tags = inputs(rng), rng.integers(0, 3, sum(SIZES))

    def loss(*_):
        return model.loss(model(**given), tags, SIZES)

    # A filter sees padding, whose vector gets no gradient.
    checked = [
        p for name, p in model.named_parameters() if mode == "lstm" or name != "character_embedding.weight"
    ]
    assert gradcheck(loss, checked)
    model.zero_grad()
    loss().backward()
    assert not model.character_embedding.weight.grad.numpy()[0].any()
    assert model.character_embedding.weight.grad.numpy().any()


@pytest.mark.parametrize("mode", ["cnn", "lstm"])
def test_a_sentence_does_not_depend_on_its_batch(rng, mode):
    model = SequenceTagger(11, 3, 4, 5, characters=7, character_mode=mode, bigrams=9).eval()
    given = inputs(rng)
    with dl.no_grad():
        whole = model(**given).numpy()
        rows = [0, 4, 7]  # of the longest sentence
        alone = {
            "words": given["words"][rows],
            "batch_sizes": [1, 1, 1],
            "spellings": np.pad(given["spellings"], ((0, 0), (0, 9))),  # more padding
            "spelled": given["spelled"][rows],
            "bigrams": given["bigrams"][rows],
        }
        np.testing.assert_allclose(model(**alone).numpy(), whole[rows], atol=1e-6)


def test_one_direction_does_not_look_ahead(rng):
    model = SequenceTagger(11, 3, 4, 5, bidirectional=False).eval()
    words = rng.integers(1, 11, 6)
    with dl.no_grad():
        before = model(words, [1] * 6).numpy()
        words[4:] = 1
        np.testing.assert_array_equal(model(words, [1] * 6).numpy()[:4], before[:4])
    both = SequenceTagger(11, 3, 4, 5)
    assert both.output.weight.shape == (3, 10)


@pytest.mark.parametrize("crf", [False, True])
def test_decode_is_the_best_of_what_is_allowed(rng, crf):
    model = SequenceTagger(5, 3, 4, 5, crf=crf, dtype=np.float64)
    scores = rng.normal(size=(4, 3))
    allowed = (
        np.array([[True, False, True], [True, True, False], [False, True, True]]),
        np.array([True, True, False]),
        np.array([True, False, True]),
    )
    transitions = model.crf.transitions.numpy() if crf else np.zeros((3, 3))
    start = model.crf.start_transitions.numpy() if crf else np.zeros(3)
    end = model.crf.end_transitions.numpy() if crf else np.zeros(3)

    def score(path):
        pairs = list(itertools.pairwise(path))
        if not (allowed[1][path[0]] and allowed[2][path[-1]] and all(allowed[0][p] for p in pairs)):
            return -np.inf
        return (
            scores[range(4), path].sum() + start[path[0]] + end[path[-1]] + sum(transitions[p] for p in pairs)
        )

    best = max(itertools.product(range(3), repeat=4), key=score)
    assert tuple(model.decode(scores, [1] * 4, allowed)) == best
    if not crf:
        np.testing.assert_array_equal(model.decode(scores, [1] * 4), scores.argmax(axis=1))


def test_learns_tags_that_need_both_neighbours():
    dl.manual_seed(0)
    rng = np.random.default_rng(0)
    model = SequenceTagger(6, 2, 8, 16, dropout=0.0, crf=True)
    optimizer = dl.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        words = rng.integers(2, 6, (7, 16))
        padded = np.pad(words, ((1, 1), (0, 0)))
        tags = (padded[:-2] > padded[2:]).astype(np.int64)
        sizes = [16] * 7
        scores = model(words.ravel(), sizes)
        loss = model.loss(scores, tags.ravel(), sizes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.decode(scores, sizes) == tags.ravel()).mean() > 0.95


def test_vectors():
    model = SequenceTagger(4, 2, 3)
    assert not model.embedding.weight.numpy()[0].any()
    model.set_vectors(np.arange(12.0).reshape(4, 3))
    np.testing.assert_array_equal(model.embedding.weight.numpy()[1], [3, 4, 5])
    assert not model.embedding.weight.numpy()[0].any()
    with pytest.raises(ValueError, match=r"table is \(4, 2\), expected \(4, 3\)"):
        model.set_vectors(np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"words": 1}, "words is 1, expected an integer of at least 2"),
        ({"tags": 0}, "tags is 0"),
        ({"hidden": 2.5}, "hidden is 2.5"),
        ({"layers": True}, "layers is True"),
        ({"characters": 1}, "characters is 1, expected 0, or at least 2"),
        ({"cell": "mlp"}, "cell is 'mlp', expected one of lstm, gru, rnn"),
        ({"character_mode": "rnn"}, "character_mode is 'rnn'"),
        (
            {"characters": 5, "character_mode": "lstm", "character_features": 5},
            "character_features is 5, expected an even number",
        ),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"recurrent_dropout": -0.1}, "recurrent_dropout is -0.1"),
        ({"spread": float("inf")}, "spread is inf"),
    ],
)
def test_bad_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        SequenceTagger(**{"words": 5, "tags": 2, **settings})


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"words": np.ones((2, 4), int)}, ValueError, r"words is \(2, 4\)"),
        ({"words": np.full(8, 11)}, IndexError, "expected 0 to 10"),
        ({"batch_sizes": [4, 3]}, ValueError, "batch_sizes add up to 7, expected the 8 rows"),
        ({"batch_sizes": [3, 4, 1]}, ValueError, "expected no increase"),
        ({"batch_sizes": [4.9, 4.1]}, TypeError, "batch_sizes has dtype float64, expected integers"),
        ({"spellings": None}, ValueError, "spellings or spelled is missing"),
        ({"spellings": np.ones(5, int)}, ValueError, r"spellings is \(5,\)"),
        ({"spelled": np.zeros(7, int)}, ValueError, r"spelled is \(7,\)"),
        ({"spelled": np.full(8, 5)}, IndexError, "expected 0 to 4"),
        ({"bigrams": None}, ValueError, r"bigrams is None, expected \(8, 2\)"),
        ({"bigrams": np.zeros((8, 3), int)}, ValueError, r"bigrams is \(8, 3\)"),
    ],
)
def test_bad_input(rng, change, error, text):
    model = SequenceTagger(11, 3, 4, 5, characters=7, bigrams=9)
    with pytest.raises(error, match=text):
        model(**{**inputs(rng), **change})


@pytest.mark.parametrize(
    "more", [{}, {"characters": 7, "bigrams": 9}, {"characters": 7, "character_mode": "lstm"}]
)
def test_weights_are_counted_without_making_them(more):
    arguments = {"words": 11, "tags": 3, "dimensions": 4, "hidden": 5, "layers": 2, **more}
    model = SequenceTagger(**arguments, cell="rnn", bidirectional=False)
    sizes = {
        "character_dimensions": 25,
        "character_features": 50,
        "character_region": 3,
        "bigram_dimensions": 50,
    }
    held = sum(p.data.size for p in model.parameters())
    assert 0.6 * held < count_weights(**arguments, **sizes) <= held
