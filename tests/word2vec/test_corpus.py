"""csrc/word2vec/corpus.h: words of a text, counted and numbered, against Python's own split and Counter."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit import _cpu

LONGEST = 1 << 16


@dataclass
class Result:
    words: list[str]
    counts: list[int]
    tokens: list[int]
    total: int
    kept: int
    sentences: int
    previous: list[int] = field(default_factory=list)


def read(
    data: bytes,
    *,
    piece: int = 1 << 20,
    workers: int = 1,
    own: bool = False,
    errors: str = "strict",
    min_count: int = 1,
    max_vocab_size: int = 0,
    max_final_vocab: int = 0,
    max_sentence: int = 10000,
    old: Any = None,
) -> Result:
    with tempfile.TemporaryFile(buffering=0) as file, tempfile.TemporaryFile(buffering=0) as out:
        file.write(data)
        counter = _cpu.WordCorpusCounter(
            file.fileno(), len(data), piece, own, errors, max_vocab_size, workers
        )
        while counter.step():
            assert counter.bytes_done < len(data)
        assert counter.bytes_done == len(data)
        table = counter.vocabulary(min_count, max_final_vocab, old)
        assert len(table) == len(table.words())
        encoder = _cpu.WordCorpusEncoder(
            table, file.fileno(), len(data), piece, own, errors, max_sentence, False, out.fileno(), workers
        )
        while encoder.step():
            pass
        assert encoder.words == counter.words
        out.seek(0)
        tokens = np.frombuffer(out.read(), np.int32).tolist()
        return Result(
            table.words(),
            table.counts().tolist(),
            tokens,
            counter.words,
            encoder.kept,
            encoder.sentences,
            table.previous().tolist(),
        )


def numbered(
    sentences: list[list[bytes]], counts: dict[bytes, int], max_sentence: int = 10000
) -> tuple[list[int], int]:
    order = sorted(counts, key=lambda word: (-counts[word], word))
    number = {word: i for i, word in enumerate(order)}
    tokens: list[int] = []
    ended = 0
    for sentence in sentences:
        for start in range(0, len(sentence), max_sentence):
            kept = [number[word] for word in sentence[start : start + max_sentence] if word in number]
            if kept:
                tokens += [*kept, -1]
                ended += 1
    return tokens, ended


def expected(
    data: bytes,
    *,
    own: bool = False,
    errors: str = "strict",
    min_count: int = 1,
    max_sentence: int = 10000,
) -> Result:
    if own:
        sentences = [[w for w in s.split(b"\xfe") if w] for s in data.split(b"\xff")]
    else:
        sentences = [line.split() for line in data.split(b"\n")]
    total = sum(map(len, sentences))
    if errors != "strict":
        # What becomes an empty word still takes a place in its sentence.
        sentences = [[w.decode("utf-8", errors).encode() for w in s] for s in sentences]
    counts = Counter(w for s in sentences for w in s if w)
    kept = {w: n for w, n in counts.items() if n >= min_count}
    tokens, ended = numbered(sentences, kept, max_sentence)
    order = sorted(kept, key=lambda word: (-kept[word], word))
    return Result(
        [w.decode() for w in order],
        [kept[w] for w in order],
        tokens,
        total,
        sum(kept.values()),
        ended,
        [-1] * len(order),
    )


TEXT = (
    "the cat sat on the mat\n\n  the dog\tsat on\x0bthe\x0clog \r\nabcdefg abcdefgh abcdefghi abcdefg "
    "abcdefghijklmnopq abcdefghijklmnopqrstuvwxyz abcdefghi\na\x00b a\x1fb \x00 é日本語 naïve\u00a0x\n"
    "abcdefghijklmnopr z"
).encode()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_pieces_may_begin_anywhere(workers: int) -> None:
    want = expected(TEXT)
    for piece in range(1, len(TEXT) + 2):
        assert read(TEXT, piece=piece, workers=workers) == want


@pytest.mark.parametrize("max_sentence", [1, 2, 3, 7])
def test_long_sentences_are_cut_after_as_many_words_of_the_text(max_sentence: int) -> None:
    want = expected(TEXT, min_count=2, max_sentence=max_sentence)
    for piece in (1, 2, 5, 16, 1000):
        for workers in (1, 3):
            got = read(TEXT, min_count=2, max_sentence=max_sentence, piece=piece, workers=workers)
            assert got == want


_PARTS = st.sampled_from(
    [b"a", b"b", b" ", b" ", b"\n", b"\t", b"\r", b"\x0b", b"\x0c", b"\x00", b"\x1f", b"\x21", b"\x7f", b"\x85",
     b"\xa0", "é".encode(), b"\xff", b"\xfe", b"\xe6\x97", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xf4\x90",
     b"abcdefg", b"abcdefgh", b"abcdefghi", b"0123456789abcdef"]
)  # fmt: skip
_BYTES = st.one_of(st.lists(_PARTS, max_size=60).map(b"".join), st.binary(max_size=80))


@given(
    _BYTES,
    st.sampled_from(["replace", "ignore"]),
    st.integers(1, 40),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 5),
)
@settings(max_examples=300)
def test_any_bytes(data: bytes, errors: str, piece: int, workers: int, min_count: int, most: int) -> None:
    got = read(data, errors=errors, piece=piece, workers=workers, min_count=min_count, max_sentence=most)
    assert got == expected(data, errors=errors, min_count=min_count, max_sentence=most)


@given(_BYTES, st.integers(1, 40), st.integers(1, 3), st.sampled_from([0, 1, 3]))
@settings(max_examples=200)
def test_strict_names_the_first_line_that_is_no_utf8(
    data: bytes, piece: int, workers: int, limit: int
) -> None:
    broken = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        for word in line.split():
            try:
                word.decode()
            except UnicodeDecodeError:
                broken.append(number)
    if not broken:
        read(data, piece=piece, workers=workers, max_vocab_size=limit)
        return
    with pytest.raises(ValueError, match=rf"^line {broken[0]} has a word that is no UTF-8"):
        read(data, piece=piece, workers=workers, max_vocab_size=limit)


@given(
    st.lists(st.lists(st.text(max_size=12), max_size=6), max_size=8), st.integers(1, 40), st.integers(1, 3)
)
def test_words_of_our_own_separators_may_have_any_character(
    sentences: list[list[str]], piece: int, workers: int
) -> None:
    data = b"".join(b"\xfe".join(w.encode() for w in s) + b"\xff" for s in sentences)
    assert read(data, own=True, piece=piece, workers=workers) == expected(data, own=True)


def pruned(data: bytes, piece: int, limit: int) -> dict[bytes, int]:
    """gensim's rule (Word2Vec._scan_vocab), with pieces as sentences."""
    counts: Counter[bytes] = Counter()
    min_reduce = 1
    starts = [i for i in range(len(data)) if data[i : i + 1].strip() and not data[i - 1 : i].strip()]
    for begin in range(0, len(data), piece):
        counts.update(data[i:].split(maxsplit=1)[0] for i in starts if begin <= i < begin + piece)
        if len(counts) > limit:
            counts = Counter({word: n for word, n in counts.items() if n >= min_reduce})
            min_reduce += 1
    return counts


