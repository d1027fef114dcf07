from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit import nn
from dlkit.models import MLP, Perceptron
from dlkit.recipes.card import Card
from dlkit.recipes.predictor import Predictor, PredictorError, as_probabilities, load_predictor

ARGUMENTS = {"in_features": 4, "hidden": [6], "out_features": 3}


@pytest.fixture
def folder(tmp_path):
    model = MLP(**ARGUMENTS)
    nn.save_safetensors(model, tmp_path / "model.safetensors")
    card = Card("MLP", ARGUMENTS, ["a", "b", "c"], features=4)
    (tmp_path / "model.json").write_text(json.dumps(card.as_dict()))
    (tmp_path / "settings.json").write_text("{}")
    return tmp_path, model


def test_answers_as_the_model_does(folder):
    path, model = folder
    x = np.random.default_rng(0).standard_normal((700, 4)).astype(np.float32)
    answer = load_predictor(path).predict(x)
    from dlkit.autograd import Tensor

    logits = model.eval()(Tensor(x)).data
    np.testing.assert_array_equal(answer.classes, logits.argmax(axis=1))
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(answer.probabilities.argmax(axis=1), answer.classes)
    ordered = np.sort(logits, axis=1)
    np.testing.assert_allclose(answer.margins, ordered[:, -1] - ordered[:, -2], rtol=1e-4, atol=1e-6)


def test_binary_perceptron_has_a_margin_and_no_probability():
    model = Perceptron(2, 1)
    model.weight.data[...] = [[1, -1]]
    card = Card("Perceptron", {"in_features": 2, "out_features": 1}, ["0", "1"], 2, probabilities="none")
    answer = Predictor(model, card).predict(np.array([[3, 1], [0, 2]], np.float32))
    assert answer.classes.tolist() == [1, 0]
    assert answer.probabilities is None
    np.testing.assert_allclose(answer.margins, [2, 2])


@pytest.mark.parametrize("how", ["softmax", "sigmoid"])
def test_probabilities_sum_to_one(how):
    scores = np.array([[0, 1, 2], [-500, -500, -500], [300, -300, 0]], np.float32)
    probabilities = as_probabilities(scores, how)
    assert np.isfinite(probabilities).all()
    sums = probabilities.sum(axis=1)
    np.testing.assert_allclose(sums[[0, 2]], 1, rtol=1e-5)
    assert as_probabilities(scores, "none") is None


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 5)), r"x is \(2, 5\), expected \(N, 4\)"),
        (np.zeros(4), r"x is \(4,\)"),
        (np.zeros((0, 4)), r"x is \(0, 4\), expected \(N, 4\) with N > 0"),
        (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), "first in row 1"),
    ],
)
def test_wrong_samples(folder, x, message):
    with pytest.raises(PredictorError, match=message):
        load_predictor(folder[0]).predict(x)


def test_folders_without_a_model(tmp_path):
    with pytest.raises(PredictorError, match="does not exist"):
        load_predictor(tmp_path / "nothing")
    with pytest.raises(PredictorError, match="has no run in it"):
        load_predictor(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(PredictorError, match="is a file"):
        load_predictor(tmp_path / "file")
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(PredictorError, match=r"has no model\.json"):
        load_predictor(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(PredictorError, match=r"model\.json is not a model card of dlkit"):
        load_predictor(tmp_path)
    card = Card("MLP", ARGUMENTS, ["a", "b", "c"], features=4)
    (tmp_path / "model.json").write_text(json.dumps(card.as_dict()))
    with pytest.raises(PredictorError, match=r"has no model\.safetensors.*resume"):
        load_predictor(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(PredictorError):
        load_predictor(tmp_path)


def test_weights_cut_short(folder):
    path, _ = folder
    data = (path / "model.safetensors").read_bytes()
    for length in (0, 7, 20, len(data) // 2, len(data) - 1):
        (path / "model.safetensors").write_bytes(data[:length])
        with pytest.raises(PredictorError, match=r"model\.safetensors"):
            load_predictor(path)


def test_card_of_another_model(folder):
    path, _ = folder
    card = Card("MLP", {**ARGUMENTS, "hidden": [5]}, ["a", "b", "c"], features=4)
    (path / "model.json").write_text(json.dumps(card.as_dict()))
    with pytest.raises(PredictorError, match="does not fit"):
        load_predictor(path)


def test_card_that_asks_for_terabytes_is_refused_before_any_is_allocated(folder):
    path, _ = folder
    card = Card("MLP", {**ARGUMENTS, "hidden": [1 << 24, 1 << 24]}, ["a", "b", "c"], features=4)
    (path / "model.json").write_text(json.dumps(card.as_dict()))
    with pytest.raises(PredictorError, match="describes a model of"):
        load_predictor(path)
