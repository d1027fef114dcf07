from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dlkit.data import Batches, DataError, StreamBatches, TextBatches

KINDS: dict[str, Callable[..., Any]] = {
    "Batches": lambda size=4: Batches(np.arange(22.0), np.arange(22), size, seed=3),
    "TextBatches": lambda size=4: TextBatches(
        [np.arange(n % 5) for n in range(22)], np.arange(22), size, seed=3
    ),
    "StreamBatches": lambda size=4: StreamBatches(np.arange(89), size, 4),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return KINDS[request.param]


@pytest.mark.parametrize("taken", [0, 1, 3, 6, 8])
def test_goes_on_where_the_state_was_taken(kind, taken):
    batches = kind()
    assert len(batches) == 6
    run: list[Any] = []
    states = [json.loads(json.dumps(batches.state_dict()))]
    for _ in range(2):
        for x, y in batches:
            run.append((x.copy(), y.copy()))
            states.append(json.loads(json.dumps(batches.state_dict())))
    other = kind()
    other.load_state_dict(states[taken])
    rest = [(x.copy(), y.copy()) for _ in range(2) for x, y in other][: 12 - taken]
    assert len(rest) >= 6 - taken % 6
    for (x, y), (x_before, y_before) in zip(rest, run[taken:], strict=False):
        np.testing.assert_array_equal(x, x_before)
        np.testing.assert_array_equal(y, y_before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epoch": -1}, "epoch -1"),
        ({"epoch": None}, "epoch None"),
        ({"position": "3"}, "position '3'"),
        ({"position": True}, "position True"),
        ({"position": 1.5}, "position 1.5"),
        ({"position": 10**9}, "position 1000000000; expected epoch >= 0 and position 0 …"),
        ({"batch_size": 5}, "batch_size is 4 here but 5 in the state"),
        ({"fingerprint": 0}, "the samples themselves differ"),
    ],
)
def test_states_that_cannot_be_gone_on_from(kind, changed, message):
    batches = kind()
    before = batches.state_dict()
    with pytest.raises(DataError, match=f"{type(batches).__name__}: .*{message}"):
        batches.load_state_dict({**before, **changed})
    assert batches.state_dict() == before
    with pytest.raises(DataError, match="the state lacks batch_size, "):
        batches.load_state_dict({})


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "4"])
def test_sizes_that_are_none(kind, size):
    with pytest.raises(DataError, match=r"batch_size is .*expected an integer of at least 1"):
        kind(size)


def test_seeds_that_are_no_key():
    for make in (
        lambda seed: Batches(np.ones(3), np.ones(3), 1, seed=seed),
        lambda seed: TextBatches([np.arange(2)], np.zeros(1, int), seed=seed),
    ):
        with pytest.raises(DataError, match=r"expected an integer below 2\*\*64"):
            make(2**64)
        make(2**64 - 1)
