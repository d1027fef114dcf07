"""dlkit.data.word_corpus: sources of every kind, their errors, and what is left behind."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.data import CorpusVocabulary, DataError, DataNotFoundError, WordCorpus

LINES = ["the star is a sun", "", "the moon is no star", "a sun a moon the the", "é ok"]
TEXT = "\n".join(LINES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


def sentences_of(corpus: Any, words: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for number in corpus.tokens.tolist():
        if number < 0:
            found.append([])
        else:
            found[-1].append(words[number])
    assert found[-1] == []
    return found[:-1]


def test_a_file(path: Path) -> None:
    corpus = WordCorpus.build(path, min_count=2)
    counts = Counter(TEXT.split())
    assert corpus.words == ["the", "a", "is", "moon", "star", "sun"]
    assert corpus.counts.tolist() == [counts[word] for word in corpus.words]
    assert sentences_of(corpus, corpus.words) == [
        [w for w in line.split() if counts[w] > 1] for line in LINES if line and line != "é ok"
    ]
    assert corpus.total_words == sum(counts.values())
    assert corpus.kept_words == int(corpus.counts.sum())
    assert corpus.sentences == 3
    assert corpus.tokens.dtype == np.int32
    assert corpus.previous is None


@pytest.mark.parametrize(
    ("ending", "opener"), [(".gz", gzip.open), (".xz", lzma.open), (".bz2", bz2.open), (".GZ", gzip.open)]
)
def test_compressed_files(tmp_path: Path, path: Path, ending: str, opener: Callable[..., Any]) -> None:
    packed = tmp_path / ("text.txt" + ending)
    with opener(packed, "wb") as file:
        file.write(TEXT.encode())
    plain, got = WordCorpus.build(path, 1), WordCorpus.build(str(packed), 1)
    assert got.words == plain.words
    assert got.tokens.tolist() == plain.tokens.tolist()


@pytest.mark.parametrize(("ending", "opener"), [(".gz", gzip.open), (".xz", lzma.open), (".bz2", bz2.open)])
def test_compressed_files_that_are_damaged(
    tmp_path: Path, rng: np.random.Generator, ending: str, opener: Callable[..., Any]
) -> None:
    packed = tmp_path / ("text" + ending)
    with opener(packed, "wb") as file:
        file.write(" ".join(map(str, rng.integers(0, 1000, 5000))).encode())
    content = packed.read_bytes()
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"text{ending} is cut short"):
        WordCorpus.build(packed)
    packed.write_bytes(content[:200] + bytes(20) + content[220:])
    with pytest.raises(DataError, match=f"text{ending} (cannot be unpacked|is cut short)"):
        WordCorpus.build(packed)
    packed.write_bytes(b"plain text in a file that says otherwise")
    with pytest.raises(DataError, match=f"text{ending} cannot be unpacked"):
        WordCorpus.build(packed)


def test_sentences_of_a_generator_that_runs_once() -> None:
    def sentences() -> Iterator[tuple[str, ...]]:
        for line in LINES:
            yield tuple(line.split())

    corpus = WordCorpus.build(sentences(), 1)
    assert sentences_of(corpus, corpus.words) == [line.split() for line in LINES if line]


def test_words_of_sentences_may_hold_anything() -> None:
    sentences = [["New York", "a\nb", "\0", "", "x\0y"], [], [""], ["\u0085", "New York", "ÿ", "þ"]]
    corpus = WordCorpus.build(sentences, 1)
    assert sentences_of(corpus, corpus.words) == [["New York", "a\nb", "\0", "x\0y"], sentences[3]]
    assert corpus.words[0] == "New York"


def test_words_of_sentences_that_are_no_utf8() -> None:
    sentences = [["a\ud800b", "\udc80", "c"]]
    assert set(WordCorpus.build(sentences, 1, errors="replace").words) == {"a\ufffdb", "\ufffd", "c"}
    assert set(WordCorpus.build(sentences, 1, errors="ignore").words) == {"ab", "c"}


def test_a_fingerprint_is_of_words_and_counts() -> None:
    prints = {
        WordCorpus.build(sentences, 1).vocabulary.fingerprint()
        for sentences in ([["a", "b"]], [["a", "c"]], [["a", "a", "b"]], [["a", "b", "c"]], [["b", "a"]])
    }
    assert len(prints) == 4  # the order of words in the text is none of it


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["a star"], r"sentence 1 is of type str, .*split"),
        ([["a"], [b"star"]], "sentence 2, word 1 is of type bytes"),
        ([["a"], 7], "sentence 2 is of type int"),
        (7, "source is of type int"),
        (b"text", "source is of type bytes"),
        ([["a", "\ud800"]], "sentence 1 has a word that is no UTF-8"),
        ([["a"], ["x" * 70000]], "sentence 2 has a word of more than 65536 bytes"),
        ([], "source holds no words"),
        ([[], [""]], "source holds no words"),
    ],
)
def test_sources_that_are_none(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        WordCorpus.build(source, 1)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="no such file"):
        WordCorpus.build(tmp_path / "absent.txt")
    with pytest.raises(DataNotFoundError, match="no such file"):
        WordCorpus.build(tmp_path / "absent.gz")
    with pytest.raises(DataError, match="is a folder"):
        WordCorpus.build(tmp_path)
    with pytest.raises(DataError, match="no regular file"):
        WordCorpus.build("/dev/zero")
    with pytest.raises(DataError, match="cannot be read"):
        WordCorpus.build("a\0b")
    empty = tmp_path / "empty.txt"
    for content in (b"", b" \n\t\n"):
        empty.write_bytes(content)
        with pytest.raises(DataError, match=r"empty.txt holds no words"):
            WordCorpus.build(empty)


def test_a_vocabulary_that_min_count_empties(path: Path) -> None:
    with pytest.raises(
        DataError, match=r"min_count=5: there are 18 words, 9 different ones, and none .* more than 4 times"
    ):
        WordCorpus.build(path)
    with pytest.raises(DataError, match=r"min_count=1, max_final_vocab=1: there are 2 words"):
        WordCorpus.build([["a", "b"]], 1, max_final_vocab=1)


def test_broken_utf8(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"fine\nalso fine\nx\xff y\xfe \xff x\xfd")
    with pytest.raises(DataError, match=r"text\.txt: line 3 has a word that is no UTF-8"):
        WordCorpus.build(path, 1)
    assert WordCorpus.build(path, 1, errors="replace").words == [
        "fine",
        "x\ufffd",
        "also",
        "y\ufffd",
        "\ufffd",
    ]
    assert WordCorpus.build(path, 1, errors="ignore").words == ["fine", "x", "also", "y"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_count", -1), ("min_count", 1.5), ("max_vocab_size", 0), ("max_final_vocab", 0), ("workers", 0),
        ("max_sentence", 0), ("piece", 0), ("errors", "x"),
    ],
)  # fmt: skip
def test_settings_out_of_range(path: Path, name: str, value: Any) -> None:
    with pytest.raises(DataError, match=f"WordCorpus: {name} is {value!r}"):
        WordCorpus.build(path, **{name: value})


def test_another_text_with_the_same_words(path: Path) -> None:
    with WordCorpus.build(path, 2) as corpus:
        encoded = corpus.encode([["the", "comet", "is", "a", "star"], ["comet"]])
        assert sentences_of(encoded, corpus.words) == [["the", "is", "a", "star"]]
        assert (encoded.total_words, encoded.kept_words, encoded.sentences) == (6, 4, 1)
        nothing = corpus.encode([["comet"]])
        assert nothing.tokens.tolist() == []
        assert nothing.sentences == 0
        with pytest.raises(DataError, match="holds no words"):
            corpus.encode([])
        with pytest.raises(DataError, match="encode: workers is 0"):
            corpus.encode(path, workers=0)
    assert corpus.tokens.tolist() == []
    assert encoded.tokens.size == 5


def test_another_text_with_new_words(path: Path) -> None:
    corpus = WordCorpus.build(path, 2)
    longer = corpus.extend([["the", "comet", "comet", "comet", "dust"]], min_count=2)
    assert longer.previous is not None
    assert set(longer.words) == {*corpus.words, "comet"}
    assert sorted(longer.counts.tolist(), reverse=True) == longer.counts.tolist()
    for word, count, before in zip(longer.words, longer.counts, longer.previous, strict=True):
        if before < 0:
            assert (word, count) == ("comet", 3)
        else:
            assert word == corpus.words[before]
            assert count == corpus.counts[before] + (word == "the")
    assert sentences_of(longer, longer.words) == [["the", "comet", "comet", "comet"]]
    assert longer.total_words == 5
    with pytest.raises(DataError, match="holds no words"):
        corpus.extend([])


def test_new_words_have_bounds(path: Path) -> None:
    corpus = WordCorpus.build(path, 2)
    old = len(corpus.words)
    more = [[f"new{i}"] * (i + 1) for i in range(9)]
    assert set(corpus.extend(more, 1).words) == {*corpus.words, *(f"new{i}" for i in range(9))}
    for most, kept in ((old + 3, "678"), (old + 1, "8"), (old, ""), (1, ""), (old + 100, "012345678")):
        words = corpus.extend(more, 1, max_final_vocab=most).words
        assert set(words) - set(corpus.words) == {f"new{i}" for i in kept}
    # As in `build`, nothing of a tie is kept that there is no room for.
    assert set(corpus.extend([*more, ["new7"]], 1, max_final_vocab=old + 1).words) == set(corpus.words)
    few = corpus.extend(more, 1, max_vocab_size=2, piece=8).words
    assert set(corpus.words) < set(few)
    assert "new8" in few
    assert "new0" not in few
    for name in ("max_vocab_size", "max_final_vocab"):
        with pytest.raises(DataError, match=f"extend: {name} is 0"):
            corpus.extend(more, 1, **{name: 0})


def test_a_vocabulary_from_words_and_counts(path: Path) -> None:
    vocabulary = CorpusVocabulary(["star", "New York"], np.array([3, 2]))
    assert len(vocabulary) == 2
    assert vocabulary.encode([["New York", "star", "x"]]).tokens.tolist() == [1, 0, -1]
    for words, counts, message in [
        (["a", "a"], [1, 1], "there twice"),
        (["a"], [-1], "CorpusVocabulary"),
        (["\ud800"], [1], "CorpusVocabulary"),
        ([3], [1], "CorpusVocabulary"),
    ]:
        with pytest.raises(DataError, match=message):
            CorpusVocabulary(words, counts)  # type: ignore[arg-type]


def test_the_result_does_not_depend_on_threads_or_pieces(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(" ".join(f"w{i}" for i in rng.zipf(1.3, 50000) % 3000))
    first = WordCorpus.build(path, 2, workers=1)
    for workers in (2, 3):
        other = WordCorpus.build(path, 2, workers=workers, piece=999)
        assert other.words == first.words
        assert np.array_equal(other.counts, first.counts)
        assert np.array_equal(other.tokens, first.tokens)


def test_no_file_is_left_behind(tmp_path: Path, path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    corpus = WordCorpus.build([line.split() for line in LINES], 1, folder=folder)
    assert os.listdir(folder) == []
    assert isinstance(corpus.tokens, np.memmap)
    with pytest.raises(DataError):
        WordCorpus.build([["a"], 3], 1, folder=folder)  # type: ignore[list-item]
    corpus.close()
    assert os.listdir(folder) == []
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    with pytest.raises(DataError, match="a temporary file cannot be made"):
        WordCorpus.build([["a"]], 1, folder=tmp_path / "absent")


def test_progress(path: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    WordCorpus.build(path, 1, progress=lambda *what: seen.append(what))
    size = path.stat().st_size
    assert seen == [("count", size, size), ("encode", size, size)]
    packed = tmp_path / "text.gz"
    packed.write_bytes(gzip.compress(TEXT.encode()))
    seen.clear()
    WordCorpus.build(packed, 1, progress=lambda *what: seen.append(what))
    assert [what for what, _, _ in seen] == ["read", "count", "encode"]


def test_a_file_that_changes_between_the_passes(path: Path) -> None:
    def change(what: str, done: int, size: int) -> None:
        if what == "count":
            path.write_text("x" * size)

    with pytest.raises(DataError, match="was changed while it was read"):
        WordCorpus.build(path, 1, progress=change)

    def cut(what: str, done: int, size: int) -> None:
        os.truncate(path, size // 2)

    with pytest.raises(DataError, match=r"text\.txt: became shorter while it was read"):
        WordCorpus.build(path, 1, progress=cut)


def test_text8(data_folder: Path) -> None:
    path = data_folder / "text8" / "enwiki2015.text8.xz"
    if not path.exists():
        pytest.skip("needs text8")
    with lzma.open(path) as stream:
        text = stream.read(3_000_000)
    corpus = WordCorpus.build([text.decode().split()], 5)
    counts = Counter(text.decode().split())
    kept = {word: n for word, n in counts.items() if n >= 5}
    assert dict(zip(corpus.words, corpus.counts.tolist(), strict=True)) == kept
    number = {word: i for i, word in enumerate(corpus.words)}
    assert corpus.tokens[corpus.tokens >= 0].tolist() == [
        number[word] for word in text.decode().split() if word in number
    ]
