"""Word vectors by ranking, through their recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.data import DataError
from dlkit.models import KeyedVectors
from dlkit.recipes import get, ranking_lm
from dlkit.recipes.settings import SettingsError

SMALL = {
    **{"dimensions": 8, "hidden": 12, "window": 5, "min_count": 1, "batch_size": 32, "lr": 0.01},
    **{"epochs": 2, "progress": False},
}
NOUNS, VERBS = ["frog", "toad", "newt"], ["eats", "sees", "finds"]


@pytest.fixture
def text(tmp_path):
    """Sentences in which nouns take each other's places, and verbs do."""
    rng = np.random.default_rng(0)
    path = tmp_path / "text.txt"
    pick = [[words[i] for i in rng.integers(0, 3, 400)] for words in (NOUNS, VERBS, NOUNS)]
    path.write_text("".join(f"the {a} {b} a {c} .\n" for a, b, c in zip(*pick, strict=True)))
    return path


def run(folder, **settings):
    return get("ranking-lm").run(run_dir=folder, **{**SMALL, **settings})


def test_learns_and_leaves_vectors(tmp_path, text):
    folder = tmp_path / "run"
    metrics = run(folder, corpus=str(text), epochs=8).metrics
    assert metrics["val_accuracy"] > 0.75  # a third of the words fits as well as the one that was there
    assert metrics["words"] == 9
    for name in ("loss.png", "neighbours.txt", "vectors.safetensors", "result.json", "model.safetensors"):
        assert (folder / name).is_file(), name
    wv = KeyedVectors.load(folder)
    assert set(wv.index_to_key) == {"the", "a", ".", *NOUNS, *VERBS}
    for words in (NOUNS, VERBS):
        assert {word for word, _ in wv.most_similar(words[0], topn=2)} == set(words[1:])


def test_knows_more_than_how_often_words_are(tmp_path):
    # Who goes by frequencies ranks half of the pairs right: "a" after "x" and "b" after "y" occur alike.
    lines = ["x a"] * 300 + ["y b"] * 300 + ["x x", "y y"] * 10
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{line}\n" for line in np.random.default_rng(0).permutation(lines)))
    metrics = run(tmp_path / "run", corpus=str(path), epochs=8).metrics
    assert metrics["val_accuracy"] > 0.9


def test_same_seed_same_bits_resumed_or_not(tmp_path, text):
    def weights(name, **more):
        folder = run(tmp_path / name, corpus=str(text), **more).folder
        return (folder / "model.safetensors").read_bytes(), (folder / "vectors.safetensors").read_bytes()

    whole = weights("a")
    assert weights("b") == whole
    assert weights("c", seed=1) != whole


def test_a_run_stopped_within_an_epoch_goes_on(tmp_path, text, interrupted):
    whole = run(tmp_path / "a", corpus=str(text)).folder / "model.safetensors"
    interrupted(ranking_lm, "RankingTrainer", 90, lambda: run(tmp_path / "b", corpus=str(text)))
    again = run(tmp_path / "b", corpus=str(text), resume=True).folder / "model.safetensors"
    assert again.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"window": 4}, SettingsError, "window is 4, expected an odd number"),
        ({"data": "text9"}, SettingsError, "data is 'text9'"),
        ({"lr": 0}, SettingsError, "lr"),
        ({"corpus": "/none/there.txt"}, DataError, "there is no such file"),
    ],
)
def test_bad_settings(tmp_path, settings, error, text):
    with pytest.raises(error, match=text):
        run(tmp_path, **settings)


def test_a_text_that_is_too_short(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("one\n")
    with pytest.raises(DataError, match="too few words"):
        run(tmp_path / "a", corpus=str(path))
    path.write_text("\n\n")
    with pytest.raises(DataError, match="holds no words"):
        run(tmp_path / "b", corpus=str(path))
    assert not (tmp_path / "a").exists()


def test_lines_of_a_language_model_s_text(monkeypatch):
    from dlkit.data.corpora import corpus_of

    words = ["a", "b", "<eos>", "<eos>", "c", "<eos>"]
    monkeypatch.setattr(ranking_lm, "load_corpus", lambda name: corpus_of(name, "words", words, words, words))
    settings = get("ranking-lm").settings(data="ptb")
    assert ranking_lm._source(settings) == ("ptb", [["a", "b"], ["c"]])


@pytest.mark.slow
def test_reaches_what_it_must(tmp_path):
    result = get("ranking-lm").run(progress=False, run_dir=tmp_path)
    assert result.target.reached(result.metrics)
    assert json.loads((tmp_path / "result.json").read_text())["recipe"] == "ranking-lm"
