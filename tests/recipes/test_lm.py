"""Language models through their recipe, and what is asked of them afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dlkit.data import DataError, load_corpus
from dlkit.recipes import get, lm
from dlkit.recipes.card import CardError
from dlkit.recipes.language_figures import surprise_lines
from dlkit.recipes.language_predictor import load_language_model
from dlkit.recipes.predictor import PredictorError
from dlkit.recipes.settings import SettingsError

pytest.importorskip("pydoc_data.topics")

SMALL = {"dimensions": 16, "hidden": 16, "batch_size": 64, "progress": False}


def run(folder, **settings):
    return get("lm").run(run_dir=folder, **{**SMALL, "epochs": 1, **settings})


def test_learns_and_leaves_a_run_folder(tmp_path):
    result = run(tmp_path / "run", epochs=2, lr=0.01)
    metrics = result.metrics
    assert 20 < metrics["test_perplexity"] < 700  # of 2800 words
    assert metrics["test_perplexity"] == pytest.approx(np.exp(metrics["test_loss"]))
    for name in ("loss.png", "surprise.png", "sample.txt", "model.json", "model.safetensors", "result.json"):
        assert (result.folder / name).is_file(), name
    predictor = load_language_model(result.folder)
    assert predictor.model.surprises(load_corpus("topics").test).mean() == pytest.approx(metrics["test_loss"])


@pytest.mark.parametrize(
    ("cell", "softmax", "tied"),
    [
        ("lstm", "full", False),
        ("gru", "adaptive", False),
        ("tanh", "sampled", False),
        ("lstm", "adaptive", True),
    ],
    ids=str,
)
def test_same_seed_same_bits_resumed_or_not(tmp_path, cell, softmax, tied):
    def weights(name, **settings):
        settings = {
            "cell": cell,
            "softmax": softmax,
            "tied": tied,
            "cutoffs": (300, 1000),
            "samples": 200,
            **settings,
        }
        folder = run(tmp_path / name, dropout=0.2, recurrent_dropout=0.2, **settings).folder
        surprise = load_language_model(folder).surprise("the value of the expression")
        assert np.isfinite(surprise.bits).all()
        return (folder / "model.safetensors").read_bytes()

    whole = weights("a", epochs=2)
    assert weights("b", epochs=1) != whole
    assert weights("b", epochs=2, resume=True) == whole


def test_a_run_stopped_within_an_epoch_goes_on_with_its_state(tmp_path, interrupted):
    whole = run(tmp_path / "a").folder / "model.safetensors"
    interrupted(lm, "LanguageTrainer", 5, lambda: run(tmp_path / "b"))
    again = run(tmp_path / "b", resume=True).folder / "model.safetensors"
    assert again.read_bytes() == whole.read_bytes()


def test_characters(tmp_path):
    result = run(tmp_path, units="characters", batch_size=128, steps=20)
    assert result.metrics["test_bits"] < 4.5
    predictor = load_language_model(tmp_path)
    surprise = predictor.surprise("the list")
    assert surprise.tokens == [*"the list", "\n"]
    assert len(predictor.go_on("the ", 30)) == 30


@pytest.mark.parametrize(
    ("units", "words"), [("words", {"the", "cat", "<eos>", "<unk>"}), ("characters", {*"the ca\n", "<unk>"})]
)
def test_a_text_of_ones_own(tmp_path, units, words):
    path = tmp_path / "own.txt"
    lines = ["the cat"] * 240
    lines[5] = "the dog"
    path.write_text("\n".join(lines))
    result = run(tmp_path / "run", corpus=str(path), units=units, min_count=100, batch_size=8)
    assert result.target is None
    assert json.loads((tmp_path / "run" / "result.json").read_text())["data"] == "own.txt"
    assert set(load_language_model(tmp_path / "run").words) == words
    with pytest.raises(
        DataError, match=r"min_count is 999, expected at most \d+: no .* of own\.txt is there"
    ):
        run(tmp_path / "other", corpus=str(path), units=units, min_count=999)
    path.write_text("one line")
    with pytest.raises(DataError, match=r"own\.txt: 1 lines with words; expected at least 20"):
        run(tmp_path / "other", corpus=str(path), units=units)
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        run(tmp_path / "other", corpus=str(tmp_path / "nowhere.txt"))
    assert not (tmp_path / "other").exists()


def test_asked_afterwards(tmp_path):
    run(tmp_path)
    predictor = load_language_model(tmp_path)
    surprise = predictor.surprise("the value zyzzyva")
    assert surprise.tokens == ["the", "value", "zyzzyva", "<eos>"]
    assert surprise.known == [True, True, False, True]
    assert surprise.perplexity == pytest.approx(2 ** surprise.bits.mean())
    assert predictor.go_on("the value", 12, seed=3) == predictor.go_on("the value", 12, seed=3)
    assert "<unk>" not in predictor.go_on("the", 60)


def test_settings_that_do_not_fit(tmp_path):
    with pytest.raises(SettingsError, match="tied is set but dimensions is 16 and hidden 8"):
        run(tmp_path, tied=True, hidden=8)
    with pytest.raises(SettingsError, match=r"cutoffs is none, expected integers of at least 1, .*512$"):
        run(tmp_path, softmax="adaptive", cutoffs="none")
    with pytest.raises(SettingsError, match=r"cutoffs is 9,4, expected each above the one before"):
        run(tmp_path, softmax="adaptive", cutoffs=(9, 4))
    with pytest.raises(SettingsError, match=r"cutoffs is 5000, expected at least one below the 2\d+ words"):
        run(tmp_path / "none", softmax="adaptive", cutoffs=(5000,))
    with pytest.raises(SettingsError, match=r"samples is 3000, expected at most the 2\d+ words of topics"):
        run(tmp_path / "none", softmax="sampled", samples=3000)
    with pytest.raises(SettingsError, match=r"batch_size is 9999999, expected fewer than the \d+ words"):
        run(tmp_path / "none", batch_size=9_999_999)
    assert not (tmp_path / "none").exists()
    with pytest.raises(SettingsError, match="cell"):
        run(tmp_path, cell="lstmm")


def test_damaged_runs_are_refused(tmp_path):
    folder = run(tmp_path / "run").folder
    card = json.loads((folder / "model.json").read_text())
    narrow = {"softmax": "adaptive", "cutoffs": [9, 99]}
    for changed, kind, message in (
        ({"words": card["words"][:-1]}, CardError, "do not fit"),
        ({"arguments": {}}, CardError, "not those of a language model"),
        ({"units": "letters"}, CardError, "do not fit"),
        ({"words": [1, 2]}, CardError, "no list of texts"),
        ({"arguments": {**card["arguments"], "hidden": 8}}, PredictorError, "does not fit"),
        ({"arguments": {**card["arguments"], "hidden": 1 << 40}}, PredictorError, "describes a model of"),
        ({"arguments": {**card["arguments"], "layers": 1 << 60}}, PredictorError, "describes a model of"),
        (
            {"arguments": {**card["arguments"], **narrow, "div_value": 1.0}},
            PredictorError,
            "does not fit",
        ),
        (
            {"arguments": {**card["arguments"], **narrow, "div_value": 0}},
            PredictorError,
            "div_value is 0; expected",
        ),
    ):
        (folder / "model.json").write_text(json.dumps({**card, **changed}))
        with pytest.raises(kind, match=message):
            load_language_model(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(CardError, match="is not JSON"):
        load_language_model(folder)
    with pytest.raises(PredictorError, match="has no run in it"):
        load_language_model(tmp_path)


RNN = {"cell": "tanh", "layers": 1, "dimensions": 300, "hidden": 300}


@pytest.mark.parametrize(
    ("settings", "at_most"),
    [
        ({}, 130),
        ({"epochs": 3, "dropout": 0.1}, 130),
        ({"cell": "gru"}, None),
        ({"hidden": 64}, None),
        ({"units": "characters"}, None),
        ({"min_count": 2}, None),
        ({"data": "ptb"}, 115),
        ({"data": "ptb", "preset": "small"}, 115),
        ({"data": "ptb", "preset": "small", "cell": "gru"}, None),
        ({"data": "ptb", "preset": "small", "layers": 1}, None),
        ({"data": "ptb", "cell": "tanh"}, None),
        ({"data": "ptb", **RNN, "optimizer": "adam", "lr": 2e-3}, 125),
        ({"data": "ptb", **RNN, "cell": "relu"}, None),
        ({"data": "ptb", "preset": "medium"}, 84),
        ({"data": "ptb", "preset": "medium", "tied": True, "epochs": 13}, 84),
        ({"data": "ptb", "preset": "medium", "cell": "tanh"}, None),
        ({"data": "ptb", "preset": "medium", "hidden": 200}, None),
        ({"data": "wikitext2", "softmax": "adaptive"}, 150),
        ({"data": "wikitext2", "preset": "medium"}, None),
        ({"data": "wikitext2", **RNN}, None),
    ],
    ids=str,
)
def test_each_network_is_judged_by_its_own_target(settings, at_most):
    target = lm.target_of(get("lm").settings(**settings))
    assert (target.at_most if target else None) == at_most


def test_the_targets_are_those_that_results_are_held_to():
    """What ``make reproduce-lm`` measured on the Penn Treebank, and what its table says must be reached."""
    path = Path(__file__).parents[2] / "bench" / "results" / "reproduce-lm.json"
    rows = [row for row in json.loads(path.read_text())["rows"] if row["data"] == "ptb"]
    assert {row["name"] for row in rows} >= {"small", "rnn", "medium-tied"}
    for row in rows:
        target = lm.target_of(get("lm").settings(**row["settings"]))
        assert (target.at_most if target else 0) == row["at_most"], row["name"]


def test_surprise_is_drawn_for_every_word(tmp_path):
    with pytest.raises(ValueError, match="2 words and 3 numbers"):
        surprise_lines(["a", "b"], np.zeros(3), tmp_path / "x.png", title="")
    assert surprise_lines(["a", "<eos>", "$b"], np.ones(3), tmp_path / "x.png", title="t").is_file()
