"""Conditional random fields against all paths, finite differences and pytorch-crf."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from crf_cases import ERRORS, problem, rows_of

import dlkit as dl
from dlkit import kernels

VARIANTS = ("naive", "fused")
DTYPES = (np.float32, np.float64)


def all_paths(emissions: Any, model: Any) -> tuple[list[tuple[int, ...]], Any]:
    """Every path of one sequence, and its score, in float64."""
    transitions, start, end = (m.astype(np.float64) for m in model)
    steps, tags = emissions.shape
    paths = list(itertools.product(range(tags), repeat=steps))
    scores = []
    for path in paths:
        score = start[path[0]] + end[path[-1]] + sum(float(emissions[t, y]) for t, y in enumerate(path))
        scores.append(score + sum(transitions[a, b] for a, b in itertools.pairwise(path)))
    return paths, np.array(scores)


def log_sum(scores: Any) -> float:
    return float(scores.max() + np.log(np.exp(scores - scores.max()).sum()))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tags", [1, 2, 3, 5])
def test_against_all_paths(variant: str, dtype: Any, tags: int) -> None:
    emissions, path, sizes, model = problem([4, 4, 3, 1], tags, dtype, seed=tags)
    losses, found = kernels.crf_loss_and_gradients(emissions, path, sizes, *model, variant=variant)
    _, marginals = kernels.crf_loss_and_gradients(emissions, None, sizes, *model, variant=variant)
    best, scores = kernels.crf_decode(emissions, sizes, *model, variant=variant)
    tolerance = 2e-6 if dtype is np.float32 else 1e-13
    for sequence in range(sizes[0]):
        rows = rows_of(sizes, sequence)
        paths, each = all_paths(emissions[rows].astype(np.float64), model)
        log_z = log_sum(each)
        mine = each[paths.index(tuple(path[rows]))]
        assert losses[sequence] == pytest.approx(log_z - mine, rel=tolerance, abs=10 * tolerance)
        share = np.exp(each - log_z)
        expected = np.zeros((len(rows), tags))
        for p, probability in zip(paths, share, strict=True):
            expected[np.arange(len(rows)), p] += probability
        np.testing.assert_allclose(marginals.emissions[rows], expected, atol=10 * tolerance)
        assert tuple(best[rows]) == paths[int(each.argmax())]
        assert scores[sequence] == pytest.approx(each.max(), rel=tolerance, abs=10 * tolerance)
    hit = np.zeros_like(emissions)
    hit[np.arange(len(path)), path] = 1
    np.testing.assert_allclose(found.emissions, marginals.emissions - hit, atol=10 * tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_by_finite_differences(variant: str) -> None:
    emissions, path, sizes, model = problem([5, 3, 3, 2, 1], 4)
    weights = np.random.default_rng(1).normal(size=5)

    def loss() -> float:
        return float(weights @ kernels.crf_loss(emissions, path, sizes, *model, variant="naive"))

    _, found = kernels.crf_loss_and_gradients(
        emissions, path, sizes, *model, weights=weights, variant=variant
    )
    for array, gradient in zip((emissions, *model), found, strict=True):
        expected = np.empty_like(array)
        for at in np.ndindex(array.shape):
            kept = array[at]
            array[at] = kept + 1e-5
            above = loss()
            array[at] = kept - 1e-5
            expected[at] = (above - loss()) / 2e-5
            array[at] = kept
        np.testing.assert_allclose(gradient, expected, atol=2e-9)


@pytest.mark.parametrize("tags", [1, 2, 7, 8, 16, 17, 31, 33, 64, 70])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fused_against_naive(tags: int, dtype: Any) -> None:
    rng = np.random.default_rng(tags)
    lengths = sorted(rng.integers(1, 30, 13).tolist(), reverse=True)
    emissions, path, sizes, model = problem(lengths, tags, dtype, scale=2.0, seed=tags)
    exact = [a.astype(np.float64) for a in (emissions, *model)]
    losses, found = kernels.crf_loss_and_gradients(exact[0], path, sizes, *exact[1:], variant="naive")
    mine, gradients = kernels.crf_loss_and_gradients(emissions, path, sizes, *model, variant="fused")
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    assert np.linalg.norm(mine - losses) <= tolerance * max(np.linalg.norm(losses), 10)
    for a, b in zip(gradients, found, strict=True):
        assert np.linalg.norm(a - b) <= tolerance * max(np.linalg.norm(b), 10)
    for a, b in zip(
        kernels.crf_decode(emissions, sizes, *model, variant="fused"),
        kernels.crf_decode(emissions, sizes, *model, variant="naive"),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [30.0, 300.0, 1e4])
def test_scores_far_apart(dtype: Any, scale: float) -> None:
    """Shares below what the type holds as probabilities are not lost."""
    emissions, path, sizes, model = problem([6, 6, 5, 2, 1], 3, dtype, scale=scale, seed=3)
    losses, found = kernels.crf_loss_and_gradients(emissions, path, sizes, *model)
    _, marginals = kernels.crf_loss_and_gradients(emissions, None, sizes, *model)
    tolerance = 1e-6 if dtype is np.float32 else 1e-12
    for sequence in range(sizes[0]):
        rows = rows_of(sizes, sequence)
        paths, each = all_paths(emissions[rows].astype(np.float64), model)
        expected = log_sum(each) - each[paths.index(tuple(path[rows]))]
        assert losses[sequence] == pytest.approx(expected, rel=tolerance, abs=tolerance * scale)
    assert all(np.isfinite(g).all() for g in found)
    np.testing.assert_allclose(marginals.emissions.sum(axis=1), 1, atol=1e-4 if dtype is np.float32 else 1e-9)


def test_forbidden_transitions() -> None:
    emissions, path, sizes, model = problem([6, 4], 3, np.float32, seed=5)
    model[0][0, 1] = -np.inf  # 1 never follows 0
    best, _ = kernels.crf_decode(emissions, sizes, *model)
    _, found = kernels.crf_loss_and_gradients(emissions, None, sizes, *model)
    assert found.transitions[0, 1] == 0
    for sequence in range(2):
        tags = best[rows_of(sizes, sequence)]
        assert not ((tags[:-1] == 0) & (tags[1:] == 1)).any()
    assert np.isfinite(found.emissions).all()
    path[:] = 2
    assert np.isfinite(kernels.crf_loss(emissions, path, sizes, *model)).all()


def test_not_a_number_stays_one() -> None:
    emissions, path, sizes, model = problem([4, 3], 3, np.float32)
    emissions[rows_of(sizes, 1)[1], 2] = np.nan
    losses = kernels.crf_loss(emissions, path, sizes, *model)
    assert np.isfinite(losses[0])
    assert np.isnan(losses[1])


def test_start_and_end_default_to_zero() -> None:
    emissions, path, sizes, model = problem([5, 2], 4)
    zeros = np.zeros(4)
    given = kernels.crf_loss(emissions, path, sizes, model[0], zeros, zeros)
    np.testing.assert_array_equal(kernels.crf_loss(emissions, path, sizes, model[0]), given)


@pytest.mark.parametrize("batch", [1, 9, 300])
def test_threads_give_the_same_bits(batch: int) -> None:
    rng = np.random.default_rng(0)
    emissions, path, sizes, model = problem(rng.integers(1, 12, batch).tolist(), 9, np.float32)
    before = dl.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            dl.set_num_threads(threads)
            losses, found = kernels.crf_loss_and_gradients(emissions, path, sizes, *model)
            results.append([losses, *found, *kernels.crf_decode(emissions, sizes, *model)])
    finally:
        dl.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert a.tobytes() == b.tobytes()


def test_strides_and_integers_of_any_kind() -> None:
    emissions, path, sizes, model = problem([5, 4, 1], 4)
    expected = kernels.crf_loss(emissions, path, sizes, *model)
    wide = np.zeros((len(emissions), 8))
    wide[:, ::2] = emissions
    found = kernels.crf_loss(
        wide[:, ::2], path.astype(np.uint8), np.array(sizes), np.asfortranarray(model[0]), *model[1:]
    )
    np.testing.assert_array_equal(found, expected)


def test_long_sequence() -> None:
    """Longer than a thread's own memory holds."""
    emissions, path, sizes, model = problem([20000], 5, np.float32)
    loss = kernels.crf_loss(emissions, path, sizes, *model)
    exact = kernels.crf_loss(
        *(a.astype(np.float64) for a in (emissions,)), path, sizes, *(m.astype(np.float64) for m in model)
    )
    assert loss[0] == pytest.approx(exact[0], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    ERRORS,
)
def test_errors(change: dict[str, Any], error: type[Exception], text: str) -> None:
    given: dict[str, Any] = {
        "emissions": np.zeros((6, 3)),
        "tags": np.zeros(6, np.int64),
        "batch_sizes": [2, 2, 2],
        "transitions": np.zeros((3, 3)),
    }
    given.update(change)
    with pytest.raises(error, match=text):
        kernels.crf_loss(**given)
    if "tags" in change:
        return
    given.pop("tags")
    with pytest.raises(error, match=text):
        kernels.crf_decode(**given)


