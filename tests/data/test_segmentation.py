"""Words as tags of characters, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import DataError
from dlkit.data.segmentation import TAGS, characters_of, may_end, may_follow, spans_of, words_from


@given(st.lists(st.text(min_size=1, max_size=6), max_size=10))
def test_there_and_back(words):
    characters, tags = characters_of(words)
    assert "".join(characters) == "".join(words)
    assert words_from(characters, tags) == words
    sequence = [None, *tags]
    assert all(may_follow(a, b) for a, b in zip(sequence, tags, strict=False))
    assert not tags or may_end(tags[-1])


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_any_tags_make_words(tags):
    text = "abcdefghijkl"[: len(tags)]
    assert "".join(words_from(text, tags)) == text


def test_spans():
    assert spans_of(["ab", "c"]) == {(0, 2), (2, 3)}


def test_errors():
    with pytest.raises(DataError, match="word 1 is empty"):
        characters_of(["a", ""])
    with pytest.raises(DataError, match="2 characters but 1 tags"):
        words_from("ab", "S")
