"""The CUDA kernels of the four updates against the CPU's in float64: on the SIMT machine, and on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tested_backends import needs

import dlkit.kernels as K
from dlkit.kernels.backend import backend_named, resolve_device, to_host

VARIANTS = [None, "naive", "matrix"]
DIMS = [1, 31, 100, 128, 300]
LR, ROWS = 0.1, 60

Put = Any


@pytest.fixture(params=["simt", "cuda"])
def put(request: pytest.FixtureRequest) -> Put:
    """What copies an array to a device."""
    needs(request.param)
    backend, device = backend_named(request.param), resolve_device(request.param, "test")
    return lambda array: backend.from_host(array, device)


def matrices(rng: np.random.Generator, dim: int, dtype: Any) -> tuple[Any, Any]:
    w_in, w_out = (rng.standard_normal((ROWS, dim)) * (1.5 / np.sqrt(dim)) for _ in range(2))
    return w_in.astype(dtype), w_out.astype(dtype)


def check(
    put: Put,
    update: Any,
    given: tuple[Any, ...],
    variant: str | None,
    dim: int,
    rng: Any,
    dtype: Any,
    **how: Any,
) -> None:
    """One step on the device, beside the CPU's of the same variant in float64."""
    w_in, w_out = matrices(rng, dim, dtype)
    exact = [w_in.astype(np.float64), w_out.astype(np.float64)]
    there = [put(w_in), put(w_out)]
    loss = update(*given, *there, LR, variant=variant, **how)
    expected = update(*given, *exact, LR, variant=variant, **how)
    within = 3e-6 if dtype == np.float32 else 1e-13
    for got, reference in zip(there, exact, strict=True):
        assert np.linalg.norm(to_host(got) - reference) <= within * np.linalg.norm(reference)
    assert abs(loss - expected) <= 20 * within * max(expected, 1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dim", DIMS)
def test_negative_sampling(
    put: Put, dim: int, variant: str | None, dtype: Any, rng: np.random.Generator
) -> None:
    """Contexts and negatives may stand there twice, and a negative may be the word itself."""
    for contexts, negatives in ((1, 0), (2, 1), (6, 5), (20, 7), (7, 8), (5, 25)):
        given = rng.integers(ROWS), rng.integers(0, ROWS, contexts), rng.integers(0, ROWS, negatives)
        check(put, K.sgns_update, given, variant, dim, rng, dtype)
        for mean, divide in ((True, False), (True, True), (False, True)):
            check(put, K.cbow_update, given, variant, dim, rng, dtype, mean=mean, divide=divide)
            if negatives not in (5, 8):
                break


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [1, 2, 8, 14, 40])
def test_hierarchical_softmax(
    put: Put, length: int, variant: str | None, dtype: Any, rng: np.random.Generator
) -> None:
    for dim in (31, 300):
        nodes, codes = rng.permutation(ROWS)[:length], rng.integers(0, 2, length)
        given = rng.integers(0, ROWS, 6), nodes, codes
        check(put, K.sghs_update, given, variant, dim, rng, dtype)
        check(put, K.cbow_hs_update, given, variant, dim, rng, dtype)