@pytest.mark.parametrize("limit", [1, 5, 20, 100])
@pytest.mark.parametrize("piece", [16, 100, 4096])
def test_pruning(rng: np.random.Generator, limit: int, piece: int) -> None:
    words = [f"w{i}" if i % 3 else f"longerword{i}" for i in rng.zipf(1.4, 3000) % 300]
    data = " ".join(words).encode()
    counts = pruned(data, piece, limit)
    order = sorted(counts, key=lambda word: (-counts[word], word))
    for workers in (1, 2, 3):
        got = read(data, piece=piece, workers=workers, max_vocab_size=limit)
        assert got.words == [w.decode() for w in order]
        assert got.counts == [counts[w] for w in order]
        assert got.tokens == numbered([data.split()], dict(counts))[0]


def test_gensim_prunes_alike(rng: np.random.Generator) -> None:
    gensim = pytest.importorskip("gensim.models")
    # Sentences of 32 bytes each are pieces, too.
    lines = [" ".join(f"w{i % 200}" for i in rng.zipf(1.4, 6))[:31].ljust(31) for _ in range(400)]
    model = gensim.Word2Vec(min_count=1, max_vocab_size=40)
    model.build_vocab([line.split() for line in lines])
    got = read("\n".join(lines).encode(), piece=32, workers=2, max_vocab_size=40)
    assert len(got.words) < len({w for line in lines for w in line.split()})
    assert dict(zip(got.words, got.counts, strict=True)) == {
        w: model.wv.get_vecattr(w, "count") for w in model.wv.index_to_key
    }


