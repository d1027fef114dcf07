"""csrc/bindings/array_memory.cpp: memory of results that is used again."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from dlkit import kernels as K


@pytest.fixture(autouse=True)
def _empty():
    gc.collect()
    K.release_memory()
    yield
    K.release_memory()


def _product(n: int, dtype=np.float32):
    return K.matmul(np.ones((n, 4), dtype), np.ones((4, n), dtype))


def test_a_freed_result_is_the_next_ones_memory():
    y = _product(300)
    address = y.ctypes.data
    assert address % 64 == 0
    del y
    assert K.kept_memory() >= 300 * 300 * 4
    again = _product(300)
    assert again.ctypes.data == address
    assert K.kept_memory() == 0
    np.testing.assert_array_equal(again, np.full((300, 300), 4, np.float32))


def test_a_result_that_is_held_stays_as_it_is():
    first = _product(200)
    view = first[10:20, ::3]
    del first
    second = K.matmul(np.full((200, 4), 2, np.float32), np.ones((4, 200), np.float32))
    assert (view == 4).all()
    assert (second == 8).all()
    assert not np.shares_memory(view, second)


def test_small_results_are_left_to_malloc():
    del_me = _product(8)
    del del_me
    assert K.kept_memory() == 0


def test_the_arrays_own_their_memory():
    y = _product(128)
    assert y.flags.owndata
    assert y.base is None
    assert y.flags.writeable
    y.resize((300, 300), refcheck=False)  # by the handler's realloc
    assert (y.ravel()[: 128 * 128] == 4).all()
    assert not y.ravel()[128 * 128 :].any()
    y.resize((4, 4), refcheck=False)
    assert (y == 4).all()


def test_other_arrays_of_numpy_are_not_kept():
    _ = _product(64)
    before = K.kept_memory()
    big = np.empty(1 << 20)
    del big
    assert K.kept_memory() == before


def test_what_is_kept_is_bounded():
    limit = K.most_kept_memory()
    assert 128 << 20 <= limit <= 512 << 20
    rows = limit // 16 // 4000  # of 4000 bytes: a sixteenth of the limit, and more each time
    for more in range(12):
        y = K.matmul(np.ones((rows * (1 + more), 4), np.float32), np.ones((4, 1000), np.float32))
        del y
        assert K.kept_memory() <= limit
    assert K.kept_memory() > limit // 4
    K.release_memory()
    assert K.kept_memory() == 0


def test_a_much_larger_block_is_not_taken_for_a_small_result():
    large = _product(1000)
    del large
    kept = K.kept_memory()
    small = _product(100)
    assert K.kept_memory() == kept
    del small


def test_from_several_threads():
    failures = []

    def work(value: int) -> None:
        for n in (100, 150, 200, 150, 100) * 20:
            y = K.matmul(np.full((n, 4), value, np.float32), np.ones((4, n), np.float32))
            if not (y == 4 * value).all():
                failures.append((value, n))

    threads = [threading.Thread(target=work, args=(i + 1,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
