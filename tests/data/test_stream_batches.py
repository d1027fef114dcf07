"""A long text as batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import DataError, StreamBatches


@given(count=st.integers(2, 200), batch_size=st.integers(1, 9), steps=st.integers(1, 12))
def test_every_stretch_is_read_in_order(count, batch_size, steps):
    if count <= batch_size:
        with pytest.raises(DataError, match=r"batch_size is \d+ and tokens are \d+, expected at least"):
            StreamBatches(np.arange(count), batch_size, steps)
        return
    batches = StreamBatches(np.arange(count), batch_size, steps)
    pieces = list(batches)
    assert len(pieces) == len(batches)
    x = np.concatenate([x for x, _ in pieces])
    y = np.concatenate([y.reshape(-1, batch_size) for _, y in pieces])
    length = (count - 1) // batch_size
    np.testing.assert_array_equal(x.T.reshape(-1), np.arange(length * batch_size))
    np.testing.assert_array_equal(y, x + 1)
    assert batches.samples == x.size
    assert all(len(x) == steps for x, _ in pieces[:-1])


def test_goes_on_where_it_stood():
    tokens = np.random.default_rng(0).integers(0, 50, 101)
    whole = [x for x, _ in StreamBatches(tokens, 4, 7)]
    batches = StreamBatches(tokens, 4, 7)
    run = iter(batches)
    next(run), next(run)
    other = StreamBatches(tokens, 4, 7)
    other.load_state_dict(batches.state_dict())
    for a, b in zip([x for x, _ in other], whole[2:], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(next(iter(other))[0], whole[0])


def test_states_of_other_data_are_refused():
    state = StreamBatches(np.arange(50), 4, 5).state_dict()
    with pytest.raises(DataError, match="the samples themselves differ"):
        StreamBatches(np.arange(1, 51), 4, 5).load_state_dict(state)
    with pytest.raises(DataError, match="steps is 6 here but 5"):
        StreamBatches(np.arange(50), 4, 6).load_state_dict(state)
    with pytest.raises(DataError, match="lacks epoch"):
        StreamBatches(np.arange(50), 4, 5).load_state_dict({k: v for k, v in state.items() if k != "epoch"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 3), int),), "one dimension"),
        ((np.zeros(9),), "integers"),
        ((np.arange(9), 0), "batch_size is 0"),
        ((np.arange(9), 2, True), "steps is True"),
        ((np.arange(1), 1), "tokens are 1, expected at least 2"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(DataError, match=message):
        StreamBatches(*arguments)
