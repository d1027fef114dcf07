"""What a set of tagged sentences must be."""

from __future__ import annotations

import pytest

from dlkit.data import DataError, TaggedSentence, TaggedSet

GOOD = [TaggedSentence(["a", "b"], ["y", "x"]), TaggedSentence(["c"], ["y"])]


def test_tags_by_frequency():
    assert TaggedSet("mine", "tokens", GOOD, GOOD, GOOD, "here").tags == ["y", "x"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("mine", "words", GOOD, GOOD, GOOD), "task is 'words', expected one of tokens"),
        (("mine", "tokens", GOOD, [], GOOD), "validation has no sentences"),
        (("mine", "tokens", [TaggedSentence([], [])], GOOD, GOOD), "sentence 0 of train has 0 tokens"),
        (("mine", "tokens", GOOD, GOOD, [TaggedSentence(["a"], [])]), "1 tokens and 0 tags"),
        (("mine", "tokens", GOOD, GOOD, [TaggedSentence(["a"], ["x"], ["N"])]), "expected as many, or none"),
        (("mine", "tokens", [TaggedSentence(["a"], ["x"], ["N"])], GOOD, GOOD), "0 parts of speech"),
        (("mine", "tokens", [TaggedSentence(["a"], ["x"], ["N", "V"])], GOOD, GOOD), "2 parts of speech"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(DataError, match=text):
        TaggedSet(*arguments, source="here")
