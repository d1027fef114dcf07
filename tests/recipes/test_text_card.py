import json

import pytest

from dlkit.recipes.card import CardError
from dlkit.recipes.text_card import TextCard, read_text_card

ARGUMENTS = {"words": 5, "classes": 2, "dimensions": 3, "regions": [2], "filters": 4, "k": 1}


def test_there_and_back(tmp_path):
    card = TextCard(ARGUMENTS, ["bad", "good"], lower=False)
    (tmp_path / "model.json").write_text(json.dumps(card.as_dict()))
    assert read_text_card(tmp_path / "model.json") == card
    assert card.build().classes == 2
    assert card.weights() == 5 * 3 + 2 * 3 * 4
    assert card.words_of("It's NASA.") == ["It", "'s", "NASA"]
    assert TextCard(ARGUMENTS, ["a", "b"], treebank=True).words_of("It's a FILM.") == [
        "it",
        "'s",
        "a",
        "film",
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"arguments": None}, "arguments"),
        ({"arguments": {**ARGUMENTS, "words": 0}}, "positive integers"),
        ({"arguments": {**ARGUMENTS, "words": 1 << 40}}, "positive integers"),
        ({"arguments": {**ARGUMENTS, "regions": []}}, "regions is"),
        ({"arguments": {**ARGUMENTS, "regions": [True]}}, "regions is"),
        ({"classes": ["a"]}, "classes is not a list of 2"),
        ({"classes": ["a", 3]}, "no name"),
        ({"lower": 1}, "true or false"),
        ({"format": "other"}, "not a card of a text model"),
    ],
)
def test_damaged_cards(changes, text, tmp_path):
    values = {**TextCard(ARGUMENTS, ["a", "b"]).as_dict(), **changes}
    (tmp_path / "model.json").write_text(json.dumps(values))
    with pytest.raises(CardError, match=text):
        read_text_card(tmp_path / "model.json")


def test_arguments_of_no_model():
    with pytest.raises(CardError, match="do not make a TextCNN"):
        TextCard({**ARGUMENTS, "strange": 1}, ["a", "b"]).build()
