"""Texts for the engine of word vectors, and what it does, in Python; for the tests of the CPU and of devices."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlkit.kernels as K
from dlkit import _cpu

PIECE, AHEAD = 16384, 3
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
