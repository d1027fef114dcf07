"""Words as tags of characters, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import DataError
from dlkit.data.segmentation import (
    TAGS,
    characters_of,
    has_kinds,
    kinds_from,
    may_end,
    may_follow,
    spans_of,
    words_from,
)


@given(st.lists(st.text(min_size=1, max_size=6), max_size=10))
def test_there_and_back(words):
    characters, tags = characters_of(words)
    assert "".join(characters) == "".join(words)
    assert words_from(characters, tags) == words
    sequence = [None, *tags]
    assert all(may_follow(a, b) for a, b in zip(sequence, tags, strict=False))
    assert not tags or may_end(tags[-1])
    assert not has_kinds(tags)
    assert kinds_from(tags) == [""] * len(words)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=6), st.sampled_from(["NOUN", "X-Y"])), max_size=10))
def test_there_and_back_with_kinds(pairs):
    words, kinds = [word for word, _ in pairs], [kind for _, kind in pairs]
    characters, tags = characters_of(words, kinds)
    assert words_from(characters, tags) == words
    assert kinds_from(tags) == kinds
    assert has_kinds(tags) == bool(pairs)
    assert [tag[0] for tag in tags] == characters_of(words)[1]
    sequence = [None, *tags]
    assert all(may_follow(a, b) for a, b in zip(sequence, tags, strict=False))
    assert not tags or may_end(tags[-1])


def test_a_word_is_of_one_kind():
    assert may_follow("B-N", "E-N")
    assert not may_follow("B-N", "E-V")
    assert not may_follow("M-N", "M-V")
    assert may_follow("E-N", "S-V")
    assert not may_follow(None, "M-N")
    assert may_follow(None, "B-N")
    assert not may_end("B-N")


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_any_tags_make_words(tags):
    text = "abcdefghijkl"[: len(tags)]
    assert "".join(words_from(text, tags)) == text


def test_spans():
    assert spans_of(["ab", "c"]) == [(0, 2), (2, 3)]


def test_errors():
    with pytest.raises(DataError, match="word 1 is empty"):
        characters_of(["a", ""])
    with pytest.raises(DataError, match="the kind of word 1 is empty"):
        characters_of(["a", "b"], ["N", ""])
    with pytest.raises(DataError, match="2 words but 1 kinds"):
        characters_of(["a", "b"], ["N"])
    with pytest.raises(DataError, match="2 characters but 1 tags"):
        words_from("ab", "S")
