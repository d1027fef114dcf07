"""The SIMT machine: planted faults are found, known counts are counted, and what runs gives the right numbers."""

from __future__ import annotations

import numpy as np
import pytest

_simt = pytest.importorskip("dlkit._simt")

N = 4096
SECTORS = N * 4 // 32

FAULTS = {
    "reads_past_end": rf"block \(15, 0, 0\), thread \(255, 0, 0\): reads 4 bytes at offset {4 * N} of x, "
    rf"which has {4 * N} bytes",
    "writes_before_begin": r"thread \(0, 0, 0\): writes 4 bytes at offset -4 of y",
    "writes_input": r"writes 4 bytes to x, which it may only read",
    "misaligned": r"reads 16 bytes at an address that is no multiple of 16",
    "shared_past_end": r"thread \(255, 0, 0\): writes 4 bytes at offset 1024 of tile, shared, 1024 bytes: out of",
    "shared_unwritten": r"thread \(155, 0, 0\): reads 4 bytes at offset 400 of tile.*nobody has written there",
    "race_read": r"race: reads .* of tile, shared, 1024 bytes, which thread \(0, 0, 0\) has written since",
    "race_write": r"race: writes .* of tile, shared, 1024 bytes, which thread .* has read since the last barrier",
    "race_warps": r"race: .* of tile, shared, 1024 bytes, which thread .* since the last barrier",
    "race_grid": r"race: writes 4 bytes at offset \d+ of y, which block \(\d+, 0, 0\) has read since the last "
    r"barrier of the grid",
    "barrier_not_reached": r"255 of 256 threads wait at the block barrier .*; thread \(7, 0, 0\) has ended",
    "barriers_differ": r"waits at the block barrier of line \d+, but thread \(0, 0, 0\) at that of line \d+",
    "shuffle_with_ended": r"waits for lane 3 of its warp, which has ended",
    "shuffle_outside_mask": r"reads lane 20 of its warp, which takes no part in the shuffle",
    "copy_not_awaited": r"reads 16 bytes at offset .* of tile.*nobody has written there",
    "too_much_together": r"20480 bytes of static and 32768 of dynamic shared memory; expected at most 49152 together",
    "too_much_shared": r"65536 bytes of static shared memory; expected at most 49152",
}


@pytest.fixture
def x(rng):
    return rng.standard_normal(N).astype(np.float32)


@pytest.fixture(autouse=True)
def _mode_and_records():
    before = _simt.get_mode()
    _simt.set_mode("both")
    _simt.reset_counters()
    yield
    _simt.set_mode(before)
    _simt.reset_counters()


def count(name, x):
    _simt.reset_counters()
    y = _simt.specimen(name, x)
    (record,) = _simt.counters()
    return y, record


def test_every_specimen_with_a_fault_is_tested():
    assert {name for name, what in _simt.specimens() if what.startswith("fault")} == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("mode", ["check", "both"])
def test_planted_faults_are_found(name, mode, x):
    _simt.set_mode(mode)
    with pytest.raises(_simt.DeviceError, match=FAULTS[name]) as caught:
        _simt.specimen(name, x)
    assert str(caught.value).startswith(f"specimen: kernel '{name}'")
    # The machine is whole again.
    np.testing.assert_array_equal(_simt.specimen("copy", x), x)


@pytest.mark.parametrize("threads", [1, 2])
def test_faults_on_any_number_of_threads(threads, x):
    _simt.set_num_threads(threads)
    for _ in range(20):
        with pytest.raises(_simt.DeviceError, match=FAULTS["reads_past_end"]):
            _simt.specimen("reads_past_end", x)


def test_faults_are_not_looked_for_in_other_modes(x):
    for mode in ("fast", "count"):
        _simt.set_mode(mode)
        _simt.specimen("race_read", x)  # whatever it computes


