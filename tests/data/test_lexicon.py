"""Lists of words, and where they lie in a text."""

from __future__ import annotations

import gzip
import itertools
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import DataError, DataNotFoundError
from dlkit.data.lexicon import LENGTHS, LONGEST, Lexicon, OwnWords, read_lexicon
from dlkit.data.segmentation import words_from

TEXTS = st.text("abc", max_size=8)
COUNTS = st.dictionaries(st.text("abc", min_size=1, max_size=7), st.integers(0, 9), min_size=1, max_size=12)


@given(TEXTS, COUNTS)
def test_places_are_those_of_a_search(text, counts):
    lexicon = Lexicon(counts)
    for length in LENGTHS:
        expected = [set() for _ in text]
        for start, end in itertools.combinations(range(len(text) + 1), 2):
            size = end - start
            if (size == length or size > length == LENGTHS[-1]) and text[start:end] in counts:
                expected[start].add("B")
                expected[end - 1].add("E")
                for at in range(start + 1, end - 1):
                    expected[at].add("M")
        found = lexicon.places(list(text), length)
        assert found == [("".join(sorted(each, key="BME".index)) or "-") for each in expected]


def cuts(text):
    for borders in itertools.product((False, True), repeat=max(len(text) - 1, 0)):
        at = [0, *(i for i, cut in enumerate(borders, 1) if cut), len(text)]
        yield [text[a:b] for a, b in itertools.pairwise(at)]


@given(st.text("abc", min_size=1, max_size=7), COUNTS)
def test_no_cut_is_better_than_the_path(text, counts):
    total = 1 + sum(max(count, 1) for count in counts.values())

    def cost(words):
        return sum(log(total / max(counts.get(word, 1), 1)) for word in words)

    found = words_from(text, Lexicon(counts).path(list(text)))
    possible = [words for words in cuts(text) if all(len(w) == 1 or w in counts for w in words)]
    assert found in possible
    assert cost(found) == pytest.approx(min(map(cost, possible)))


def test_counts_decide():
    text = list("abcd")
    assert Lexicon({"ab": 9, "cd": 9, "bc": 1, "a": 1, "d": 1}).path(text) == ["B", "E", "B", "E"]
    assert Lexicon({"ab": 1, "cd": 1, "bc": 9999, "a": 9999, "d": 9999}).path(text) == ["S", "B", "E", "S"]
    assert Lexicon({"ab": 0, "abc": 0, "d": 0}).path([]) == []


@given(TEXTS, COUNTS, st.randoms(use_true_random=False))
def test_hidden_words_are_as_if_they_were_not_there(text, counts, random):
    hidden = {word for word in counts if random.random() < 0.5}
    rest = {word: 1 for word in counts if word not in hidden}
    lexicon = Lexicon(dict.fromkeys(counts, 1))
    for length in LENGTHS:
        expected = Lexicon(rest or {"z": 1}).places(list(text), length)
        assert lexicon.places(list(text), length, hidden) == expected
    found = words_from(text, lexicon.path(list(text), hidden))
    assert all(len(word) == 1 or word in rest for word in found)
    # All words are of one share, so that the fewest are the best.
    fewest = words_from(text, Lexicon(rest or {"z": 1}).path(list(text)))
    assert len(found) == len(fewest)


def test_a_list_of_one_word():
    assert Lexicon({"图书馆": 0}).path(list("去图书馆")) == ["S", "B", "M", "E"]
    assert Lexicon({"图书馆": 0, "去": 0}).path(list("去图书馆"), {"去"}) == ["S", "B", "M", "E"]


def test_own_words():
    long = "x" * (LONGEST + 1)
    sentences = [["a", "b", "b", "listed"], ["a", "c d", long], ["e"], ["e"]]
    own = OwnWords(sentences, Lexicon({"listed": 7, "other": 0}))
    assert own.lexicon.counts == {"listed": 7, "other": 0, "a": 2, "b": 2, "e": 2}
    assert own.hidden(sentences[0]) == {"b"}
    assert own.hidden(sentences[1]) == {"c d", long}
    assert own.hidden(sentences[2]) == set()


def test_files(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff图书馆 12 n\r\n\n图书\n图书馆 3\n".encode() + b"x" * (LONGEST + 1) + b" 1\n")
    lexicon = read_lexicon(path)
    assert lexicon.counts == {"图书馆": 15, "图书": 0}
    assert read_lexicon(lexicon.save(tmp_path / "again.txt")) == lexicon
    (tmp_path / "words.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_lexicon(tmp_path / "words.gz") == lexicon
    assert len(lexicon) == 2
    assert "图书" in lexicon
    assert "书" not in lexicon


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a 1\nb -1\n", r"line 2: the count of 'b' is '-1', expected an integer of at least 0"),
        ("a n 3\n", "line 1: the count of 'a' is 'n'"),
        ("a " + "9" * 16, "line 1: the count of 'a'"),
        ("a ²\n", "line 1: the count"),
        ("\n  \n", "holds no words of at most 16 characters, expected one a line"),
        ("x" * (LONGEST + 1), r"words\.txt holds no words of at most"),
        ("a\0b\n", "line 1 holds a zero byte"),
    ],
)
def test_damaged_files(tmp_path, content, text):
    path = tmp_path / "words.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=text):
        read_lexicon(path)


def test_errors(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such file"):
        read_lexicon(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError, match="line 2 is not utf-8"):
        read_lexicon(tmp_path / "latin.txt")
    for counts, text in (
        ({"": 1}, "'' is no word"),
        ({"a b": 1}, "'a b' is no word"),
        ({"a\u3000": 1}, "is no word"),
        ({"a\0b": 1}, "is no word"),
        ({"x" * (LONGEST + 1): 1}, "there are no words of at most"),
        ({"a": -1}, "the count of 'a' is -1"),
        ({}, "there are no words"),
    ):
        with pytest.raises(DataError, match=text):
            Lexicon(counts)
    with pytest.raises(DataError, match="a token has not one character"):
        Lexicon({"a": 1}).places(["ab"], 2)