@pytest.mark.parametrize("most", [1, 2, 3, 5, 6, 100])
def test_max_final_vocab_keeps_no_part_of_a_tie(most: int) -> None:
    data = b"a a a a b b b c c c d d e f"
    counts = Counter(data.split())
    ranked = sorted(counts.values(), reverse=True)
    least = ranked[most] + 1 if most < len(ranked) else 1
    got = read(data, max_final_vocab=most, workers=2, piece=4)
    assert got.words == sorted(w.decode() for w, n in counts.items() if n >= least)
    assert len(got.words) <= most


def test_gensim_finds_the_same(rng: np.random.Generator, tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models")
    words = [f"w{i}" for i in rng.zipf(1.3, 20000) % 5000]
    path = tmp_path / "text"
    path.write_text("\n".join(" ".join(words[i : i + 37]) for i in range(0, len(words), 37)))
    model = gensim.Word2Vec(min_count=2, max_final_vocab=500)
    model.build_vocab(corpus_file=str(path))
    got = read(path.read_bytes(), min_count=2, max_final_vocab=500, piece=1000, workers=2)
    assert 0 < len(got.words) <= 500
    assert dict(zip(got.words, got.counts, strict=True)) == {
        w: model.wv.get_vecattr(w, "count") for w in model.wv.index_to_key
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_many_words_in_tables_that_grow_and_are_added(rng: np.random.Generator, workers: int) -> None:
    data = b" ".join(b"%d" % i for i in (rng.integers(0, 1 << 40, 60000) >> rng.integers(20, 36, 60000)))
    assert read(data, piece=10000, workers=workers) == expected(data)


def alike(count: int) -> np.ndarray:
    """Words of eight bytes that a hash of multiplications by known numbers alone puts into one place."""
    back = [np.uint64(pow(factor, -1, 1 << 64)) for factor in (0xBF58476D1CE4E5B9, 0x9E3779B97F4A7C15)]
    hashed = np.uint64(0x12345678 << 32) | np.arange(4 * count, dtype=np.uint64)
    hashed *= back[0]
    hashed = (hashed ^ (hashed >> np.uint64(32))) * back[1]
    return hashed ^ np.uint64(8 * 0xD1342543DE82EF95 % (1 << 64))


def test_words_made_to_share_a_place_do_not(rng: np.random.Generator) -> None:
    # With a hash that is known these took 20 times as long as others (core/hash_key.h); twice as many, 80 times.
    count = 50_000
    seconds: dict[str, list[float]] = {"alike": [], "others": []}
    for _ in range(2):
        for name, words in (
            ("alike", alike(count)),
            ("others", rng.integers(0, 1 << 64, 4 * count, dtype=np.uint64)),
        ):
            letters = words.view(np.uint8).reshape(-1, 8)
            letters = letters[((letters > 0x20) & (letters != 0x7F)).all(axis=1)][:count]
            assert len(letters) == count
            data = b" ".join(row.tobytes() for row in letters)
            start = time.process_time()
            read(data, errors="replace")
            seconds[name].append(time.process_time() - start)
    assert min(seconds["alike"]) < 5 * min(seconds["others"])


def test_a_word_of_64_kib_is_one_and_a_longer_one_is_an_error() -> None:
    word = b"x" * LONGEST
    for piece in (1000, LONGEST, 1 << 20):
        got = read(b"a\n" + word + b"\nb a", piece=piece, workers=2)
        assert got.words == ["a", "b", word.decode()]
        for own in (False, True):
            for end in (b"", b"\xfe" if own else b" "):
                line = b"\xff" if own else b"\n"
                with pytest.raises(
                    ValueError, match=r"^(line|sentence) 3 has a word of more than 65536 bytes"
                ):
                    read(b"a" + line + b"b" + line + word + b"x" + end, piece=piece, workers=2, own=own)


def test_the_first_fault_is_named_whatever_the_thread() -> None:
    data = b"\n".join([b"fine"] * 50 + [b"x" * (LONGEST + 1)] + [b"y" * (LONGEST + 1)] + [b"\xff"])
    for piece in (1000, 5000, 1 << 20):
        for workers in (1, 2, 3):
            with pytest.raises(ValueError, match=r"^line 51 has a word of more"):
                read(data, piece=piece, workers=workers)


def test_replacing_may_make_a_word_too_long() -> None:
    with pytest.raises(ValueError, match="a word of more than 65536 bytes once"):
        read(b"\xff" * 30000, errors="replace")


def test_a_line_without_a_space_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "text"
    with open(path, "wb") as file:
        file.truncate(500_000_000)  # zeros, which are no white space
    with open(path, "rb") as file:
        counter = _cpu.WordCorpusCounter(file.fileno(), 500_000_000, 1 << 20, False, "strict", 0, 2)
        with pytest.raises(ValueError, match="line 1 has a word of more"):
            counter.step()


def test_a_file_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a b c\n" * 20000)
    size = path.stat().st_size
    with open(path, "rb") as file, open(tmp_path / "out", "wb") as out:
        counter = _cpu.WordCorpusCounter(file.fileno(), size, 4096, False, "strict", 0, 2)
        while counter.step():
            pass
        table = counter.vocabulary(1, 0, None)
        os.truncate(path, size // 2)
        with pytest.raises(ValueError, match=f"became shorter .*expected {size}"):
            _cpu.WordCorpusCounter(file.fileno(), size, 4096, False, "strict", 0, 2).step()
        with pytest.raises(ValueError, match="became shorter"):
            _cpu.WordCorpusEncoder(
                table, file.fileno(), size, 4096, False, "strict", 100, False, out.fileno(), 2
            ).step()


def test_encoding_to_a_closed_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a b")
    with open(path, "rb") as file:
        table = _cpu.WordCorpusVocabulary([b"a"], [1])
        # A descriptor to read from cannot be written to.
        encoder = _cpu.WordCorpusEncoder(
            table, file.fileno(), 3, 4096, False, "strict", 100, False, file.fileno(), 1
        )
        with pytest.raises(RuntimeError, match="result cannot be written"):
            encoder.step()


def test_extending_adds_counts_and_tells_the_numbers_before() -> None:
    old = _cpu.WordCorpusVocabulary([b"sun", b"star", b"moon"], [9, 5, 5])
    got = read(b"star star comet comet comet dust sun comet comet comet comet", min_count=2, old=old)
    assert got.words == ["sun", "comet", "star", "moon"]
    assert got.counts == [10, 7, 7, 5]
    assert got.previous == [0, -1, 1, 2]
    assert got.tokens == [2, 2, 1, 1, 1, 0, 1, 1, 1, 1, -1]


def test_vocabularies_that_are_none() -> None:
    for words, counts, message in [
        ([b"a"], [1, 2], "1 words but 2 counts"),
        ([b"a", b""], [2, 1], "word 1 has 0 bytes"),
        ([b"a", b"b"], [1, 2], "word 1 is above"),
        ([b"a", b"a"], [1, 1], "word 1 is there twice"),
        ([b"x" * (LONGEST + 1)], [1], "has 65537 bytes"),
    ]:
        with pytest.raises(ValueError, match=message):
            _cpu.WordCorpusVocabulary(words, counts)


def test_settings_out_of_range() -> None:
    good: dict[str, Any] = {
        "file": 0, "size": 0, "piece": 1, "own": False, "errors": "strict", "max_vocab_size": 0, "workers": 1
    }  # fmt: skip
    for name, value in [("piece", 0), ("workers", 0), ("workers", 257), ("errors", "x"), ("size", 1 << 63)]:
        with pytest.raises(ValueError, match=name):
            _cpu.WordCorpusCounter(**{**good, name: value})
    counter = _cpu.WordCorpusCounter(**good)
    with pytest.raises(ValueError, match="not been counted"):
        counter.vocabulary(1, 0, None)
