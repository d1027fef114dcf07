"""python/dlkit/kernels/recording.py: the places that a replay fills anew."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.kernels import random, recording


def test_offsets_are_counted_from_where_a_replay_begins(simt: Any) -> None:
    dl.manual_seed(3)
    random.next_offset(10)  # 12 numbers are gone
    place = recording.Recording("simt")
    assert recording.offset(12) == (12, None)
    with place:
        assert recording.active()
        _, first = random.next_offset(5)
        _, second = random.next_offset(3)
        assert recording.offset(first) == (0, place.counter)
        assert recording.offset(second) == (8, place.counter)
    assert not recording.active()
    assert place.count == 12
    place.first()
    assert int(place.counter) == 12
    for begin in (24, 36):
        place.next()
        assert int(place.counter) == begin
    random.next_offset(4)
    place.next()
    assert int(place.counter) == 52


def test_factors_are_computed_anew(simt: Any) -> None:
    place = recording.Recording("simt")
    settings = iter([{"lr": 2}, {"lr": 3}])

    def compute(lr: int, step: int) -> bytes:
        return bytes([lr, step])

    with place:
        held = recording.factors(place.backend, compute, {"lr": 1, "step": 9}, lambda: next(settings))
        assert recording.factors(place.backend, compute, {"lr": 1, "step": 9}, None) is None
    place.first()
    assert held.tolist() == [1, 9]
    for lr in (2, 3):
        place.next()
        assert held.tolist() == [lr, 9]
    assert recording.factors(place.backend, compute, {"lr": 1, "step": 9}, lambda: {}) is None


def test_the_seed_is_part_of_a_recording(simt: Any) -> None:
    dl.manual_seed(3)
    place = recording.Recording("simt")
    with place:
        random.next_offset(4)
    dl.manual_seed(4)
    with pytest.raises(
        RuntimeError, match="manual_seed was called after the step was recorded; record it anew"
    ):
        place.next()
    with pytest.raises(RuntimeError, match="the step calls manual_seed"), recording.Recording("simt"):
        dl.manual_seed(5)
    assert not recording.active()


def test_one_at_a_time_in_a_thread(simt: Any) -> None:
    seen: list[bool] = []
    with recording.Recording("simt"):
        with pytest.raises(RuntimeError, match="is being recorded already"), recording.Recording("simt"):
            pass
        assert recording.active()
        thread = threading.Thread(target=lambda: seen.append(recording.active()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_arrays_whose_address_was_taken_are_kept(simt: Any) -> None:
    import sys

    from dlkit.kernels.device_operands import pointer

    array = simt.array(np.ones(3))
    before = sys.getrefcount(array)
    pointer(array)
    assert sys.getrefcount(array) == before
    place = recording.Recording("simt")
    with place:
        pointer(array)
    assert sys.getrefcount(array) == before + 1
