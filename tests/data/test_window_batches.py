"""Windows of a text with words drawn at random."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dlkit.data import DataError
from dlkit.data.window_batches import WindowBatches

TOKENS = np.array([0, 2, 1, -1, 3, -1, -1, 4, 0, 0, 1, 2, -1], np.int32)


@pytest.mark.parametrize("window", [1, 3, 7])
@pytest.mark.parametrize("tokens", [TOKENS, TOKENS[:-1], np.arange(5)])
def test_every_window_once(window, tokens):
    half, expected, sentence = window // 2, [], []
    for token in [*tokens.tolist(), -1]:
        if token >= 0:
            sentence.append(token + 1)
            continue
        padded = [0] * half + sentence + [0] * half
        expected += [tuple(padded[i : i + window]) for i in range(len(sentence))]
        sentence = []
    batches = WindowBatches(tokens, 5, window, 4, seed=3)
    assert batches.samples == len(expected)
    assert len(batches) == -(-len(expected) // 4)
    for _ in range(2):
        found = [tuple(row) for x, _ in batches for row in x.tolist()]
        assert sorted(found) == sorted(expected)


def test_words_are_drawn_from_all_alike():
    batches = WindowBatches(np.zeros(2000, int), 5, 3, 100, drawn=3, seed=1)
    drawn = np.concatenate([y for _, y in batches])
    assert drawn.shape == (2000, 3)
    counts = np.bincount(drawn.ravel(), minlength=6)
    assert counts[0] == 0
    assert abs(counts[1:] - 1200).max() < 6 * np.sqrt(1200)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_words_are_drawn_by_their_counts(power):
    counts = np.array([1600, 0, 400, 0, 100])
    batches = WindowBatches(np.repeat(np.arange(5), counts), 5, 3, 100, drawn=3, power=power, seed=1)
    drawn = np.concatenate([y for _, y in batches])
    expected = counts**power / (counts**power).sum() * drawn.size
    found = np.bincount(drawn.ravel(), minlength=6)
    assert found[0] == 0
    assert (found[1:][counts == 0] == 0).all()
    assert abs(found[1:] - expected).max() < 6 * np.sqrt(expected.max())


def test_epochs_differ_and_seeds_repeat():
    def epochs(seed):
        batches = WindowBatches(np.arange(50), 50, 3, 8, seed=seed)
        return [[(x.tolist(), y.tolist()) for x, y in batches] for _ in range(2)]

    one = epochs(1)
    assert one == epochs(1)
    assert one[0] != one[1]
    assert one != epochs(2)


@pytest.mark.parametrize("after", [0, 3, 6])
def test_goes_on_where_it_was_left(after):
    def made():
        return WindowBatches(np.arange(50), 50, 5, 8, drawn=2, seed=4)

    whole = made()
    every = [(x.tolist(), y.tolist()) for _ in range(2) for x, y in whole]
    left = made()
    for _ in itertools.islice(left, after):
        pass
    again = made()
    again.load_state_dict(left.state_dict())
    rest = [(x.tolist(), y.tolist()) for _ in range(2) for x, y in again]
    assert rest[: len(every) - after] == every[after:]
    with pytest.raises(DataError, match="seed"):
        WindowBatches(np.arange(50), 50, 5, 8, drawn=2, seed=5).load_state_dict(left.state_dict())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tokens": np.array([-1, -1])}, "has no word"),
        ({"tokens": np.array([], int)}, "has no word"),
        ({"tokens": np.array([0, 5])}, "tokens holds 0 to 5, expected -1 to 4"),
        ({"tokens": np.array([0, -2])}, "tokens holds -2 to 0"),
        ({"tokens": np.zeros(3)}, "expected one dimension of integers"),
        ({"window": 4}, "window is 4, expected an odd number"),
        ({"batch_size": 0}, "batch_size"),
        ({"drawn": -1}, "drawn"),
        ({"words": 0}, "words"),
        ({"power": -0.5}, "power is -0.5, expected a number from 0 to 1"),
        ({"power": float("nan")}, "power is nan"),
        ({"power": "0.75"}, "power is '0.75'"),
    ],
)
def test_bad_input(change, text):
    with pytest.raises(DataError, match=text):
        WindowBatches(**{"tokens": TOKENS, "words": 5, "window": 3, **change})
