"""How a text becomes tokens."""

from __future__ import annotations

import pytest

from dlkit.recipes.tagger_predictor import tokens_of


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Well-known: $3.50!", ["Well", "-", "known", ":", "$", "3.50", "!"]),
        ("I CAN'T", ["I", "CA", "N'T"]),
        ("Mail a.b@c.org, or http://x.y/z?q", ["Mail", "a.b@c.org", ",", "or", "http://x.y/z?q"]),
        ("the U.S. wait...", ["the", "U.S.", "wait", "..."]),
        ("don’t", ["do", "n’t"]),
        ("  ", []),
    ],
)
def test_english(text, tokens):
    assert tokens_of(text, "english") == tokens


def test_others():
    assert tokens_of("a b\tc", "characters") == ["a", "b", "c"]
    assert tokens_of("a b-c", "spaces") == ["a", "b-c"]
    assert tokens_of("x = f(1)", "python") == ["x", "=", "f", "(", "1", ")"]
