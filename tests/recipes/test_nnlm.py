"""The feed-forward language model through its recipe, and what is asked of it afterwards."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.cli.app import run as command
from dlkit.data import DataError, load_corpus, write_word_vectors
from dlkit.models import KeyedVectors, NGramModel
from dlkit.recipes import get, nnlm
from dlkit.recipes.card import CardError
from dlkit.recipes.nnlm_predictor import load_feed_forward
from dlkit.recipes.predictor import PredictorError
from dlkit.recipes.settings import SettingsError

pytest.importorskip("pydoc_data.topics")

SMALL = {"dimensions": 8, "hidden": 8, "batch_size": 256, "lr": 0.01, "epochs": 1, "progress": False}


def run(folder, **settings):
    return get("nnlm").run(run_dir=folder, **{**SMALL, **settings})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("nnlm") / "run", epochs=3, hidden=16, dimensions=16, batch_size=128)


def test_learns_and_leaves_a_run_folder(finished):
    metrics = finished.metrics
    assert metrics["test_perplexity"] < metrics["ngram_test_perplexity"] < metrics["network_test_perplexity"]
    assert metrics["network_test_perplexity"] < 400  # of 2800 words
    assert 0 < metrics["weight"] < 1
    assert metrics["test_perplexity"] == pytest.approx(np.exp(metrics["test_loss"]))
    corpus = load_corpus("topics")
    assert metrics["test_tokens"] == len(corpus.test)
    lines = corpus.text(corpus.test).split("\n")[:-1]
    model = NGramModel.load(finished.folder / "model.ngram")
    assert model.order == 3
    assert model.perplexity(lines) == pytest.approx(metrics["ngram_test_perplexity"])
    for name in (
        *("loss.png", "surprise.png", "mixture.png", "sample.txt", "model.json", "model.safetensors"),
        *("vectors.safetensors", "model.ngram", "result.json", "metrics.jsonl", "settings.json"),
    ):
        assert (finished.folder / name).is_file(), name
    words = load_feed_forward(finished.folder).words
    vectors = KeyedVectors.load(finished.folder / "vectors.safetensors")
    assert vectors.index_to_key == words
    shown = dict(finished.lines)
    assert "3-grams with" in shown["of that"]


def test_the_predictor_is_the_mixture(finished):
    metrics, corpus = finished.metrics, load_corpus("topics")
    predictor = load_feed_forward(finished.folder)
    text = np.concatenate([corpus.numbers(["<eos>"]), corpus.test])
    assert predictor.model.surprises(text).mean() == pytest.approx(metrics["test_loss"])
    alone = predictor.model.network.surprises(text).mean()
    assert np.exp(alone) == pytest.approx(metrics["network_test_perplexity"])
    surprise = predictor.surprise("the value zyzzyva")
    assert surprise.tokens == ["the", "value", "zyzzyva", "<eos>"]
    assert surprise.known == [True, True, False, True]
    assert predictor.go_on("the value", 12, seed=3) == predictor.go_on("the value", 12, seed=3)
    assert "<unk>" not in predictor.go_on("the", 60)
    cool, hot = (predictor.go_on("the", 60, temperature=t) for t in (0.0, 3.0))
    assert len(set(cool.split())) < len(set(hot.split()))


def test_same_seed_same_bits_resumed_or_not(tmp_path):
    def left(name, **settings):
        folder = run(tmp_path / name, dropout=0.2, schedule="constant", **settings).folder
        return (folder / "model.safetensors").read_bytes(), (folder / "model.json").read_bytes()

    whole = left("a", epochs=2)
    assert left("b", epochs=1) != whole
    assert left("b", epochs=2, resume=True) == whole


def test_a_run_stopped_within_an_epoch_goes_on_to_the_same_bits(tmp_path, interrupted):
    whole = run(tmp_path / "a", dropout=0.2).folder
    interrupted(nnlm, "FeedForwardTrainer", 5, lambda: run(tmp_path / "b", dropout=0.2))
    with pytest.raises(PredictorError, match="its training has not ended"):
        load_feed_forward(tmp_path / "b")
    again = run(tmp_path / "b", dropout=0.2, resume=True).folder
    for name in ("model.safetensors", "model.json", "sample.txt"):
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name


def test_without_n_grams(tmp_path):
    result = run(tmp_path, ngram_order=0, direct=True, across=True, order=3, optimizer="sgd", lr=0.5)
    metrics = result.metrics
    assert metrics["weight"] is None
    assert metrics["ngram_test_perplexity"] is None
    assert metrics["test_perplexity"] == metrics["network_test_perplexity"]
    assert not (tmp_path / "mixture.png").exists()
    assert not (tmp_path / "model.ngram").exists()
    predictor = load_feed_forward(tmp_path)
    assert predictor.model.direct
    assert np.isfinite(predictor.surprise("the list").bits).all()


def test_a_text_of_ones_own(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("\n".join(["the cat is small", "the dog is large", "a cat sat", "", "zebra"] * 20))
    result = run(tmp_path / "run", corpus=str(path), min_count=17)
    assert result.target is None
    assert json.loads((tmp_path / "run" / "result.json").read_text())["data"] == "own.txt"
    # Held out are two lines of twenty, which end with "sat" and "zebra": 16 of either are left.
    words = {"<eos>", "<unk>", "the", "cat", "dog", "is", "small", "large"}
    assert set(load_feed_forward(tmp_path / "run").words) == words
    with pytest.raises(DataError, match=r"min_count is 99, expected at most 40: no word of own\.txt"):
        run(tmp_path / "other", corpus=str(path), min_count=99)
    path.write_text("\n".join(["a <s> b"] * 30))
    with pytest.raises(DataError, match=r"own\.txt: .*<s>"):
        run(tmp_path / "other", corpus=str(path))
    path.write_text("one line")
    with pytest.raises(DataError, match="1 lines with words; expected at least 20"):
        run(tmp_path / "other", corpus=str(path))
    assert not (tmp_path / "other").exists()


def test_rare_words_are_unknown(tmp_path):
    result = run(tmp_path, min_count=5)
    assert result.metrics["words"] < 1500
    assert "<unk>" in load_feed_forward(tmp_path).words


def test_vectors_to_begin_with(tmp_path):
    table = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    write_word_vectors(tmp_path / "v.txt", ["the", "value"], table)
    result = run(tmp_path / "run", vectors=str(tmp_path / "v.txt"), lr=1e-9, optimizer="sgd")
    vectors = KeyedVectors.load(result.folder / "vectors.safetensors")
    np.testing.assert_allclose(vectors["value"], table[1], atol=1e-6)
    write_word_vectors(tmp_path / "w.txt", ["zyzzyva"], table[:1])
    with pytest.raises(SettingsError, match=r"none of the words of topics"):
        run(tmp_path / "other", vectors=str(tmp_path / "w.txt"))
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "other", vectors=str(tmp_path / "none"))
    assert not (tmp_path / "other").exists()


def test_settings_that_do_not_fit(tmp_path):
    for settings in (
        *({"order": 1}, {"order": 65}, {"hidden": 0}, {"dropout": 1.0}, {"ngram_order": 13}, {"lr": 0}),
        *({"min_count": 0}, {"optimizer": "adagrad"}, {"data": "ptp"}, {"spread": -0.1}),
    ):
        with pytest.raises(SettingsError, match=next(iter(settings))):
            run(tmp_path / "none", **settings)
    assert not (tmp_path / "none").exists()


def test_damaged_runs_are_refused(finished, tmp_path):
    for name in ("model.json", "model.safetensors", "model.ngram", "settings.json"):
        (tmp_path / name).write_bytes((finished.folder / name).read_bytes())
    card = json.loads((tmp_path / "model.json").read_text())
    for changed, kind, message in (
        ({"words": card["words"][:-1]}, CardError, "do not fit"),
        ({"words": [1, 2]}, CardError, "no list of texts"),
        ({"arguments": {}}, CardError, "not those of a feed-forward"),
        ({"weight": 1.5}, CardError, "weight is 1.5, expected a number from 0 to 1"),
        ({"weight": "half"}, CardError, "weight is 'half'"),
        ({"arguments": {**card["arguments"], "hidden": 17}}, PredictorError, "describes a model of"),
        ({"arguments": {**card["arguments"], "hidden": 15}}, PredictorError, "does not fit"),
        ({"arguments": {**card["arguments"], "hidden": 1 << 60}}, PredictorError, "describes a model of"),
        ({"arguments": {**card["arguments"], "order": [5]}}, CardError, "not those of a feed-forward"),
        ({"arguments": {**card["arguments"], "end": 1 << 40}}, PredictorError, "end is"),
    ):
        (tmp_path / "model.json").write_text(json.dumps({**card, **changed}))
        with pytest.raises(kind, match=message):
            load_feed_forward(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(card))
    (tmp_path / "model.ngram").write_bytes((tmp_path / "model.ngram").read_bytes()[:-9])
    with pytest.raises(PredictorError, match=r"damaged|ends within"):
        load_feed_forward(tmp_path)
    (tmp_path / "model.ngram").unlink()
    with pytest.raises(PredictorError, match=r"model\.ngram"):
        load_feed_forward(tmp_path)


def test_from_the_command_line(finished, capsys):
    assert command(["predict", str(finished.folder), "the value zyzzyva"]) == 0
    shown = capsys.readouterr()
    assert "bits  value" in shown.out
    assert "not known, read as <unk>: zyzzyva" in shown.err
    assert command(["predict", str(finished.folder), "a list of values", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["tokens"] == ["a", "list", "of", "values", "<eos>"]
    assert command(["predict", str(finished.folder), "a list", "--invert"]) == 2
    assert command(["similar", str(finished.folder), "value"]) == 0
