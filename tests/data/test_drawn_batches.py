"""Batches that are drawn as they are needed."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import AddingProblem, CopyMemory, DataError, DrawnBatches


def make(**settings):
    return DrawnBatches(AddingProblem(6), **{"batch_size": 3, "batches": 4, "seed": 1, **settings})


def test_no_sample_comes_twice():
    batches = make()
    seen = [x for _ in range(3) for x, _ in batches]
    assert len(seen) == 3 * len(batches)
    assert batches.samples == 12
    rows = np.concatenate(seen).reshape(36, -1)
    assert len(np.unique(rows, axis=0)) == 36
    held_out = batches.held_out(5)[0].reshape(5, -1)
    assert len(np.unique(np.concatenate([rows, held_out]), axis=0)) == 41


def test_seeds():
    np.testing.assert_array_equal(next(iter(make()))[0], next(iter(make()))[0])
    assert (next(iter(make()))[0] != next(iter(make(seed=2)))[0]).any()
    np.testing.assert_array_equal(make().held_out(4)[0], make(seed=2).held_out(4)[0])


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_goes_on_where_it_stood(stop):
    whole = make()
    wanted = [x for _ in range(2) for x, _ in whole]
    batches = make()
    run = iter(batches)
    for _ in range(stop):
        next(run)
    other = make()
    other.load_state_dict(batches.state_dict())
    got = [x for x, _ in other] + [x for x, _ in other]
    for a, b in zip(got, wanted[stop:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_states_of_other_data_are_refused():
    state = make().state_dict()
    with pytest.raises(DataError, match="batch_size is 2 here but 3"):
        make(batch_size=2).load_state_dict(state)
    with pytest.raises(DataError, match="lacks length"):
        make().load_state_dict({k: v for k, v in state.items() if k != "length"})
    other = DrawnBatches(CopyMemory(6), 3, 4, 1)
    with pytest.raises(DataError, match="task is 'copy' here but 'adding'"):
        other.load_state_dict({**other.state_dict(), "task": "adding"})
    with pytest.raises(DataError, match="batch 5 of 4"):
        make().load_state_dict({**state, "position": 5})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batches": 1.5}, "batches is 1.5"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "expected an integer below"),
    ],
)
def test_errors(settings, message):
    with pytest.raises(DataError, match=message):
        make(**settings)
