from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import Batches, DataError, holdout


def arrays(n: int, features: int = 3) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(n)
    return np.repeat(y[:, None], features, axis=1).astype(np.float32), y


def epoch(batches: Batches) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(batches)


def seen(batches: Batches) -> list[int]:
    return [int(label) for _, y in batches for label in y]


@given(
    n=st.integers(1, 40), size=st.integers(1, 45), seed=st.integers(0, 2**64 - 1), epochs=st.integers(1, 4)
)
def test_each_epoch_holds_each_sample_once(n, size, seed, epochs):
    batches = Batches(*arrays(n), batch_size=size, seed=seed)
    for _ in range(epochs):
        got = epoch(batches)
        assert len(got) == len(batches) == -(-n // size)
        assert all(len(y) == size for _, y in got[:-1])
        labels = np.concatenate([y for _, y in got])
        assert sorted(labels) == list(range(n))
        for x, y in got:
            np.testing.assert_array_equal(x, np.repeat(y[:, None], 3, axis=1))
    assert batches.epoch == epochs
    assert batches.position == 0


def test_same_seed_same_order():
    a, b = (Batches(*arrays(50), batch_size=8, seed=4) for _ in range(2))
    first = [seen(a) for _ in range(3)]
    assert first == [seen(b) for _ in range(3)]
    assert first[0] != first[1] != first[2]
    assert first[0] != seen(Batches(*arrays(50), batch_size=8, seed=5))
    assert first[0] == a.order(0).tolist()
    assert first[2] == a.order(2).tolist()


def test_the_order_is_fixed_for_good():
    """Resuming a run with a later version must find the same order: these numbers may not change."""
    batches = Batches(*arrays(10), seed=123)
    assert batches.order(0).tolist() == [1, 0, 8, 9, 5, 7, 6, 4, 2, 3]
    assert batches.order(1).tolist() == [1, 2, 7, 0, 9, 5, 3, 6, 8, 4]


def test_without_shuffling():
    batches = Batches(*arrays(7), batch_size=3, shuffle=False)
    assert [y.tolist() for _, y in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert seen(batches) == list(range(7))


@given(n=st.integers(1, 30), size=st.integers(1, 30))
def test_drop_last(n, size):
    if size > n:
        with pytest.raises(DataError, match="no batch is left"):
            Batches(*arrays(n), batch_size=size, drop_last=True)
        return
    batches = Batches(*arrays(n), batch_size=size, drop_last=True)
    got = epoch(batches)
    assert len(got) == len(batches) == n // size
    assert {len(y) for _, y in got} == {size}
    assert batches.samples == n // size * size


@given(
    n=st.integers(2, 40),
    size=st.integers(1, 11),
    stop=st.integers(1, 60),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_resume_at_any_batch(n, size, stop, shuffle, drop_last):
    size = min(size, n)
    options = {"batch_size": size, "shuffle": shuffle, "seed": 9, "drop_last": drop_last}

    def stream(batches: Batches, epochs: int):
        while batches.epoch < epochs:
            yield from (y.tolist() for _, y in batches)

    whole = list(stream(Batches(*arrays(n), **options), 4))
    stop = min(stop, len(whole))
    first = Batches(*arrays(n), **options)
    running = stream(first, 4)
    head = [next(running) for _ in range(stop)]
    state = json.loads(json.dumps(first.state_dict()))

    second = Batches(*arrays(n), **options)
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert head + list(stream(second, 4)) == whole


def test_a_loop_left_early_starts_its_epoch_over():
    batches = Batches(*arrays(20), batch_size=4, seed=1)
    first = next(iter(batches))[1].tolist()
    assert batches.position == 4
    again = seen(batches)
    assert again[:4] == first
    assert sorted(again) == list(range(20))
    assert batches.epoch == 1


def test_kept_batches_are_not_overwritten():
    batches = Batches(*arrays(64), batch_size=8, seed=2)
    kept = list(batches)
    copies = [(x.copy(), y.copy()) for x, y in kept]
    seen(batches)
    for (x, y), (cx, cy) in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(x, cx)
        np.testing.assert_array_equal(y, cy)
    assert not any(np.shares_memory(a[0], b[0]) for i, a in enumerate(kept) for b in kept[:i])


def test_a_kept_view_is_not_overwritten():
    batches = Batches(*arrays(64), batch_size=8, seed=2)
    views = [x[2:4, 1:] for x, _ in batches]
    copies = [view.copy() for view in views]
    seen(batches)
    for view, copy in zip(views, copies, strict=True):
        np.testing.assert_array_equal(view, copy)


def test_batches_do_not_share_memory_with_the_data():
    x, y = arrays(12)
    for shuffle in (True, False):
        for bx, by in Batches(x, y, batch_size=5, shuffle=shuffle):
            bx[:] = -1
            by[:] = -1
    np.testing.assert_array_equal(x, arrays(12)[0])
    np.testing.assert_array_equal(y, arrays(12)[1])


def test_a_plain_loop_allocates_no_batches():
    x, y = np.zeros((64 * 50, 784), np.float32), np.zeros(64 * 50, np.int64)
    batches = Batches(x, y, batch_size=64)
    for bx, _ in batches:
        bx[0, 0] = 1
    buffers = {bx.ctypes.data for bx, _ in batches}
    assert len(buffers) == 2
    tracemalloc.start()
    for bx, _ in batches:
        bx[0, 0] = 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 784 * 4  # less than one batch: no more than the permutation


def test_several_dimensions_and_other_dtypes():
    images = np.random.default_rng(0).integers(0, 256, (10, 1, 4, 4), dtype=np.uint8)
    targets = np.random.default_rng(1).normal(size=(10, 2))
    for x, y in Batches(images, targets, batch_size=4):
        assert x.dtype == np.uint8
        assert y.dtype == np.float64
        assert x.shape[1:] == (1, 4, 4)
        assert y.shape[1:] == (2,)


def test_non_contiguous_and_byte_swapped_data():
    x = np.arange(60, dtype=np.float32).reshape(6, 10)[:, ::2]
    y = np.arange(6).astype(">i8")
    got_x, got_y = zip(*Batches(x, y, batch_size=4, shuffle=False), strict=True)
    np.testing.assert_array_equal(np.concatenate(got_x), x)
    assert all(part.dtype.isnative for part in got_y)
    assert np.concatenate(got_y).tolist() == list(range(6))


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0), {}, r"x is \(0, 3\), expected at least one sample"),
        (np.zeros(()), np.zeros(1), {}, r"x is \(\), expected at least one sample"),
        (np.zeros((3, 2)), np.zeros(4), {}, "x has 3 samples but y has 4"),
        (np.zeros((3, 2)), np.array(["a", "b", "c"]), {}, "y has dtype <U1, expected numbers"),
        (np.zeros((3, 2), object), np.zeros(3), {}, "x has dtype object, expected numbers"),
        (np.zeros((3, 2), complex), np.zeros(3), {}, "x has dtype complex128, expected numbers"),
        (np.array([[0.0], [np.nan]]), np.zeros(2), {}, "x holds NaN or infinity .first in sample 1."),
        (np.array([[0.0], [1.0], [np.inf]]), np.zeros(3), {}, "x holds NaN or infinity .first in sample 2."),
        (np.zeros((2, 1)), np.array([np.nan, 0.0]), {}, "y holds NaN or infinity .first in sample 0."),
        (
            np.zeros((2, 1)),
            np.zeros(2),
            {"batch_size": 0},
            "batch_size is 0, expected an integer of at least 1",
        ),
        (np.zeros((2, 1)), np.zeros(2), {"batch_size": -3}, "batch_size is -3"),
        (np.zeros((2, 1)), np.zeros(2), {"batch_size": 2.5}, "batch_size is 2.5"),
        (np.zeros((2, 1)), np.zeros(2), {"batch_size": True}, "batch_size is True"),
        (np.zeros((2, 1)), np.zeros(2), {"batch_size": "64"}, "batch_size is '64'"),
        (np.zeros((2, 1)), np.zeros(2), {"batch_size": None}, "batch_size is None"),
        (np.zeros((2, 1)), np.zeros(2), {"seed": -1}, "seed is -1"),
        (np.zeros((2, 1)), np.zeros(2), {"seed": 2**64}, "seed is 18446744073709551616"),
        (np.zeros((2, 1)), np.zeros(2), {"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_wrong_arguments(x, y, options, message):
    with pytest.raises(DataError, match=message):
        Batches(x, y, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 5}, "batch_size is 5 here but 4 in the state"),
        ({"seed": 1}, "seed is 1 here but 0 in the state"),
        ({"shuffle": False}, "shuffle is False here but True in the state"),
        ({"drop_last": True}, "drop_last is True here but False in the state"),
    ],
)
def test_state_of_other_settings(change, message):
    state = Batches(*arrays(20), batch_size=4).state_dict()
    other = Batches(*arrays(20), **{"batch_size": 4, **change})
    with pytest.raises(DataError, match=message):
        other.load_state_dict(state)