@pytest.mark.parametrize(("name", "requests"), [("copy", N // 32), ("copy4", N // 128)])
def test_copies_use_every_byte_that_they_move(name, requests, x):
    y, record = count(name, x)
    np.testing.assert_array_equal(y, x)
    for way in ("load", "store"):
        assert record[f"global_{way}_requests"] == requests
        assert record[f"global_{way}_sectors"] == SECTORS
        assert record[f"global_{way}_bytes"] == 4 * N
    assert record["flops"] == record["special"] == record["divergent_branches"] == 0


def test_a_strided_copy_moves_eight_times_the_sectors(x):
    y, record = count("strided_copy", x)
    np.testing.assert_array_equal(y, x.reshape(-1, 32, 32).transpose(0, 2, 1).ravel())
    assert record["global_load_requests"] == N // 32
    assert record["global_load_sectors"] == 32 * N // 32
    assert record["global_load_bytes"] == 4 * N
    assert record["global_store_sectors"] == SECTORS


def test_a_column_of_32_floats_is_a_32_way_bank_conflict(x):
    y, record = count("transpose", x)
    np.testing.assert_array_equal(y, x.reshape(-1, 32, 32).transpose(0, 2, 1).ravel())
    assert record["shared_load_requests"] == N // 32
    assert record["shared_load_wavefronts"] == 32 * N // 32
    assert record["shared_load_conflicts"] == 31 * N // 32
    assert record["shared_store_conflicts"] == 0
    assert record["barriers"] == N // 1024
    assert record["shared_bytes"] == 4096


def test_padding_takes_the_conflicts_away(x):
    y, record = count("transpose_padded", x)
    np.testing.assert_array_equal(y, x.reshape(-1, 32, 32).transpose(0, 2, 1).ravel())
    assert record["shared_load_wavefronts"] == record["shared_store_wavefronts"] == N // 32
    assert record["shared_load_conflicts"] == record["shared_store_conflicts"] == 0
    assert record["shared_bytes"] == 32 * 33 * 4


def test_divergence_operations_and_functions(x):
    y, record = count("divergent", x)
    expected = np.where(np.arange(N) % 2 == 0, 4 * x.astype(np.float64), -2 * np.exp(x.astype(np.float64)))
    assert np.linalg.norm(y - expected) / np.linalg.norm(expected) < 1e-6
    assert record["divergent_branches"] == 2 * N // 32
    # Even lanes: a product and a sum, odd ones: a difference, in each of two rounds.
    assert record["flops"] == 3 * N
    assert record["special"] == N
    # Both halves are apart for the load and the store, so the efficiency of lanes is below 1.
    assert record["active_lanes"] < 32 * record["basic_blocks"]


def test_shuffles_and_atomics(x):
    y, record = count("sum", x)
    assert y[0] == pytest.approx(x.astype(np.float64).sum(), abs=1e-3)
    assert record["global_atomic_requests"] == N // 256
    # Of each block: 5 exchanges in its 8 warps and once more in all of them, and an atomic addition.
    assert record["flops"] == N // 256 * (256 * 5 * 2 + 1)
    assert record["barriers"] == 2 * N // 256


def test_a_cooperative_launch_waits_for_the_grid(x):
    y, _ = count("neighbours", x)
    np.testing.assert_array_equal(y, np.roll(x, -256))


def test_a_warp_barrier_orders_its_lanes(x):
    y, _ = count("warp_ordered", x)
    np.testing.assert_array_equal(y[:256], x[:256].reshape(-1, 2)[:, ::-1].ravel())


def test_counts_are_the_same_on_any_number_of_threads(x):
    rows = []
    for threads in (1, 2, 3):
        _simt.set_num_threads(threads)
        rows.append(count("transpose", x)[1])
    _simt.set_num_threads(2)
    assert rows[0] == rows[1] == rows[2]


def test_records_come_in_order_and_can_be_cleared(x):
    for name in ("copy", "sum", "copy4"):
        _simt.specimen(name, x)
    assert [record["kernel"] for record in _simt.counters()] == ["copy", "sum", "copy4"]
    assert _simt.counters()[0]["operation"] == "specimen"
    assert _simt.counters()[0]["grid"] == (N // 256, 1, 1)
    assert _simt.counters()[0]["block"] == (256, 1, 1)
    _simt.reset_counters()
    assert _simt.counters() == []
    _simt.set_mode("check")
    _simt.specimen("copy", x)
    assert _simt.counters() == []


def test_wrong_arguments(x):
    with pytest.raises(ValueError, match="mode is 'quick'; expected 'check', 'count', 'both' or 'fast'"):
        _simt.set_mode("quick")
    with pytest.raises(ValueError, match="name is 'copyy'; expected one of specimens"):
        _simt.specimen("copyy", x)
    with pytest.raises(ValueError, match="x has 100 elements; expected a multiple of 1024"):
        _simt.specimen("copy", x[:100])
    with pytest.raises(ValueError, match="x has 0 elements"):
        _simt.specimen("copy", x[:0])


def test_from_several_python_threads(x):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda name: _simt.specimen(name, x), ["copy", "copy4"] * 20))
    for y in results:
        np.testing.assert_array_equal(y, x)