@pytest.mark.parametrize("variant", VARIANTS)
def test_negatives_of_each_context(
    put: Put, variant: str | None, dtype: Any, rng: np.random.Generator
) -> None:
    contexts = np.array([3, 8, 3, -1, 20])
    check(put, K.sgns_update, (5, contexts, rng.integers(-1, ROWS, (5, 6))), variant, 33, rng, dtype)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_whose_words_share_nothing(
    put: Put, variant: str | None, dtype: Any, rng: np.random.Generator
) -> None:
    """Then it is the same whether its words are taken in turn or at one time."""
    rows = rng.permutation(ROWS)[: 7 * 8].reshape(7, 8)
    contexts, outputs = rows[:, :4].copy(), rows[:, 4:].copy()
    contexts[rng.random(contexts.shape) < 0.3] = -1
    contexts[2] = -1  # a word alone
    outputs[:, 1:][rng.random((7, 3)) < 0.3] = -1
    given = outputs[:, 0], contexts, outputs[:, 1:]
    check(put, K.sgns_update, given, variant, 40, rng, dtype)
    check(put, K.cbow_update, given, variant, 40, rng, dtype)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_step_of_a_batch_is_lost(put: Put, variant: str | None, rng: np.random.Generator) -> None:
    """Words that share rows: of a small rate the sum of the steps of each, whatever the order."""
    w_in, w_out = matrices(rng, 50, np.float64)
    given = rng.integers(0, 6, 40), rng.integers(0, 6, (40, 5)), rng.integers(0, 6, (40, 5))
    rate = 1e-7
    there, here = [put(w_in), put(w_out)], [w_in.copy(), w_out.copy()]
    loss = K.sgns_update(*given, *there, rate, variant=variant)
    expected = K.sgns_update(*given, *here, rate, variant=variant)
    assert abs(loss - expected) < 1e-4
    for got, reference, before in zip(there, here, (w_in, w_out), strict=True):
        steps, right = to_host(got) - before, reference - before
        assert np.linalg.norm(steps - right) < 1e-5 * np.linalg.norm(right)


def test_extremes(put: Put, dtype: Any) -> None:
    """Products far out: no overflow."""
    for variant in VARIANTS:
        w_in, w_out = put(np.full((3, 5), 60, dtype)), put(np.full((4, 5), 60, dtype))
        w_out[1] = -60
        assert K.sgns_update(0, [0], [1], w_in, w_out, LR, variant=variant) == 0
        assert (to_host(w_in) == 60).all()
        loss = K.sgns_update(1, [0], [0], w_in, w_out, LR, variant=variant)
        assert np.isclose(loss, 2 * 5 * 3600, rtol=1e-6)
        assert np.isfinite(to_host(w_in)).all()


def test_rows_on_the_device(put: Put, rng: np.random.Generator) -> None:
    w_in, w_out = matrices(rng, 8, np.float32)
    there = put(w_in), put(w_out)
    loss = K.sgns_update(
        put(np.array([1, 2])), put(np.array([[3], [4]])), put(np.array([[5], [6]])), *there, LR
    )
    assert np.isclose(loss, K.sgns_update([1, 2], [[3], [4]], [[5], [6]], w_in, w_out, LR), rtol=1e-5)


def test_nothing_to_learn_from(put: Put, rng: np.random.Generator) -> None:
    w_in, w_out = matrices(rng, 4, np.float32)
    there = put(w_in), put(w_out)
    none = np.empty(0, np.int64)
    for variant in VARIANTS:
        assert K.sgns_update(0, none, [1, 2], *there, LR, variant=variant) == 0
        assert (
            K.sgns_update(none, np.empty((0, 4), int), np.empty((0, 5), int), *there, LR, variant=variant)
            == 0
        )
        assert K.cbow_update(0, [-1, -1], [1, 2], *there, LR, variant=variant) == 0
        assert K.sghs_update([1, 2], none, none, *there, LR, variant=variant) == 0
    assert (to_host(there[0]) == w_in).all()
    assert (to_host(there[1]) == w_out).all()


