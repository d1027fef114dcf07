import json

import numpy as np
import pytest

import dlkit as dl
from dlkit.data import Vocabulary
from dlkit.models import TextCNN
from dlkit.nn import save_safetensors
from dlkit.recipes.predictor import PredictorError
from dlkit.recipes.text_card import TextCard
from dlkit.recipes.text_predictor import TextPredictor, load_text_predictor

WORDS = Vocabulary(["good", "bad", "film", "a"])
ARGUMENTS = {"words": 6, "classes": 2, "dimensions": 3, "regions": [1, 2], "filters": 2, "k": 1}


def made():
    """A model that says the second class where a film is good, the first where it is bad."""
    dl.manual_seed(0)
    model = TextCNN(**ARGUMENTS)
    for parameter in model.parameters():
        parameter.data[...] = 0
    model.embedding.weight.data[2, 0] = model.embedding.weight.data[3, 1] = 1
    model.convs[0].weight.data[0, 0, 0] = model.convs[0].weight.data[1, 1, 0] = 1
    model.output.weight.data[1, 0] = model.output.weight.data[0, 1] = 2
    return model


@pytest.fixture
def folder(tmp_path):
    card = TextCard(ARGUMENTS, ["bad", "good"])
    (tmp_path / "model.json").write_text(json.dumps(card.as_dict()))
    WORDS.save(tmp_path / "vocabulary.json")
    save_safetensors(made(), tmp_path / "model.safetensors")
    return tmp_path


def test_predict(folder):
    predictor = load_text_predictor(folder)
    answer = predictor.predict(["A good film!", "a bad film", "zzz", ""])
    assert answer.classes[:2].tolist() == [1, 0]
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(answer.probabilities[2:], 0.5)
    assert answer.margins[0] == pytest.approx(2)
    for wrong, text in (([], "at least one"), ("good", "a list"), ([3], "sentence 0 is a int")):
        with pytest.raises(PredictorError, match=text):
            predictor.predict(wrong)


def test_saliency_points_at_the_word_that_decides(folder):
    predictor = load_text_predictor(folder)
    values = predictor.saliency(["a", "good", "film"])
    assert values.shape == (3,)
    assert values.argmax() == 1
    assert values[1] > 0
    against = predictor.saliency(["a", "good", "film"], label=0)
    np.testing.assert_allclose(against, -values)
    assert predictor.saliency([]).shape == (0,)


def test_ngrams(folder):
    predictor = load_text_predictor(folder)
    ngrams = predictor.ngrams([["a", "good", "film"], ["bad"], []], most=2)
    assert [len(group) for group in ngrams] == [2, 2]
    assert ngrams[0][0][0].words == ("good",)
    assert ngrams[0][0][0].answer == pytest.approx(1)
    assert ngrams[0][1][0].words == ("bad",)
    assert ngrams[0][1][0].sentence == 1


def test_damaged_folders(folder):
    card = json.loads((folder / "model.json").read_text())
    card["arguments"]["words"] = 1 << 25
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(PredictorError, match="has 6 words"):
        load_text_predictor(folder)
    card["arguments"]["words"] = 6
    card["arguments"]["filters"] = 1 << 25
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(PredictorError, match="describes a model of"):
        load_text_predictor(folder)
    card["arguments"]["filters"] = 1
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(PredictorError, match="does not fit"):
        load_text_predictor(folder)
    (folder / "vocabulary.json").unlink()
    with pytest.raises(PredictorError, match=r"vocabulary\.json: no such file"):
        load_text_predictor(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(PredictorError, match="its training has not ended"):
        load_text_predictor(folder)
    (folder / "model.json").write_text("{}")
    with pytest.raises(PredictorError, match="not a card"):
        load_text_predictor(folder)


def test_made_by_hand():
    predictor = TextPredictor(made(), WORDS, TextCard(ARGUMENTS, ["bad", "good"]))
    assert predictor.words("A GOOD film.") == ["a", "good", "film"]
