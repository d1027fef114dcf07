"""The nearest of many vectors: every variant against a sort of all scores in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K

VARIANTS = [variant.name for variant in K.variants("nearest")]


def expected(queries, vectors, scale):
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return scores if scale is None else scores * scale.astype(np.float64)


def check(queries, vectors, k, scale, variant):
    rows, scores = K.nearest(queries, vectors, k, scale=scale, variant=variant)
    exact = expected(queries, vectors, scale)
    bound = 4 * np.finfo(vectors.dtype).eps * vectors.shape[1] * max(1e-30, abs(exact).max())
    assert rows.shape == scores.shape == (len(queries), k)
    assert rows.dtype == np.int64
    assert scores.dtype == vectors.dtype
    best = -np.sort(-exact, axis=1)[:, :k]
    # The scores are those of the rows, and no other rows have larger ones: rows of scores that differ by less than the
    # rounding may change places.
    np.testing.assert_allclose(scores, np.take_along_axis(exact, rows, 1), rtol=0, atol=bound)
    np.testing.assert_allclose(scores, best, rtol=0, atol=bound)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(each)) == k for each in rows.tolist())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    ("queries", "rows", "dim", "k"),
    [(1, 1, 1, 1), (3, 5, 2, 5), (7, 511, 17, 10), (5, 513, 33, 1), (2, 1100, 3, 700), (40, 2049, 50, 3)],
)
def test_against_float64(variant, scaled, queries, rows, dim, k, dtype, threads, rng):
    vectors = rng.standard_normal((rows, dim)).astype(dtype)
    scale = rng.uniform(0.5, 2, rows).astype(dtype) if scaled else None
    check(rng.standard_normal((queries, dim)).astype(dtype), vectors, k, scale, variant)


def test_more_queries_than_are_taken_at_a_time(rng, threads):
    vectors = rng.standard_normal((600, 4), dtype=np.float32)
    check(rng.standard_normal((2100, 4), dtype=np.float32), vectors, 3, None, "blocks")


@pytest.mark.parametrize("order", [1, -1])
def test_rows_in_the_order_of_their_scores(order, rng, threads):
    # Every row is better than all before, or none is: the candidates' room fills all the time, or never.
    vectors = np.sort(rng.standard_normal((5000, 1), dtype=np.float32), axis=0)[::order]
    rows, _ = K.nearest(np.ones((1, 1), np.float32), vectors, 4)
    np.testing.assert_array_equal(rows[0], [4999, 4998, 4997, 4996] if order == 1 else [0, 1, 2, 3])


@pytest.mark.parametrize("variant", VARIANTS)
def test_of_equal_scores_the_first(variant, threads, rng):
    vectors = rng.integers(0, 3, (3000, 1)).astype(np.float32)
    rows, _ = K.nearest(np.ones((2, 1), np.float32), vectors, 900, variant=variant)
    np.testing.assert_array_equal(rows[0], np.lexsort((np.arange(3000), -vectors[:, 0]))[:900])


def test_the_same_bits_for_any_number_of_threads(rng):
    vectors, queries = (
        rng.standard_normal((4000, 30), dtype=np.float32),
        rng.standard_normal((9, 30), dtype=np.float32),
    )
    before = K.get_num_threads()
    results = []
    for count in (1, 2, 3):
        K.set_num_threads(count)
        results.append(K.nearest(queries, vectors, 20))
    K.set_num_threads(before)
    for rows, scores in results[1:]:
        np.testing.assert_array_equal(rows, results[0][0])
        np.testing.assert_array_equal(scores, results[0][1])


def test_slices_are_taken_as_they_are(rng):
    wide = rng.standard_normal((700, 48), dtype=np.float32)
    queries = rng.standard_normal((9, 40), dtype=np.float32)
    for vectors in (wide[:, 5:25], wide[::-1, :20], wide[::3, :20], np.asfortranarray(wide[:, :20])):
        for asked in (queries[:, ::2], queries[::-1, :20], np.asfortranarray(queries[:, :20])):
            check(asked, vectors, 5, None, "blocks")


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_not_finite_is_no_candidate(variant, rng):
    vectors = rng.standard_normal((300, 5), dtype=np.float32)
    vectors[::7, 2] = np.nan
    vectors[5, :] = -np.inf
    vectors[6, :] = np.inf
    queries = np.ones((1, 5), np.float32)
    rows, scores = K.nearest(queries, vectors, 300, variant=variant)
    with np.errstate(invalid="ignore"):
        exact = vectors.sum(axis=1)
    count = int((exact > -np.inf).sum())
    assert sorted(rows[0, :count].tolist()) == np.flatnonzero(exact > -np.inf).tolist()
    assert rows[0, 0] == 6
    assert scores[0, 0] == np.inf
    assert (rows[0, count:] == -1).all()
    assert (scores[0, count:] == -np.inf).all()


@given(st.data())
def test_any_shape(data):
    rows = data.draw(st.integers(1, 700))
    k = data.draw(st.integers(1, rows))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = rng.standard_normal((rows, data.draw(st.integers(1, 40)))).astype(np.float32)
    queries = rng.standard_normal((data.draw(st.integers(1, 5)), vectors.shape[1])).astype(np.float32)
    check(queries, vectors, k, None, None)


def test_no_queries_and_one(rng):
    vectors = rng.standard_normal((6, 3), dtype=np.float32)
    rows, scores = K.nearest(np.empty((0, 3), np.float32), vectors, 2)
    assert rows.shape == scores.shape == (0, 2)
    rows, scores = K.nearest(vectors[4], vectors, 2)
    assert rows.shape == (2,)


def test_within_bounds(fenced, rng):
    for at_end in (False, True):
        vectors = fenced[0].array(rng.standard_normal((1031, 7)).astype(np.float32), at_end)
        queries = fenced[1].array(rng.standard_normal((3, 7)).astype(np.float32), at_end)
        scale = fenced[2].array(rng.uniform(1, 2, 1031).astype(np.float32), at_end)
        check(queries, vectors, 9, scale, None)


@pytest.mark.parametrize(
    ("queries", "vectors", "k", "options", "error", "text"),
    [
        (np.ones((2, 3)), np.ones((4, 2)), 1, {}, ValueError, "as many columns"),
        (np.ones((2, 3)), np.ones((4, 3)), 5, {}, ValueError, "k is 5; expected 1 to 4"),
        (np.ones((2, 3)), np.ones((4, 3)), 0, {}, ValueError, "k is 0"),
        (np.ones((2, 3)), np.ones((0, 3)), 1, {}, ValueError, "k is 1; expected 1 to 0"),
        (np.ones((2, 3)), np.ones((4, 3)), 1 << 70, {}, ValueError, "expected 1 to the number"),
        (np.ones((2, 3)), np.ones((4, 3)), 1.0, {}, TypeError, "expected an integer"),
        (np.ones((2, 3)), np.ones((4, 3), np.float32), 1, {}, TypeError, "float32"),
        (np.ones((2, 3), int), np.ones((4, 3)), 1, {}, TypeError, "queries"),
        (np.ones((2, 3, 1)), np.ones((4, 3)), 1, {}, ValueError, "queries is"),
        (np.ones((2, 3)), np.ones(3), 1, {}, ValueError, "vectors is"),
        (np.ones((2, 3)), np.ones((4, 3)), 1, {"scale": np.ones(3)}, ValueError, "scale is"),
        (np.ones((2, 3)), np.ones((4, 3)), 1, {"variant": "block"}, ValueError, "did you mean 'blocks'"),
    ],
)
def test_errors(queries, vectors, k, options, error, text):
    with pytest.raises(error, match=text):
        K.nearest(queries, vectors, k, **options)
