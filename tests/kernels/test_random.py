"""python/dlkit/kernels/random.py: one seed for all random numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    state = K.random.get_state()
    yield
    K.random.set_state(state)


def _draw() -> tuple[Any, ...]:
    return (
        K.random.next_offset(10),
        K.random.generator().standard_normal(3).tolist(),
        K.random.next_offset(1),
    )


def test_same_seed_same_numbers() -> None:
    K.manual_seed(7)
    first = _draw()
    assert _draw() != first
    K.manual_seed(7)
    assert _draw() == first
    K.manual_seed(8)
    assert _draw() != first
    assert K.initial_seed() == 8


def test_offsets_do_not_overlap_and_begin_at_blocks() -> None:
    K.manual_seed(3)
    assert [K.random.next_offset(count) for count in (1, 4, 5, 0, 2)] == [
        (3, 0),
        (3, 4),
        (3, 8),
        (3, 16),
        (3, 16),
    ]
    with pytest.raises(ValueError, match="next_offset: count is -1"):
        K.random.next_offset(-1)


def test_offsets_from_many_threads_are_distinct() -> None:
    with ThreadPoolExecutor(8) as pool:
        offsets = [offset for _, offset in pool.map(lambda _: K.random.next_offset(4), range(400))]
    assert len(set(offsets)) == 400


def test_state_goes_through_json() -> None:
    K.manual_seed(2**64 - 1)
    _draw()
    K.random.generator().integers(0, 10, 3, dtype=np.uint32)  # leaves half a word buffered
    text = json.dumps(K.random.get_state())
    expected = _draw()
    K.manual_seed(0)
    K.random.set_state(json.loads(text))
    assert _draw() == expected


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed: int) -> None:
    with pytest.raises(ValueError, match=f"manual_seed: seed is {seed}; expected 0 to"):
        K.manual_seed(seed)


def test_seed_of_another_type() -> None:
    with pytest.raises(TypeError, match="manual_seed: seed is a float; expected an integer"):
        K.manual_seed(1.5)  # type: ignore[arg-type]
    K.manual_seed(np.int64(5))  # type: ignore[arg-type]
    assert K.initial_seed() == 5


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"seed": 1},
        {"seed": "x", "offset": 0, "generator": {}},
        {"seed": -1, "offset": 0, "generator": {}},
    ],
)
def test_bad_state_changes_nothing(state: dict[str, Any]) -> None:
    K.manual_seed(11)
    with pytest.raises(ValueError, match="set_state: state is not one of get_state"):
        K.random.set_state(state)
    assert K.initial_seed() == 11


def test_processes_differ_without_a_seed() -> None:
    code = "import dlkit.kernels as K; print(K.initial_seed())"
    seeds = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)
    }
    assert len(seeds) == 2
