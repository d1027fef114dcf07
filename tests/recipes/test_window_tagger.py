"""Feed-forward taggers through their recipes: the course's and SENNA's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.data import TaggedSentence, TaggedSet
from dlkit.models import SentenceTagger, WindowTagger
from dlkit.recipes import get, tagging
from dlkit.recipes.card import CardError
from dlkit.recipes.predictor import PredictorError
from dlkit.recipes.settings import SettingsError
from dlkit.recipes.tagger_predictor import load_tagger

SMALL = {
    **{"dimensions": 16, "hidden": 24, "batch_size": 32, "lr": 0.01, "epochs": 1, "progress": False},
    **{"dropout": 0.1},
}
SENNA = {"discrete_dimensions": 4}
SENTENCE = {**SENNA, "approach": "sentence", "filters": 24, "reach": 3}


def chunks(rng):
    """Noun phrases and verb phrases; a verb's form tells nothing, its part of speech does."""
    words = {"DT": ["the", "a"], "NN": ["duck", "Watch", "park"], "VB": ["duck", "watch", "park"]}
    for _ in range(150):
        pos = ["DT", "NN", "VB", *(["DT", "NN"] if rng.random() < 0.7 else ["NN"])]
        tokens = [words[each][rng.integers(len(words[each]))] for each in pos]
        tags = ["B-NP", "I-NP", "B-VP", "B-NP", *["I-NP"] * (len(pos) - 4)]
        yield TaggedSentence(tokens, tags, pos)


@pytest.fixture
def small(monkeypatch):
    found = list(chunks(np.random.default_rng(0)))
    parts = found[20:], found[:10], found[10:20]
    sets = {
        "ewt": TaggedSet(
            "ewt", "tokens", *(tuple(TaggedSentence(s.tokens, s.pos) for s in part) for part in parts), "here"
        ),
        "conll2000": TaggedSet("conll2000", "chunks", *parts, "here"),
    }
    monkeypatch.setattr(tagging, "load_tagged", sets.__getitem__)
    return sets


def run(name, folder, **settings):
    return get(name).run(run_dir=folder, **{**SMALL, **settings})


@pytest.mark.parametrize(
    ("name", "settings", "kind"),
    [
        ("window-tagger", {}, WindowTagger),
        ("senna", SENNA, WindowTagger),
        ("senna", SENTENCE, SentenceTagger),
    ],
)
def test_learns_and_is_asked(tmp_path, small, name, settings, kind):
    metrics = run(name, tmp_path, data="ewt", epochs=8, batch_size=8, **settings).metrics
    assert metrics["test_accuracy"] > 0.95
    for file in ("loss.png", "confusion.png", "report.txt", "mistakes.txt", "features.json", "model.json"):
        assert (tmp_path / file).is_file(), file
    assert json.loads((tmp_path / "result.json").read_text())["recipe"] == name
    predictor = load_tagger(tmp_path)
    assert type(predictor.model) is kind
    assert list(predictor.features.discrete) == (
        [] if name == "window-tagger" else ["capitals", "suffix-2", "suffix-3"]
    )
    (tagged,) = predictor.predict(["the duck watch a Watch"])
    assert tagged.tags == ["DT", "NN", "VB", "DT", "NN"]
    assert ((tagged.confidence > 0) & (tagged.confidence <= 1)).all()


def test_chunks_with_parts_of_speech(tmp_path, small):
    metrics = run("senna", tmp_path, data="conll2000", epochs=8, batch_size=8, **SENNA).metrics
    assert metrics["test_f1"] > 0.95
    if metrics["seqeval_f1"] is not None:
        assert metrics["seqeval_f1"] == pytest.approx(metrics["test_f1"])
    predictor = load_tagger(tmp_path)
    assert predictor.cutting == "pos"
    (tagged,) = predictor.predict(["the_DT duck_NN watch_VB a_DT park_NN"])
    assert tagged.tokens == ["the", "duck", "watch", "a", "park"]
    assert predictor.spans(tagged) == ["NP: the duck", "VP: watch", "NP: a park"]
    for wrong in ("the_DT duck", "_NN", "duck_"):
        with pytest.raises(PredictorError, match="has no part of speech, expected word_TAG"):
            predictor.predict([wrong])


def test_without_parts_of_speech_a_plain_text_is_asked(tmp_path, small):
    run("senna", tmp_path, data="conll2000", pos=False, **SENNA)
    predictor = load_tagger(tmp_path)
    assert "pos" not in predictor.features.discrete
    assert predictor.predict(["the duck, a park"])[0].tokens == ["the", "duck", ",", "a", "park"]


def test_the_recurrent_tagger_reads_parts_of_speech(tmp_path, small):
    settings = {
        "character_dimensions": 4,
        "character_features": 6,
        "discrete_dimensions": 4,
        "suffixes": True,
    }
    metrics = run("tagger", tmp_path, data="conll2000", epochs=4, batch_size=8, **settings).metrics
    assert metrics["test_f1"] > 0.9
    assert list(load_tagger(tmp_path).features.discrete) == ["suffix-2", "suffix-3", "pos"]


def test_same_seed_same_bits_resumed_or_not(tmp_path, small):
    def weights(folder, **more):
        settings = {**SENTENCE, "data": "conll2000", "schedule": "constant", **more}
        return (run("senna", tmp_path / folder, **settings).folder / "model.safetensors").read_bytes()

    whole = weights("a", epochs=2)
    assert weights("b", epochs=1) != whole
    assert weights("b", epochs=2, resume=True) == whole


def test_a_run_stopped_within_an_epoch_goes_on(tmp_path, small, interrupted):
    def made(folder, **more):
        return run("senna", tmp_path / folder, data="conll2000", batch_size=16, **SENNA, **more).folder

    whole = made("a") / "model.safetensors"
    interrupted(tagging, "TaggerTrainer", 5, lambda: made("b"))
    assert (made("b", resume=True) / "model.safetensors").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("window-tagger", {"window": 4}, "window is 4, expected an odd number"),
        ("window-tagger", {"approach": "sentence"}, "unknown setting 'approach'"),
        ("senna", {"approach": "sentences"}, "approach is 'sentences', expected one of window, sentence"),
        ("senna", {"activation": "gelu"}, "activation is 'gelu'"),
        ("senna", {"reach": 0}, "reach"),
        ("senna", {"approach": "sentence", "device": "simt"}, "device is simt.*expected cpu"),
    ],
)
def test_bad_settings(tmp_path, name, settings, text):
    with pytest.raises((SettingsError, ValueError), match=text):
        run(name, tmp_path, **settings)


def test_damaged_cards(tmp_path, small):
    run("senna", tmp_path, data="conll2000", **SENNA)
    card = json.loads((tmp_path / "model.json").read_text())
    for change, error, text in (
        ({"model": "Tagger"}, CardError, "model, arguments, task or cutting are not those of a tagger"),
        ({"model": ["WindowTagger"]}, CardError, "are not those of a tagger"),
        ({"model": "SentenceTagger"}, PredictorError, "does not fit model.json"),
        (
            {"arguments": {**card["arguments"], "discrete": [2]}},
            CardError,
            "discrete do not fit features.json",
        ),
        ({"arguments": {**card["arguments"], "window": 1 << 30}}, PredictorError, "describes a model of"),
    ):
        (tmp_path / "model.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(error, match=text):
            load_tagger(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["window-tagger", "senna"])
def test_reaches_what_it_must(tmp_path, name):
    result = get(name).run(progress=False, run_dir=tmp_path)
    assert result.target.reached(result.metrics)
