"""csrc/word2vec: the engine against the same algorithm in Python, and what it looks up."""

from __future__ import annotations

import heapq
from itertools import count
from typing import Any

import numpy as np
import pytest
from word2vec_cases import PIECE, Case, aligned

import dlkit.kernels as K
from dlkit import _cpu

VARIANTS = [v.name for v in K.variants("sgns_update")]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("skip_gram", [True, False], ids=["sg", "cbow"])
@pytest.mark.parametrize("hierarchical", [False, True], ids=["ns", "hs"])
def test_it_does_what_the_definition_does(
    variant: str, skip_gram: bool, hierarchical: bool, rng: np.random.Generator
) -> None:
    case = Case(
        rng,
        tokens=3000,
        variant=variant,
        skip_gram=skip_gram,
        hierarchical=hierarchical,
        negatives=0 if hierarchical else 5,
    )
    engine = case.engine()
    for got, expected in zip(case.run(engine), case.expected(engine), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)
    assert np.abs(case.run(engine)[0] - case.w_in).max() > 0.05  # it has learned something
    words, kept, loss, pairs = engine.progress()
    assert words == 2 * case.words
    assert 0.3 * words < kept < 0.95 * words
    assert pairs > 0
    assert 0 < loss / pairs < 10


@pytest.mark.parametrize(
    "settings",
    [
        {"sample": 0},
        {"shrink": False},
        {"window": 1},
        {"window": 40},
        {"negatives": 1},
        {"negatives": 20},
        {"skip_gram": False, "mean": False, "divide": True},
        {"skip_gram": False, "divide": True},
    ],
    ids=str,
)
def test_settings(settings: dict[str, Any], rng: np.random.Generator) -> None:
    case = Case(rng, tokens=2000, **settings)
    engine = case.engine()
    for got, expected in zip(case.run(engine, epoch=1), case.expected(engine, epoch=1), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_pieces_begin_with_sentences(rng: np.random.Generator) -> None:
    """A text of several pieces: each sentence is taken once, and one worker is like the definition."""
    case = Case(rng, tokens=2 * PIECE + 500, negatives=2, window=1)
    engine = case.engine()
    got = case.run(engine)
    assert engine.progress()[0] == case.words
    for one, expected in zip(got, case.expected(engine), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_one_sentence_over_several_pieces(rng: np.random.Generator) -> None:
    case = Case(rng, tokens=2 * PIECE)
    case.text = np.append(case.text[case.text >= 0], np.int32(-1))
    engine = case.engine()
    case.run(engine)
    assert engine.progress()[0] == case.words


def test_several_workers_take_every_sentence_once(rng: np.random.Generator) -> None:
    case = Case(rng, tokens=5 * PIECE)
    losses = []
    for workers in (1, 2):
        engine = case.engine()
        case.run(engine, workers=workers)
        words, _, loss, pairs = engine.progress()
        assert words == case.words
        losses.append(loss / pairs)
    # Lost steps and another order change little, even with so few words.
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)


def test_the_same_seed_gives_the_same_bits(rng: np.random.Generator) -> None:
    case = Case(rng, tokens=5000)
    first, second = case.run(case.engine()), case.run(case.engine())
    for one, other in zip(first, second, strict=True):
        assert (one == other).all()
    case.settings["seed"] = 8
    assert (case.run(case.engine())[0] != first[0]).any()


@pytest.mark.parametrize("shared", [2, 3])
@pytest.mark.parametrize("skip_gram", [True, False], ids=["sg", "cbow"])
def test_negatives_of_words_in_succession(skip_gram: bool, shared: int, rng: np.random.Generator) -> None:
    case = Case(rng, tokens=3000, skip_gram=skip_gram)
    engine = case.engine(shared_negatives=shared)
    got = case.run(engine)
    for one, expected in zip(got, case.expected(engine, shared=shared), strict=True):
        np.testing.assert_allclose(one, expected, atol=2e-5)
    assert (got[0] != case.run(case.engine())[0]).any()
    with pytest.raises(ValueError, match="out of its bounds"):
        case.engine(shared_negatives=0)


@pytest.mark.parametrize("skip_gram", [True, False], ids=["sg", "cbow"])
@pytest.mark.parametrize("hierarchical", [False, True], ids=["ns", "hs"])
@pytest.mark.parametrize(
    "rungs", [{"prefetch": False}, {"reuse_window": True}, {"hot_rows": 7}, {"hot_rows": 10_000}], ids=str
)
def test_rungs_of_the_engine_give_the_same_bits(
    rungs: dict[str, Any], hierarchical: bool, skip_gram: bool, rng: np.random.Generator
) -> None:
    """One worker computes the same, wherever its rows are; words that are in a window twice are, too."""
    case = Case(rng, words=20, tokens=5000, skip_gram=skip_gram, hierarchical=hierarchical, sample=0)
    for one, other in zip(case.run(case.engine()), case.run(case.engine(**rungs)), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize(
    "rungs", [{"hot_rows": 7}, {"hot_rows": 10_000}, {"reuse_window": True, "hot_rows": 9}]
)
def test_hot_rows_of_several_workers_lose_no_step(rungs: dict[str, Any], rng: np.random.Generator) -> None:
    """Where rows hardly change, their steps are the same in any order, and their sum is that of one worker."""
    case = Case(rng, words=30, tokens=6 * PIECE, hierarchical=True)
    case.w_out[...] = 0
    rows = slice(0, rungs["hot_rows"]), slice(-min(rungs["hot_rows"], 29), None)
    slow = (1e-6, 1e-6)
    _, words, nodes = case.run(case.engine(), rates=slow)
    for workers in (2, 3):
        _, own_words, own_nodes = case.run(case.engine(**rungs), workers=workers, rates=slow)
        for got, expected, hot in ((own_words, words, rows[0]), (own_nodes, nodes, rows[1])):
            error = np.linalg.norm(got[hot] - expected[hot]) / np.linalg.norm(expected[hot])
            assert error < 0.01


def test_noise(rng: np.random.Generator) -> None:
    """Drawn words are distributed as the counts to the power of 3/4."""
    case = Case(rng)
    drawn = np.array(case.engine().draw(rng.integers(0, 2**64, 400_000, dtype=np.uint64).tolist()))
    expected = np.array(case.counts, float) ** 0.75
    expected *= len(drawn) / expected.sum()
    found = np.bincount(drawn, minlength=len(expected))
    deviations = (found - expected) / np.sqrt(expected)
    assert np.abs(deviations).max() < 5
    assert (deviations**2).mean() < 2


def test_huffman() -> None:
    """Codes are prefix codes as short as those of the textbook's algorithm, and paths say where they turn."""
    counts = [50, 20, 20, 10, 7, 5, 5, 3, 2, 1, 1, 1]
    engine = _cpu.Word2VecEngine(counts, True, True, False, 0, True, 5, True, 16, 1, 0.0, 0.75, None)
    paths = [engine.path(word) for word in range(len(counts))]
    length = sum(n * len(codes) for n, (_, codes) in zip(counts, paths, strict=True))
    order = count()
    heap = [(n, next(order), 0) for n in counts]
    heapq.heapify(heap)
    best = 0
    while len(heap) > 1:
        both = heapq.heappop(heap)[0] + heapq.heappop(heap)[0]
        best += both
        heapq.heappush(heap, (both, next(order), 0))
    assert length == best
    codes = ["".join(map(str, code)) for _, code in paths]
    assert not any(one != other and other.startswith(one) for one in codes for other in codes)
    prefix: dict[int, str] = {}
    for nodes, code in paths:
        assert nodes[0] == len(counts) - 2  # the root
        for i, node in enumerate(nodes):
            assert prefix.setdefault(node, "".join(map(str, code[:i]))) == "".join(map(str, code[:i]))


def test_a_word_alone(rng: np.random.Generator) -> None:
    engine = _cpu.Word2VecEngine([3], True, True, False, 2, True, 5, True, 16, 1, 0.0, 0.75, None)
    w_in, w_out = aligned(1, 16), aligned(1, 16)
    w_in[...] = 1
    assert engine.path(0) == ([], [])
    assert engine.train(np.array([0, 0, -1], np.int32), w_in, w_out, None, 0, 0.1, 0.1, 2, 0, 2, 1)
    assert (w_out > 0).all()


def test_stop(rng: np.random.Generator) -> None:
    case = Case(rng)
    engine = case.engine()
    engine.stop()
    n = case.words
    assert not engine.train(case.text, case.w_in, case.w_out, case.w_nodes, 0, 0.05, 0.01, n, 0, n, 1)
    assert engine.progress()[0] == 0


def test_errors(rng: np.random.Generator) -> None:
    case = Case(rng)
    engine = case.engine()
    arguments = (0, 0.05, 0.01, 10, 0, 10, 1)
    with pytest.raises(IndexError, match="tokens has word 60"):
        engine.train(np.array([60], np.int32), case.w_in, case.w_out, None, *arguments)
    with pytest.raises(ValueError, match="a matrix is missing"):
        engine.train(case.text, case.w_in, None, None, *arguments)
    with pytest.raises(ValueError, match=r"w_in is \(60, 11\); expected \(60, 16\)"):
        engine.train(case.text, case.w_in[:, :11].copy(), case.w_out, None, *arguments)
    with pytest.raises(ValueError, match="workers is 0; expected 1 or more"):
        engine.train(case.text, case.w_in, case.w_out, None, *arguments[:-1], 0)
    with pytest.raises(ValueError, match=r"first is 3; expected 0 to 2, the pieces of the text"):
        engine.train(case.text, case.w_in, case.w_out, None, *arguments, 3)
    with pytest.raises(ValueError, match="a setting is out of its bounds"):
        case.engine(hot_rows=-1)
    with pytest.raises(ValueError, match="there are no words"):
        _cpu.Word2VecEngine([], True, True, False, 5, False, 5, True, 16, 1, 0.0, 0.75, None)
    with pytest.raises(ValueError, match="counts do not fall"):
        _cpu.Word2VecEngine([1, 2], True, True, False, 5, False, 5, True, 16, 1, 0.0, 0.75, None)