def test_state_of_other_data():
    x, y = arrays(20)
    state = Batches(x, y, batch_size=4).state_dict()
    with pytest.raises(DataError, match="samples is 19 here but 20 in the state"):
        Batches(x[:19], y[:19], batch_size=4).load_state_dict(state)
    with pytest.raises(DataError, match="the samples themselves differ"):
        Batches(x, y[::-1], batch_size=4).load_state_dict(state)
    with pytest.raises(DataError, match="the samples themselves differ"):
        Batches(x + 1, y, batch_size=4).load_state_dict(state)
    with pytest.raises(DataError, match="the samples themselves differ"):
        Batches(x.astype(np.float64), y, batch_size=4).load_state_dict(state)


def test_damaged_state():
    batches = Batches(*arrays(20), batch_size=4)
    state = batches.state_dict()
    with pytest.raises(DataError, match="the state lacks epoch, position"):
        batches.load_state_dict({k: v for k, v in state.items() if k not in ("epoch", "position")})
    for wrong in ({"position": 21}, {"position": -1}, {"epoch": -1}):
        with pytest.raises(DataError, match=r"expected epoch >= 0 and position 0 … 20"):
            batches.load_state_dict({**state, **wrong})


@given(n=st.integers(2, 50), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 1000))
def test_holdout(n, fraction, seed):
    x, y = arrays(n)
    x_train, y_train, x_held, y_held = holdout(x, y, fraction=fraction, seed=seed)
    assert len(y_held) == min(max(round(fraction * n), 1), n - 1)
    assert sorted([*y_train, *y_held]) == list(range(n))
    np.testing.assert_array_equal(x_train[:, 0], y_train)
    np.testing.assert_array_equal(x_held[:, 0], y_held)
    again = holdout(x, y, fraction=fraction, seed=seed)
    np.testing.assert_array_equal(again[3], y_held)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan")])
def test_holdout_fraction(fraction):
    with pytest.raises(DataError, match="fraction is"):
        holdout(*arrays(10), fraction=fraction)


def test_holdout_wrong_data():
    with pytest.raises(DataError, match="x has 3 samples but y has 2"):
        holdout(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(DataError, match="expected at least 2"):
        holdout(np.zeros((1, 1)), np.zeros(1))
