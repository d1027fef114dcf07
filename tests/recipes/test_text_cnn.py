from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.data import load_text, write_word_vectors
from dlkit.nn import load_safetensors
from dlkit.recipes import get
from dlkit.recipes.settings import SettingsError
from dlkit.recipes.text_predictor import load_text_predictor
from dlkit.train import RunFolderError

SMALL = {
    "epochs": 2,
    "dimensions": 12,
    "filters": 6,
    "optimizer": "adam",
    "lr": 0.01,
    "progress": False,
}


def run(folder, **settings):
    return get("text-cnn").run(run_dir=folder, **{**SMALL, **settings})


def test_learns_and_leaves_a_run_folder(tmp_path):
    result = run(tmp_path / "run", epochs=4, dimensions=24, filters=16)
    assert result.metrics["test_accuracy"] > 0.55  # the largest chapter has 29 %
    for name in (
        *("loss.png", "confusion.png", "ngrams.png", "saliency.png", "ngrams.json", "vocabulary.json"),
        *("model.json", "model.safetensors", "result.json", "predictions.json"),
    ):
        assert (result.folder / name).is_file(), name
    predictor = load_text_predictor(result.folder)
    data = load_text("topics")
    rows = data.split().test
    answers = predictor.predict_words([data.sentences[row] for row in rows]).classes
    assert np.mean(answers == data.labels[rows]) == pytest.approx(result.metrics["test_accuracy"])
    filters = json.loads((result.folder / "ngrams.json").read_text())
    assert len(filters) == 3 * 16
    assert all(len(ngram["words"]) <= one["region"] for one in filters for ngram in one["ngrams"])


def test_same_seed_same_bits_resumed_or_not(tmp_path):
    def weights(name, **settings):
        folder = run(tmp_path / name, pictures=False, word_dropout=0.1, **settings).folder
        return (folder / "model.safetensors").read_bytes()

    whole = weights("a", epochs=2)
    assert weights("b", epochs=1) != whole
    assert weights("b", epochs=2, resume=True) == whole
    assert weights("c", epochs=2, seed=1) != whole


def test_every_setting_of_the_sweep(tmp_path):
    for number, changes in enumerate(
        ({"regions": (2,)}, {"activation": "tanh"}, {"k": 3}, {"dropout": 0.0}, {"max_norm": 0.0})
    ):
        run(tmp_path / str(number), epochs=1, pictures=number == 2, **changes)


@pytest.mark.parametrize("mode", ["static", "non-static", "multichannel"])
def test_word_vectors_from_a_file(mode, tmp_path):
    words = ["the", "is", "statement", "neverseen"]
    table = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)
    path = write_word_vectors(tmp_path / "vectors.bin", words, table, binary=True)
    result = run(tmp_path / "run", vectors=str(path), mode=mode, pictures=False, epochs=1)
    state = load_safetensors(result.folder / "model.safetensors")
    vocabulary = load_text_predictor(result.folder).vocabulary
    row = vocabulary.number("statement")
    kept = state["embedding.weight" if mode == "static" else "fixed.weight"] if mode != "non-static" else None
    if kept is not None:
        np.testing.assert_array_equal(kept[row], table[2])
    if mode != "static":
        assert not np.array_equal(state["embedding.weight"][row], table[2])
    assert state["embedding.weight"].shape[1] == 7
    assert "neverseen" not in vocabulary


def test_word_vectors_without_a_known_word(tmp_path):
    path = write_word_vectors(tmp_path / "v.txt", ["qqqq"], np.ones((1, 3)))
    with pytest.raises(SettingsError, match="it has none of the"):
        run(tmp_path / "run", vectors=str(path), mode="static")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mode": "static"}, "mode is static but vectors is none"),
        ({"vectors": "x"}, "vectors is given but mode is random"),
        ({"fold": 10}, "fold is 10 but folds is 10"),
        ({"fold": 1, "cross_validate": True}, "both given"),
        ({"regions": ()}, "regions is none"),
        ({"cross_validate": True}, "topics has an official split"),
        ({"data": "mrr"}, "did you mean 'mr'"),
    ],
)
def test_wrong_settings(settings, text, tmp_path):
    with pytest.raises(SettingsError, match=text):
        run(tmp_path / "run", **settings)


def test_cross_validation(tmp_path, data_folder):
    settings = {
        "data": "cr",
        "cross_validate": True,
        "folds": 2,
        "patience": 0,
        "epochs": 1,
        "pictures": False,
    }
    result = run(tmp_path / "run", **settings)
    assert len(result.metrics["fold_accuracies"]) == 2
    assert result.metrics["test_samples"] == 3771
    assert (result.folder / "folds.png").is_file()
    assert load_text_predictor(result.folder).predict(["it works well"]).classes.shape == (1,)
    # Nothing is left to do: the folds that are there are taken as they are.
    again = run(tmp_path / "run", resume=True, **settings)
    assert again.metrics["fold_accuracies"] == result.metrics["fold_accuracies"]
    with pytest.raises(RunFolderError):
        run(tmp_path / "run", **settings)
    run(tmp_path / "run", overwrite=True, **settings)


@pytest.mark.slow
def test_reaches_its_target_on_topics(tmp_path):
    result = get("text-cnn").run(run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics


@pytest.mark.slow
def test_reaches_its_target_on_trec(tmp_path, data_folder):
    result = get("text-cnn").run(data="trec", run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics
