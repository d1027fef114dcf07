"""Running text for language models."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.data import DataError, load_corpus
from dlkit.data.corpora import END, UNKNOWN, corpus_of, frequent_words, read_corpus, split_lines


def test_documentation_needs_no_network():
    pytest.importorskip("pydoc_data.topics")
    corpus = load_corpus("topics")
    assert len(corpus.train) > 20_000
    assert 0.07 < len(corpus.test) / len(corpus.train) < 0.2
    assert corpus.words.count(END) == 1
    assert corpus.train.max() < len(corpus.words)
    assert corpus.text(corpus.numbers(["a", "list", END, "of"])) == "a list\nof"
    # The parts have no sentence in common.
    end = corpus.words.index(END)

    def sentences(tokens):
        return {tuple(s) for s in np.split(tokens, np.flatnonzero(tokens == end) + 1)}

    unknown = corpus.words.index(UNKNOWN)
    test = {s for s in sentences(corpus.test) if unknown not in s}
    assert not test & sentences(corpus.train) - {()}


def test_characters():
    pytest.importorskip("pydoc_data.topics")
    corpus = load_corpus("topics", "characters")
    assert all(len(c) == 1 or c == UNKNOWN for c in corpus.words)
    text = corpus.text(corpus.train[:300])
    assert corpus.numbers(corpus.tokens(text)).tolist() == corpus.train[:300].tolist()


@pytest.mark.parametrize(
    ("name", "words", "sizes"),
    [("ptb", 10_000, (929_589, 73_760, 82_430)), ("wikitext2", 33_278, (2_088_628, 217_646, 245_569))],
)
def test_official_texts(data_folder, name, words, sizes):
    corpus = load_corpus(name)
    assert len(corpus.words) == words
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == sizes


def test_words_that_the_training_part_lacks_are_unknown():
    corpus = corpus_of("mine", "words", ["b", "a", "b"], ["a"], ["c"])
    assert list(corpus.words) == ["b", "a", UNKNOWN]
    assert corpus.test.tolist() == [2]
    assert corpus.numbers(["z"]).tolist() == [2]
    with pytest.raises(DataError, match="not known"):
        corpus_of("mine", "words", ["b"], ["b"], ["b"]).numbers(["z"])


def test_errors():
    with pytest.raises(ValueError, match="did you mean 'ptb'"):
        load_corpus("pbt")
    with pytest.raises(ValueError, match="units is 'letters'"):
        load_corpus("topics", "letters")
    with pytest.raises(DataError, match="a part is empty"):
        corpus_of("mine", "words", ["a"], [], ["a"])


def test_a_text_of_ones_own_is_cut_in_three(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("\n".join(f"line {i}" if i % 3 else f"line {i}\n  " for i in range(45)))
    train, validation, test = split_lines(path)
    assert validation == ["line 18", "line 38"]
    assert test == ["line 19", "line 39"]
    assert len(train) == 41
    path.write_text("a\n" * 19)
    with pytest.raises(DataError, match=r"own\.txt: 19 lines with words; expected at least 20"):
        split_lines(path)
    path.write_bytes(b"a\n" * 30 + b"\xff\n")
    with pytest.raises(DataError, match="line 31 is not utf-8"):
        split_lines(path)


def test_a_text_of_ones_own_as_words_and_characters(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("a b\n" * 38 + "c  b\n" + "d\n")
    words = read_corpus(path)
    assert (words.name, words.units) == ("own.txt", "words")
    assert list(words.words) == [END, "a", "b", UNKNOWN]
    assert words.text(words.test) == "a b\n<unk> \n"
    characters = read_corpus(path, "characters")
    assert characters.text(characters.train) == "a b\n" * 36
    with pytest.raises(ValueError, match="read_corpus: units is 'letters'"):
        read_corpus(path, "letters")


def test_rare_words_become_unknown():
    train = ["a", "a", "b", END, "a", "c", END]
    corpus = frequent_words(corpus_of("mine", "words", train, ["b", "a"], ["z"]), 3)
    assert corpus.text(corpus.train) == "a a <unk>\na <unk> \n"  # ends of lines stay, though there are two
    assert corpus.text(corpus.validation) == "<unk> a"
    assert corpus.text(corpus.test) == "<unk>"
    with pytest.raises(
        DataError, match="min_count is 4, expected at most 3: no word of mine is there more often"
    ):
        frequent_words(corpus, 4)
    characters = frequent_words(corpus_of("mine", "characters", ["a", "a", "b", "\n"], ["a"], ["a"]), 2)
    assert characters.text(characters.train) == "aa<unk>\n"