def test_errors(put: Put, rng: np.random.Generator) -> None:
    w_in, w_out = (put(w) for w in matrices(rng, 4, np.float32))
    with pytest.raises(
        IndexError, match="sgns_update: contexts has row 60; expected 0 to 59, or -1 for none"
    ):
        K.sgns_update(1, [60], [2], w_in, w_out, LR)
    with pytest.raises(IndexError, match="sgns_update: outputs has row -2; expected 0 to 59"):
        K.sgns_update(1, [2], [-2], w_in, w_out, LR)
    with pytest.raises(TypeError, match=r"sgns_update: w_in is on .* but w_out is on cpu"):
        K.sgns_update(1, [2], [3], w_in, to_host(w_out), LR)
    with pytest.raises(TypeError, match="w_in is float32 but w_out is float64"):
        K.sgns_update(1, [2], [3], w_in, put(np.ones((60, 4))), LR)
    with pytest.raises(TypeError, match="w_in has dtype int64; expected float32 or float64"):
        K.sgns_update(1, [2], [3], put(np.ones((60, 4), int)), w_out, LR)
    with pytest.raises(ValueError, match=r"w_in is \(60, 4\) but w_out is \(60, 3\)"):
        K.sgns_update(1, [2], [3], w_in, put(np.ones((60, 3), np.float32)), LR)
    with pytest.raises(ValueError, match="w_out overlaps w_in"):
        K.sgns_update(1, [2], [3], w_in, w_in, LR)
    with pytest.raises(ValueError, match="w_in is not contiguous"):
        K.sgns_update(1, [2], [3], put(np.ones((60, 8), np.float32))[:, ::2], w_out, LR)
    with pytest.raises(ValueError, match=r"lr is -1\.0; expected 0 or more"):
        K.sgns_update(1, [2], [3], w_in, w_out, -1)
    with pytest.raises(TypeError, match="lr is 'x'; expected a number"):
        K.sgns_update(1, [2], [3], w_in, w_out, "x")
    with pytest.raises(ValueError, match=r"variant is 'matrx'; expected one of naive, matrix \(did you mean"):
        K.sgns_update(1, [2], [3], w_in, w_out, LR, variant="matrx")
    with pytest.raises(ValueError, match="dimensions is 5000; expected at most 4096 on a device"):
        K.sgns_update(
            1, [2], [3], put(np.ones((5, 5000), np.float32)), put(np.ones((5, 5000), np.float32)), LR
        )
    with pytest.raises(
        ValueError, match=r"60 contexts and 2 outputs of 1000 elements; .* or variant='naive'"
    ):
        K.sgns_update(1, np.arange(60), [2], *wide(put, 1000), LR, variant="matrix")
    with pytest.raises(ValueError, match="expected at most 1024 elements"):
        K.sgns_update(1, [1], [2], *wide(put, 1025), LR, variant="matrix")


def wide(put: Put, dim: int) -> tuple[Any, Any]:
    return put(np.full((60, dim), 0.01, np.float32)), put(np.full((60, dim), 0.01, np.float32))


def test_what_matrix_does_not_take_is_naive(put: Put) -> None:
    for contexts, dim in ((np.arange(60), 1000), (np.arange(2), 1500)):
        matrices = wide(put, dim)
        K.sgns_update(1, contexts, [2], *matrices, LR)
        named = wide(put, dim)
        K.sgns_update(1, contexts, [2], *named, LR, variant="naive")
        for got, expected in zip(matrices, named, strict=True):
            assert (to_host(got) == to_host(expected)).all()


def test_variants(put: Put) -> None:
    for operation in ("sgns_update", "cbow_update", "sghs_update", "cbow_hs_update"):
        assert [v.name for v in K.variants(operation, "simt")] == ["naive", "matrix"]


def test_work_of_the_matrix_kernel() -> None:
    """6 dim operations a pair, and an atomic addition for each element of each row, but those of holes."""
    needs("simt")
    from dlkit import _simt
    from dlkit.kernels import simt

    w_in, w_out = simt.ones((20, 128), np.float32), simt.ones((20, 128), np.float32)
    before = _simt.get_mode()
    _simt.set_mode("both")
    _simt.reset_counters()
    try:
        K.sgns_update(1, [2, 3, 4], [5, 6, 7, 8, 9, 10, 11], w_in, w_out, LR)
        (record,) = _simt.counters()
    finally:
        _simt.set_mode(before)
        _simt.reset_counters()
    assert record["kernel"] == "words, matrix"
    pairs, rows = 3 * 8, 3 + 8
    assert record["global_atomic_bytes"] == rows * 128 * 4 + 8  # and the loss
    assert record["global_atomic_sectors"] == rows * 16 + 1
    assert 6 * 128 * pairs <= record["flops"] < 1.3 * 6 * 128 * pairs
    assert record["shared_load_conflicts"] == record["shared_store_conflicts"] == 0
