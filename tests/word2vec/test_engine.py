"""csrc/word2vec: the engine against the same algorithm in Python, and what it looks up."""

from __future__ import annotations

import heapq
from itertools import count
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K
from dlkit import _cpu

VARIANTS = [v.name for v in K.variants("sgns_update")]
PIECE, AHEAD = 16384, 2
ALL = (1 << 64) - 1


def aligned(rows: int, dim: int) -> Any:
    memory = np.zeros(rows * dim + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + rows * dim].reshape(rows, dim)


class SplitMix:
    """The generator of train.cpp."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def bits(self) -> int:
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & ALL
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & ALL
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & ALL
        return z ^ z >> 31


def mixed(a: int, b: int) -> int:
    return SplitMix(a ^ (b * 0xD1342543DE82EF95) & ALL).bits()


class Case:
    """A text, settings and matrices; runs the engine, and the algorithm as this page has it."""

    def __init__(
        self, rng: np.random.Generator, *, words: int = 60, tokens: int = 20000, **settings: Any
    ) -> None:
        self.settings = {
            "skip_gram": True,
            "mean": True,
            "divide": False,
            "negatives": 5,
            "hierarchical": False,
            "window": 4,
            "shrink": True,
            "seed": 7,
            "sample": 1e-2,
            "variant": None,
            **settings,
        }
        text = np.minimum(rng.zipf(1.4, tokens) - 1, words - 1).astype(np.int32)
        text[:words] = np.arange(words)
        ranks = np.argsort(-np.bincount(text, minlength=words), kind="stable")
        text = np.argsort(ranks)[text].astype(np.int32)
        text[rng.integers(0, tokens, tokens // 12)] = -1  # sentences end; some have no word
        self.text = np.append(text, np.int32(-1)).astype(np.int32)
        self.counts = sorted(
            np.maximum(np.bincount(text[text >= 0], minlength=words), 1).tolist(), reverse=True
        )
        self.dim = 16
        self.w_in, self.w_out, self.w_nodes = aligned(words, 16), aligned(words, 16), aligned(words - 1, 16)
        self.w_in[:, :11] = (rng.random((words, 11)) - 0.5) / 4
        self.w_out[:, :11] = rng.standard_normal((words, 11)) / 8

    @property
    def words(self) -> int:
        return int((self.text >= 0).sum())

    def engine(self, **rungs: Any) -> Any:
        s = self.settings
        names = ("skip_gram", "mean", "divide", "negatives", "hierarchical", "window", "shrink")
        return _cpu.Word2VecEngine(
            *(self.counts, *(s[name] for name in names), self.dim),
            *(s["seed"], s["sample"], 0.75, s["variant"]),
            **rungs,
        )

    def run(
        self, engine: Any, epoch: int = 0, workers: int = 1, rates: tuple[float, float] = (0.05, 0.01)
    ) -> tuple[Any, Any, Any]:
        matrices = [aligned(*m.shape) for m in (self.w_in, self.w_out, self.w_nodes)]
        for to, source in zip(matrices, (self.w_in, self.w_out, self.w_nodes), strict=True):
            to[...] = source
        n = self.words
        done = engine.train(self.text, *matrices, epoch, *rates, n, n * epoch, 2 * n, workers)
        assert done == engine.pieces(len(self.text)) == -(-len(self.text) // PIECE)
        return matrices[0], matrices[1], matrices[2]

    def expected(self, engine: Any, epoch: int = 0, shared: int = 1) -> tuple[Any, Any, Any]:
        """The algorithm, by the functions for one word."""
        s, text = self.settings, self.text
        w_in, w_out, w_nodes = self.w_in.copy(), self.w_out.copy(), self.w_nodes.copy()
        n, total = self.words, sum(self.counts)
        over = s["sample"] * total / np.array(self.counts)
        part = np.sqrt(over) + over if s["sample"] else np.full(len(self.counts), 2.0)
        how = {"mean": s["mean"], "divide": s["divide"]}
        for begin in range(0, len(text), PIECE):
            random = SplitMix(mixed(mixed(s["seed"], epoch), begin))
            done = (n * epoch + begin / len(text) * n) / (2 * n)
            lr = float(np.float32(0.05 + (0.01 - 0.05) * done))
            at, end = begin, min(begin + PIECE, len(text))
            while 0 < at < end and text[at - 1] != -1:
                at += 1
            while at < end:
                stop = at + int(np.argmax(text[at:] == -1))
                kept = [
                    int(word)
                    for word in text[at:stop]
                    if part[word] >= 1 or random.bits() & 0xFFFFFFFF < int(part[word] * 4294967295.0)
                ]
                at = stop + 1
                if len(kept) < 2:
                    continue
                drawn: list[list[int]] = []
                for i, word in enumerate(kept):
                    while len(drawn) < min(i + AHEAD + 1, len(kept)):
                        if len(drawn) % shared:
                            drawn.append(drawn[-1])
                        elif s["negatives"]:
                            drawn.append(engine.draw([random.bits() for _ in range(s["negatives"])]))
                        else:
                            drawn.append([])
                    own = 1 + ((random.bits() >> 32) * s["window"] >> 32) if s["shrink"] else s["window"]
                    contexts = kept[max(0, i - own) : i] + kept[i + 1 : i + own + 1]
                    if s["negatives"]:
                        if s["skip_gram"]:
                            K.sgns_update(word, contexts, drawn[i], w_in, w_out, lr, variant=s["variant"])
                        else:
                            K.cbow_update(
                                word, contexts, drawn[i], w_in, w_out, lr, variant=s["variant"], **how
                            )
                    if s["hierarchical"]:
                        nodes, codes = engine.path(word)
                        if s["skip_gram"]:
                            K.sghs_update(contexts, nodes, codes, w_in, w_nodes, lr, variant=s["variant"])
                        else:
                            K.cbow_hs_update(
                                contexts, nodes, codes, w_in, w_nodes, lr, variant=s["variant"], **how
                            )
        return w_in, w_out, w_nodes


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
