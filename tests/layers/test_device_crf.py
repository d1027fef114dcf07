"""The CUDA kernels of conditional random fields against the CPU in float64: on the SIMT machine, and on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from crf_cases import ERRORS, problem, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tested_backends import needs

import dlkit as dl
from dlkit import kernels, nn
from dlkit.kernels.backend import backend_named, resolve_device, to_host

Put = Any


@pytest.fixture(params=["simt", "cuda"])
def put(request: pytest.FixtureRequest) -> Put:
    """What copies an array to a device, with the device's name."""
    needs(request.param)
    return putter(request.param)


def putter(name: str) -> Put:
    backend, device = backend_named(name), resolve_device(name, "test")
    return lambda array: backend.from_host(array, device)


def check(
    put: Put, lengths: list[int], tags: int, dtype: Any, scale: float, seed: int, borders: bool = True
) -> None:
    emissions, path, sizes, model = problem(lengths, tags, dtype, scale, seed)
    model = model if borders else [model[0], None, None]
    weights = np.random.default_rng(seed).normal(size=sizes[0]).astype(dtype)
    exact = [None if a is None else a.astype(np.float64) for a in (emissions, *model, weights)]
    there = [None if a is None else put(a) for a in (emissions, *model, weights)]
    tolerance = (3e-6 if dtype is np.float32 else 1e-13) * max(scale, 1)
    for labels in (path, None):
        expected = kernels.crf_loss_and_gradients(
            exact[0], labels, sizes, *exact[1:4], weights=exact[4], variant="naive"
        )
        found = kernels.crf_loss_and_gradients(there[0], labels, sizes, *there[1:4], weights=there[4])
        for a, b in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
            assert a.shape == b.shape
            assert np.linalg.norm(to_host(a) - b) <= tolerance * max(np.linalg.norm(b), 10)
        alone = kernels.crf_loss(there[0], labels, sizes, *there[1:4])
        np.testing.assert_array_equal(to_host(alone), to_host(found[0]))
    best, scores = kernels.crf_decode(there[0], sizes, *there[1:4])
    expected_best, expected_scores = kernels.crf_decode(emissions, sizes, *model, variant="naive")
    np.testing.assert_array_equal(to_host(best), expected_best)
    np.testing.assert_array_equal(to_host(scores), expected_scores)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tags", [1, 2, 7, 8, 17, 33])
def test_against_the_definition(put: Put, tags: int, dtype: Any) -> None:
    check(put, [6, 5, 5, 1], tags, dtype, 2.0, seed=tags)


@pytest.mark.parametrize("tags", [130, 300])
def test_tables_that_shared_memory_does_not_hold(put: Put, tags: int) -> None:
    check(put, [3, 1], tags, np.float32, 1.0, seed=1)


@settings(max_examples=10)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    tags=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
    scale=st.sampled_from([0.1, 1.0, 20.0]),
    borders=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_shape(lengths: list[int], tags: int, dtype: Any, scale: float, borders: bool, seed: int) -> None:
    needs("simt")
    check(putter("simt"), lengths, tags, dtype, scale, seed, borders)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [30.0, 300.0, 1e4])
def test_scores_far_apart(put: Put, dtype: Any, scale: float) -> None:
    check(put, [6, 6, 5, 2, 1], 3, dtype, scale, seed=3)


def test_many_sequences_share_blocks_and_sums(simt: Any) -> None:
    """With so many tags there are fewer blocks than sequences."""
    rng = np.random.default_rng(0)
    emissions = rng.normal(size=(3, 730)).astype(np.float32)
    model = [rng.normal(size=s).astype(np.float32) for s in ((730, 730), 730, 730)]
    put, path = putter("simt"), np.array([3, 729, 7])
    expected, grads = kernels.crf_loss_and_gradients(emissions, path, [3], *model)
    found, of_device = kernels.crf_loss_and_gradients(put(emissions), path, [3], *map(put, model))
    np.testing.assert_allclose(to_host(found), expected, rtol=1e-5)
    for a, b in zip(of_device, grads, strict=True):
        np.testing.assert_allclose(to_host(a), b, rtol=1e-4, atol=1e-6)


def test_forbidden_transitions(put: Put) -> None:
    emissions, path, sizes, model = problem([6, 4], 3, np.float32, seed=5)
    model[0][0, 1] = -np.inf  # 1 never follows 0
    there = [put(a) for a in (emissions, *model)]
    best = to_host(kernels.crf_decode(there[0], sizes, *there[1:])[0])
    np.testing.assert_array_equal(best, kernels.crf_decode(emissions, sizes, *model)[0])
    _, found = kernels.crf_loss_and_gradients(there[0], None, sizes, *there[1:])
    assert to_host(found.transitions)[0, 1] == 0
    assert np.isfinite(to_host(found.emissions)).all()
    path[:] = 2
    assert np.isfinite(to_host(kernels.crf_loss(there[0], path, sizes, *there[1:]))).all()


