from __future__ import annotations

import dataclasses

import pytest

from dlkit.study.alternate import Timing, alternate, ratio, spread
from dlkit.study.peers import Company, PeerError, find_peers
from dlkit.study.workloads import matmul, workloads


@pytest.fixture(scope="module")
def company():
    with Company(find_peers(["numpy"]), 1) as company:
        yield company


def test_every_peer_has_its_turns(company):
    timings = alternate(company, matmul(16, 16, 16), rounds=3, turn=1e-4)
    assert timings.keys() == {"dlkit", "numpy"}
    for timing in timings.values():
        assert len(timing.seconds) == 3
        assert all(seconds > 0 for seconds in timing.seconds)
        assert 0 <= timing.error < 1e-5
        assert timing.inner >= 1


def test_a_wrong_result_is_an_error_before_anything_is_timed(company):
    # No float32 product agrees with float64 to fifteen digits.
    workload = dataclasses.replace(matmul(16, 16, 16), tolerance=1e-15)
    with pytest.raises(PeerError, match=r"dlkit: wrong result for 16×16×16: out is off by .* from float64"):
        alternate(company, workload, rounds=1, turn=1e-4)


def test_a_missing_operation_is_said_and_the_others_go_on(company):
    workload, *_ = workloads("models", quick=True)
    timings = alternate(company, workload, rounds=2, turn=1e-4)
    assert timings["numpy"].absent == "NumPy has no automatic differentiation"
    assert len(timings["dlkit"].seconds) == 2


def test_a_variant_can_be_asked_for(company):
    timings = alternate(
        company, matmul(8, 8, 8), rounds=1, turn=1e-4, options={"dlkit": {"variant": "naive"}}
    )
    assert timings["dlkit"].seconds
    with pytest.raises(PeerError, match=r"dlkit: setup: ValueError: .*no_such_variant"):
        alternate(
            company, matmul(8, 8, 8), rounds=1, turn=1e-4, options={"dlkit": {"variant": "no_such_variant"}}
        )


def test_ratios_are_taken_round_by_round():
    # The machine was twice as slow in the second round: the ratio does not see it.
    timings = {"dlkit": Timing([1.0, 2.0, 1.0]), "numpy": Timing([3.0, 6.0, 3.0])}
    assert ratio(timings, "numpy") == (3.0, 3.0, 3.0)
    timings["numpy"] = Timing([2.0, 6.0, 4.0])
    assert ratio(timings, "numpy")[0] == 3.0


def test_spread_is_the_distance_of_the_quartiles_over_the_median():
    assert spread([2.0, 2.0, 2.0]) == 0
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(0.5)
