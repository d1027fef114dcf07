import numpy as np
import pytest

from dlkit.data import DataError, TextBatches, pad_sentences


def sentences(count=100, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 50, rng.integers(0, 30)) for _ in range(count)], np.arange(count) % 7


def test_padding():
    x = pad_sentences([np.array([5, 6]), np.array([], np.int64)], before=2, after=1)
    np.testing.assert_array_equal(x, [[0, 0, 5, 6, 0], [0, 0, 0, 0, 0]])
    assert pad_sentences([np.array([], np.int64)]).shape == (1, 1)
    with pytest.raises(DataError, match="before is -1"):
        pad_sentences([], before=-1)


def test_an_epoch_has_every_sentence_once_with_its_label():
    numbers, labels = sentences()
    batches = TextBatches(numbers, labels, 8, seed=1, before=2, after=3)
    seen = []
    for x, y in batches:
        for row, label in zip(x, y, strict=True):
            seen.append((tuple(row[row != 0]), label))
            assert not row[:2].any()
            assert not row[-3:].any()
    assert len(batches) == 13
    expected = sorted((tuple(s), label) for s, label in zip(numbers, labels, strict=True))
    assert sorted(seen) == expected


def test_little_is_padding_and_orders_differ():
    numbers, labels = sentences(400)
    batches = TextBatches(numbers, labels, 10)
    places = sum(x.size for x, _ in batches)
    assert places < 1.25 * sum(map(len, numbers))
    assert not all(np.array_equal(a, b) for a, b in zip(batches.order(0), batches.order(1), strict=True))
    again = TextBatches(numbers, labels, 10)
    assert all(np.array_equal(a, b) for a, b in zip(batches.order(1), again.order(1), strict=True))
    plain = TextBatches(numbers, labels, 150, shuffle=False)
    np.testing.assert_array_equal(np.concatenate(plain.order(5)), np.arange(400))


def test_goes_on_where_it_was_left():
    numbers, labels = sentences()
    whole, half = (TextBatches(numbers, labels, 8, seed=2) for _ in range(2))
    for _ in whole:
        pass
    expected = [x for x, _ in whole]
    for _ in half:
        pass
    for count, _ in enumerate(half):
        if count == 4:
            break
    later = TextBatches(numbers, labels, 8, seed=2)
    later.load_state_dict(half.state_dict())
    rest = [x for x, _ in later]
    assert len(rest) == len(expected) - 5
    for a, b in zip(rest, expected[5:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors():
    numbers, labels = sentences(10)
    with pytest.raises(DataError, match="0 sentences"):
        TextBatches([], np.zeros(0, int))
    with pytest.raises(DataError, match="labels of shape"):
        TextBatches(numbers, labels[:3])
    with pytest.raises(DataError, match="batch_size is 0"):
        TextBatches(numbers, labels, 0)
    state = TextBatches(numbers, labels).state_dict()
    with pytest.raises(DataError, match="seed is 5 here but 0"):
        TextBatches(numbers, labels, seed=5).load_state_dict(state)
    with pytest.raises(DataError, match="the samples themselves differ"):
        TextBatches(numbers, labels[::-1].copy()).load_state_dict(state)
    with pytest.raises(DataError, match="lacks"):
        TextBatches(numbers, labels).load_state_dict({})