def test_weights_are_one_for_each_sequence() -> None:
    emissions, path, sizes, model = problem([3, 2], 3)
    with pytest.raises(ValueError, match=r"weights is \(3,\); expected \(2,\)"):
        kernels.crf_loss_and_gradients(emissions, path, sizes, *model, weights=np.ones(3))


def test_against_pytorch_crf(torch: Any) -> None:
    torchcrf = pytest.importorskip("torchcrf", reason="pytorch-crf is not installed")
    rng = np.random.default_rng(7)
    for tags, lengths in ((2, [3]), (5, [7, 4, 1]), (17, [25, 25, 13, 2])):
        emissions, path, sizes, model = problem(lengths, tags, np.float64, seed=int(rng.integers(99)))
        batch, steps = sizes[0], len(sizes)
        padded = np.zeros((steps, batch, tags))
        labels = np.zeros((steps, batch), np.int64)
        mask = np.zeros((steps, batch), bool)
        for sequence in range(batch):
            rows = rows_of(sizes, sequence)
            padded[: len(rows), sequence] = emissions[rows]
            labels[: len(rows), sequence] = path[rows]
            mask[: len(rows), sequence] = True
        peer = torchcrf.CRF(tags).double()
        with torch.no_grad():
            for parameter, value in zip(
                (peer.transitions, peer.start_transitions, peer.end_transitions), model, strict=True
            ):
                parameter.copy_(torch.from_numpy(value))
        scores = torch.from_numpy(padded).requires_grad_()
        likelihood = peer(scores, torch.from_numpy(labels), torch.from_numpy(mask), reduction="none")
        (-likelihood.sum()).backward()
        losses, found = kernels.crf_loss_and_gradients(emissions, path, sizes, *model)
        np.testing.assert_allclose(losses, -likelihood.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.emissions, scores.grad.numpy()[mask], atol=1e-12)
        np.testing.assert_allclose(found.transitions, peer.transitions.grad.numpy(), atol=1e-11)
        np.testing.assert_allclose(found.start, peer.start_transitions.grad.numpy(), atol=1e-12)
        np.testing.assert_allclose(found.end, peer.end_transitions.grad.numpy(), atol=1e-12)
        best, _ = kernels.crf_decode(emissions, sizes, *model)
        for sequence, tags_of in enumerate(peer.decode(scores, torch.from_numpy(mask))):
            assert best[rows_of(sizes, sequence)].tolist() == tags_of