def test_not_a_number_stays_one_and_no_tag_gives_one(put: Put) -> None:
    emissions, path, sizes, model = problem([4, 3], 3, np.float32)
    bad = path.copy()
    bad[rows_of(sizes, 1)[1]] = 3
    there = [put(a) for a in (emissions, *model)]
    for x, labels in ((there[0], put(bad)), (emissions.copy(), path)):
        if x is not there[0]:
            x[rows_of(sizes, 1)[1], 2] = np.nan
            x = put(x)
        losses = to_host(kernels.crf_loss(x, labels, sizes, *there[1:]))
        assert np.isfinite(losses[0])
        assert np.isnan(losses[1])


def test_same_bits_every_time(put: Put) -> None:
    emissions, path, sizes, model = problem([9, 7, 4, 4, 2], 9, np.float32)
    there = [put(a) for a in (emissions, *model)]
    runs = [kernels.crf_loss_and_gradients(there[0], path, sizes, *there[1:]) for _ in range(2)]
    for a, b in zip((runs[0][0], *runs[0][1]), (runs[1][0], *runs[1][1]), strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))


@pytest.mark.parametrize(("change", "error", "text"), ERRORS)
def test_errors_are_those_of_the_cpu(
    simt: Any, change: dict[str, Any], error: type[Exception], text: str
) -> None:
    put = putter("simt")
    given: dict[str, Any] = {
        "emissions": np.zeros((6, 3)),
        "tags": np.zeros(6, np.int64),
        "batch_sizes": [2, 2, 2],
        "transitions": np.zeros((3, 3)),
    }
    given.update(change)
    there = {n: put(v) if isinstance(v, np.ndarray) and n != "tags" else v for n, v in given.items()}
    with pytest.raises(error, match=text.replace("naive, fused", "fused")):
        kernels.crf_loss(**there)


def test_work_is_that_of_the_algorithm(simt: Any) -> None:
    """Three exponentials for each pair of tags and row; no table is read from global memory in a step."""
    from dlkit import _simt

    emissions, path, sizes, model = problem([12] * 4, 40, np.float32)
    put = putter("simt")
    there = [put(a) for a in (emissions, *model)]
    before = _simt.get_mode()
    _simt.set_mode("both")
    _simt.reset_counters()
    try:
        kernels.crf_loss_and_gradients(there[0], path, sizes, *there[1:])
        counts = {launch["kernel"]: launch for launch in _simt.counters()}
    finally:
        _simt.set_mode(before)
        _simt.reset_counters()
    pairs = emissions.size * 40
    found = counts["crf loss"]
    assert 2.75 * pairs < found["special"] < 3.5 * pairs
    assert found["flops"] < 30 * pairs
    assert found["global_store_bytes"] < 3 * 4 * emissions.size + 4 * 4 * (40 * 40 + 80) * 2 + 1000
    assert set(counts) == {"crf loss", "column sum"}


def test_arrays_of_two_devices(simt: Any) -> None:
    emissions, path, sizes, model = problem([3, 2], 3, np.float32)
    put = putter("simt")
    with pytest.raises(TypeError, match="emissions is on simt but transitions is on cpu"):
        kernels.crf_loss(put(emissions), path, sizes, model[0])
    with pytest.raises(TypeError, match="transitions is on simt"):
        kernels.crf_decode(emissions, sizes, put(model[0]))
    with pytest.raises(TypeError, match="emissions is on simt but weights is on cpu"):
        kernels.crf_loss_and_gradients(
            put(emissions), path, sizes, put(model[0]), weights=np.ones(2, np.float32)
        )


def test_the_layer(device: Any) -> None:
    """Loss, gradients, tags and marginals of `nn.CRF`, padded and packed."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 3, 4)).astype(np.float32)
    tags = rng.integers(0, 4, (5, 3))
    results = []
    for name in ("cpu", device.name):
        dl.manual_seed(0)
        crf = nn.CRF(4, reduction="token_mean").to(name)
        x = dl.tensor(values).to(name).requires_grad_()
        loss = crf(x, tags, [3, 5, 1])
        (2 * loss).backward()
        each = nn.functional.crf_loss(
            *(x.reshape(15, 4), tags.reshape(-1), [3] * 5, crf.transitions, None, None, "none")
        )
        decoded = [to_host(a) for a in crf.decode(x, [3, 5, 1])]
        marginals = [to_host(a) for a in crf.marginals(x, [3, 5, 1])]
        arrays = [loss.data, x.grad.data, crf.transitions.grad.data, crf.end_transitions.grad.data, each.data]
        results.append([*map(to_host, arrays), *decoded, *marginals])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
