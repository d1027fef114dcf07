from __future__ import annotations

import json

import pytest

from dlkit import models
from dlkit.recipes.card import Card, CardError, format_of, read_card

CARD = Card(
    "MLP",
    {"in_features": 4, "hidden": [3], "out_features": 2, "activation": "relu", "dropout": 0.1},
    ["no", "yes"],
    features=4,
    image_shape=(2, 2),
)


def written(tmp_path, **changes):
    path = tmp_path / "model.json"
    values = {**CARD.as_dict(), **changes}
    path.write_text(json.dumps({name: value for name, value in values.items() if value != "absent"}))
    return path


def test_round_trip(tmp_path):
    card = read_card(written(tmp_path))
    assert card == CARD
    assert isinstance(card.build(), models.MLP)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not a model card"),
        ({"model": "MPL"}, r"model is 'MPL', expected one of .*MLP.* \(did you mean 'MLP'\?\)"),
        ({"model": "__import__"}, "model is '__import__'"),
        ({"model": None}, "model is None"),
        ({"features": 5}, "image_shape"),
        ({"features": -1}, "features"),
        ({"features": "4"}, "features"),
        ({"features": 2**40}, "features"),
        ({"image_shape": [2]}, "image_shape"),
        ({"classes": []}, "classes"),
        ({"classes": [1, 2]}, "classes"),
        ({"scale": 0}, "scale"),
        ({"margin": 0.5}, "margin"),
        ({"probabilities": "maybe"}, "probabilities"),
        ({"arguments": [1]}, "arguments"),
        ({"arguments": {"in_features": {"a": 1}}}, "arguments"),
        ({"features": "absent"}, "features"),
        ({"extra": 1}, "unknown entries extra"),
    ],
)
def test_damaged_cards(tmp_path, changes, message):
    with pytest.raises(CardError, match=message):
        read_card(written(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00"])
def test_files_that_are_no_cards(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(CardError):
        read_card(path)


def test_missing_and_huge_files(tmp_path):
    with pytest.raises(CardError, match="no such file"):
        read_card(tmp_path / "model.json")
    (tmp_path / "model.json").write_bytes(b" " * ((1 << 26) + 1))
    with pytest.raises(CardError, match="expected at most"):
        read_card(tmp_path / "model.json")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"format": "dlkit-text-model-1"}', "dlkit-text-model-1"),
        (b'{"format": 3}', ""),
        (b"{}", ""),
        (b"[]", ""),
        (b"{", ""),
        (b"\xff\xfe", ""),
        (b"[" * 99_999, ""),
    ],
)
def test_format_of(tmp_path, content, expected):
    path = tmp_path / "model.json"
    assert format_of(path) == ""
    path.write_bytes(content)
    assert format_of(path) == expected


def test_arguments_that_make_no_model():
    with pytest.raises(CardError, match="do not make a MLP"):
        Card("MLP", {"in_features": 4, "colour": 3}, ["a"], 4).build()
    with pytest.raises(CardError, match="do not make a Perceptron"):
        Card("Perceptron", {"in_features": 0}, ["a"], 4).build()
