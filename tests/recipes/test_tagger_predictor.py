"""How a text becomes tokens."""

from __future__ import annotations

import json

import pytest

from dlkit.recipes.tagger_predictor import is_tagger_card, tokens_of


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


def test_cards(tmp_path):
    path = tmp_path / "model.json"
    assert not is_tagger_card(path)
    for text, expected in (
        ("{", False),
        ("[]", False),
        (json.dumps({"format": "dlkit-sequence-tagger-1"}), True),
    ):
        path.write_text(text)
        assert is_tagger_card(path) is expected
