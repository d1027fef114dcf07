"""Columns of IOB2 tags, whole and corrupt, and the entities in them."""

from __future__ import annotations

import random

import pytest

from dlkit.data import DataError
from dlkit.data.iob import Entity, entities_of, may_follow, read_iob


def test_sentences():
    text = "New\tB-location\nYork\tI-location\n.\tO\n\n\t\n#tag\tO\n"
    first, second = read_iob(text.encode(), "a")
    assert first.words == ["New", "York", "."]
    assert first.tags == ["B-location", "I-location", "O"]
    assert second.words == ["#tag"]


def test_columns_and_comments():
    text = "# text = ab\n1\ta\tB-PER\t-\t-\n2\tb\tI-PER\t-\t-\n"
    (sentence,) = read_iob(text.encode(), "a", columns=5, word=1, tag=2, comments=True)
    assert sentence.words == ["a", "b"]
    with pytest.raises(DataError, match="a: line 1: 1 columns; expected 5"):
        read_iob(text.encode(), "a", columns=5, word=1, tag=2)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["a"], "line 1: 1 columns; expected 2"),
        (["a\tO", "b\tB-x\ty"], "line 2: 3 columns"),
        (["a\tPER"], "line 1: the tag is 'PER'; expected O, B-kind or I-kind"),
        (["a\tB-"], "line 1: the tag is 'B-'"),
        (["a\t"], "line 1: the tag is ''"),
        (["\tO", ""], "line 1: the token is empty"),
        (["a\tI-x"], "line 1: the tag is 'I-x' after 'O'"),
        (["a\tB-x", "b\tI-y"], "line 2: the tag is 'I-y' after 'B-x'"),
        (["a\tB-x", "", "b\tI-x"], "line 3: the tag is 'I-x' after 'O'"),
    ],
)
def test_corrupt_lines_are_named(lines, text):
    with pytest.raises(DataError, match=text):
        read_iob("\n".join([*lines, ""]).encode(), "a")


def test_bytes_that_are_no_text():
    with pytest.raises(DataError, match="a: line 1 is not utf-8"):
        read_iob(b"\xff\tO\n", "a")


def test_entities():
    assert entities_of([]) == entities_of(["O"]) == []
    assert entities_of(["B-a", "B-a", "I-a"]) == [Entity("a", 0, 1), Entity("a", 1, 3)]
    assert entities_of(["I-a", "I-b", "O", "I-b"]) == [
        Entity("a", 0, 1),
        Entity("b", 1, 2),
        Entity("b", 3, 4),
    ]


def test_entities_are_those_of_seqeval():
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling", reason="seqeval is not installed")
    rng = random.Random(0)
    tags = ["O", "B-a", "I-a", "B-b", "I-b"]
    for _ in range(300):
        sentence = [rng.choice(tags) for _ in range(rng.randint(1, 12))]
        theirs = [(kind, start, end + 1) for kind, start, end in seqeval.get_entities(sentence)]
        assert [tuple(e) for e in entities_of(sentence)] == theirs


def test_what_may_follow():
    assert may_follow("B-a", "I-a")
    assert may_follow("I-a", "I-a")
    assert may_follow(None, "B-a")
    assert may_follow("I-a", "O")
    for before in (None, "O", "B-b"):
        assert not may_follow(before, "I-a")


def test_parts_of_speech_and_spaces():
    (sentence,) = read_iob(b"He PRP B-NP\nran VBD B-VP\n", "a", columns=3, pos=1, tag=2, separator=" ")
    assert sentence.words == ["He", "ran"]
    assert sentence.pos == ["PRP", "VBD"]
    for line, text in (
        (b"He  B-NP\n", "the part of speech is empty"),
        (b"He\tPRP B-NP\n", "by single spaces"),
    ):
        with pytest.raises(DataError, match=f"a: line 1: .*{text}"):
            read_iob(line, "a", columns=3, pos=1, tag=2, separator=" ")
