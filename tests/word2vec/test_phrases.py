"""csrc/word2vec/phrases.h: pairs counted, and texts whose phrases are joined, against the same in Python."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit import _cpu


def join(
    data: bytes,
    pairs: list[tuple[str, str]],
    *,
    piece: int = 1 << 20,
    workers: int = 1,
    own: bool = False,
    errors: str = "strict",
) -> tuple[bytes, int]:
    words = sorted({word for pair in pairs for word in pair})
    table = _cpu.WordCorpusVocabulary([w.encode() for w in words], [1] * len(words))
    numbers = [[words.index(word) for word in pair] for pair in pairs]
    with tempfile.TemporaryFile(buffering=0) as file, tempfile.TemporaryFile(buffering=0) as out:
        file.write(data)
        joiner = _cpu.WordPairJoiner(
            table, numbers, [], "_", file.fileno(), len(data), piece, own, errors, out.fileno(), workers
        )
        while joiner.step():
            pass
        assert joiner.bytes_done == len(data)
        out.seek(0)
        return out.read(), joiner.joined


def joined(sentence: list[str], pairs: list[tuple[str, str]]) -> list[str]:
    done: list[str] = []
    at = 0
    while at < len(sentence):
        if tuple(sentence[at : at + 2]) in pairs:
            done.append("_".join(sentence[at : at + 2]))
            at += 2
        else:
            done.append(sentence[at])
            at += 1
    return done


_WORD = st.sampled_from(["a", "b", "é", "longer-than-eight", "x"])


@given(
    st.lists(st.lists(_WORD, max_size=8), min_size=1, max_size=6),
    st.lists(st.tuples(_WORD, _WORD), max_size=6),
    st.integers(1, 30),
    st.integers(1, 3),
    st.booleans(),
)
@settings(max_examples=300)
def test_joining(
    sentences: list[list[str]], pairs: list[tuple[str, str]], piece: int, workers: int, own: bool
) -> None:
    if own:
        data = b"".join(b"\xfe".join(w.encode() for w in s) + b"\xff" for s in sentences)
    else:
        data = ("\n".join("  ".join(s) for s in sentences) + "\n").encode()
    lines = [joined(s, pairs) for s in sentences]
    got, count = join(data, pairs, piece=piece, workers=workers, own=own)
    assert got.decode() == "".join(" ".join(line) + "\n" for line in lines)
    assert count == sum(map(len, sentences)) - sum(map(len, lines))


@given(
    st.lists(st.sampled_from([b"a", b"\xff", b"\xe6", b" ", b"\n", b"\xfe", b"b"]), max_size=30).map(
        b"".join
    ),
    st.sampled_from(["replace", "ignore"]),
    st.integers(1, 12),
)
def test_broken_utf8(data: bytes, errors: str, piece: int) -> None:
    pairs = [("a", "b"), ("\ufffd", "a"), ("a", "\ufffd\ufffd")]
    lines = [[w for w in (w.decode("utf-8", errors) for w in s.split()) if w] for s in data.split(b"\n")]
    want = "\n".join(" ".join(joined(line, pairs)) for line in lines)
    got, _ = join(data, pairs, errors=errors, piece=piece, workers=2)
    assert got.decode() == (want + "\n" if lines[-1] else want)


def test_faults() -> None:
    with pytest.raises(ValueError, match="line 2 has a word that is no UTF-8"):
        join(b"a\nb\xff", [("a", "b")], piece=1)
    with pytest.raises(ValueError, match="sentence 2 has a word with white space"):
        join(b"a\xffb c\xff", [("a", "b")], piece=1, own=True)
    with pytest.raises(ValueError, match="sentence 1 has a word with white space"):
        join(b"b \xc0\xff", [("a", "b")], own=True, errors="replace")
    with pytest.raises(ValueError, match="line 2 has a word of more than"):
        join(b"a\n" + b"x" * 70000, [("a", "b")])
    table = _cpu.WordCorpusVocabulary([b"a"], [1])
    for phrase in ([0, 1], [-1, 0], [0], [], [0] * 11):
        with pytest.raises(ValueError, match="a phrase"):
            _cpu.WordPairJoiner(table, [phrase], [], "_", 0, 0, 1, False, "strict", 1, 1)
    for word in (-1, 1):
        with pytest.raises(ValueError, match=f"connectors have word {word}, expected 0 to 1 or less"):
            _cpu.WordPairJoiner(table, [[0, 0]], [word], "_", 0, 0, 1, False, "strict", 1, 1)
        with pytest.raises(ValueError, match="connectors have word"):
            _cpu.WordPairCounter(0, 1, [word])
    with pytest.raises(ValueError, match="beyond the vocabulary"):
        _cpu.WordPairCounter(0, 3, [2]).add(np.array([0, 2, 3], np.int32))


@pytest.mark.parametrize("step", [1, 7, 100000])
def test_counting(rng: np.random.Generator, step: int) -> None:
    size = 3000 if step == 1 else 40000
    tokens = (rng.zipf(1.3, size) % 300 - 1).astype(np.int32)
    counter = _cpu.WordPairCounter(0, 300, [])
    for start in range(0, size, step):
        counter.add(tokens[start : start + step])
    listed = tokens.tolist()
    pairs = Counter((a, b) for a, b in pairwise(listed) if a >= 0 and b >= 0)
    assert counter.distinct == len(pairs)
    table = _cpu.WordCorpusVocabulary([b"w%d" % i for i in range(300)], list(range(1000, 700, -1)))
    counts = table.counts()
    for npmi in (False, True):
        want = {}
        for (a, b), n in pairs.items():
            if npmi:
                share = n / size
                score = math.log(share / (counts[a] / size * counts[b] / size)) / -math.log(share)
            else:
                score = (n - 3) / (counts[a] * counts[b]) * (300 + len(pairs))
            if n >= 3 and score > 0.01:
                want[f"w{a}", f"w{b}"] = (n, pytest.approx(score, rel=1e-12))
        rows = counter.phrases(table, size, 300, 3, 0.01, npmi)
        assert {phrase: (n, score) for phrase, n, score in rows} == want
        assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)
    with pytest.raises(ValueError, match="beyond the counts"):
        counter.phrases(_cpu.WordCorpusVocabulary([b"a"], [1]), 1, 1, 1, 0.0, False)


def test_pruning() -> None:
    """After each 2^18 numbers: pairs below a threshold that grows."""
    block = 1 << 18
    frequent = np.resize(np.array([0, 1], np.int32), block)
    rare = np.arange(block, dtype=np.int32) + 2
    counter = _cpu.WordPairCounter(100, block + 2, [])
    for part in (frequent, rare, rare, frequent):
        counter.add(part)
    # All pairs of the rare words were there twice and are above the threshold of 1, then of 2; the next takes them.
    assert counter.distinct == 2


def test_connectors_are_counted_with_what_they_stand_between(rng: np.random.Generator) -> None:
    tokens = (rng.zipf(1.2, 30000) % 40 - 1).astype(np.int32)
    connectors = [0, 1, 5]
    counter = _cpu.WordPairCounter(0, 39, connectors)
    for start in range(0, 30000, 777):
        counter.add(tokens[start : start + 777])
    pairs: Counter[tuple[int, ...]] = Counter()
    begun: tuple[int, ...] = ()
    for token in tokens.tolist():
        if token in connectors:
            begun = (*begun, token) if 0 < len(begun) < 9 else ()  # eight connectors at most
        else:
            if begun and token >= 0:
                pairs[(*begun, token)] += 1
            begun = (token,) if token >= 0 else ()
    assert max(map(len, pairs)) > 4
    assert counter.distinct == len(pairs)
    table = _cpu.WordCorpusVocabulary([b"w%d" % i for i in range(39)], list(range(1000, 961, -1)))
    rows = counter.phrases(table, 30000, 36, 1, 0.0, False)
    wanted = {tuple(f"w{i}" for i in pair): n for pair, n in pairs.items() if n > 1}
    assert {phrase: n for phrase, n, _ in rows} == wanted


def test_pruning_of_what_stands_between() -> None:
    """Rare chains go with their pairs; a frequent one, and the one that is being read, stay what they were."""
    block = 1 << 18
    frequent = np.resize(np.array([0, 2, 3, 1], np.int32), block)
    rare = np.stack([np.arange(block // 2) + 4, np.full(block // 2, 2)], axis=1).astype(np.int32).ravel()
    counter = _cpu.WordPairCounter(100, block, [2, 3])
    for part in (frequent, rare, rare, frequent, frequent):
        counter.add(part)
    table = _cpu.WordCorpusVocabulary([b"w%d" % i for i in range(block)], [block] * block)
    found = {phrase: n for phrase, n, _ in counter.phrases(table, 5 * block, block, 1000, 0.0, False)}
    assert set(found) == {("w0", "w2", "w3", "w1"), ("w1", "w0")}
    assert found["w0", "w2", "w3", "w1"] == 3 * block // 4
