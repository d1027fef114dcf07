"""Taggers through their recipe, and what is asked of them afterwards."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from dlkit.data import DataError, TaggedSentence, TaggedSet, load_tagged, write_word_vectors
from dlkit.data.lexicon import read_lexicon
from dlkit.data.segmentation import characters_of, words_from
from dlkit.recipes import get, tagging
from dlkit.recipes.card import CardError
from dlkit.recipes.predictor import PredictorError
from dlkit.recipes.settings import SettingsError
from dlkit.recipes.tagger_predictor import load_tagger
from dlkit.recipes.tagger_scores import scores_of

SMALL = {
    **{"dimensions": 16, "hidden": 16, "character_dimensions": 6, "character_features": 8, "batch_size": 32},
    **{"lr": 0.01, "epochs": 1, "progress": False, "dropout": 0.2},
}


@functools.cache
def lines():
    found = load_tagged("python")
    return TaggedSet("python", "tokens", found.train[:600], found.validation[:60], found.test[:60], "here")


def made(name, task, pairs):
    sentences = [TaggedSentence(*pair) for pair in pairs]
    return TaggedSet(name, task, sentences[20:], sentences[:10], sentences[10:20], "made here")


def names(rng):
    """Sentences with two kinds of names, each after a word that tells which."""
    for _ in range(150):
        tokens, tags = ["so"], ["O"]
        for _ in range(rng.integers(1, 4)):
            kind = ("in", "loc") if rng.random() < 0.5 else ("mr", "per")
            length = int(rng.integers(1, 3))
            tokens += [kind[0], *(f"N{i}" for i in rng.integers(0, 9, length))]
            tags += ["O", f"B-{kind[1]}", *[f"I-{kind[1]}"] * (length - 1)]
        yield tokens, tags


KINDS = {"甲": "NOUN", "乙丙": "VERB", "丁": "NOUN", "戊己庚": "VERB", "辛壬": "NOUN"}


def words(rng):
    known = list(KINDS)
    for _ in range(150):
        yield characters_of([known[i] for i in rng.integers(0, 5, rng.integers(2, 9))])


def with_kinds(sentence):
    found = words_from(sentence.tokens, sentence.tags)
    return TaggedSentence(*characters_of(found, [KINDS[word] for word in found]))


@pytest.fixture
def small(monkeypatch):
    rng = np.random.default_rng(0)
    sets = {
        "python": lines(),
        "wnut17": made("wnut17", "entities", names(rng)),
        "gsd-segmentation": made("gsd-segmentation", "segmentation", words(rng)),
    }
    plain = sets["gsd-segmentation"]
    parts = [[with_kinds(s) for s in part] for part in (plain.train, plain.validation, plain.test)]
    sets["joint"] = TaggedSet("gsd-segmentation", "segmentation", *parts, "made here")
    monkeypatch.setattr(tagging, "load_tagged", lambda name, joint=False: sets["joint" if joint else name])
    return sets


def run(folder, **settings):
    return get("tagger").run(run_dir=folder, **{**SMALL, **settings})


def test_learns_and_leaves_a_run_folder(tmp_path, small):
    result = run(tmp_path, epochs=5, batch_size=16)
    metrics = result.metrics
    assert metrics["test_accuracy"] > 0.7
    assert metrics["val_accuracy"] > 0.7
    assert metrics["test_tokens"] == sum(len(s.tokens) for s in lines().test)
    for name in ("loss.png", "confusion.png", "report.txt", "mistakes.txt", "features.json", "model.json"):
        assert (tmp_path / name).is_file(), name
    assert "operator" in (tmp_path / "report.txt").read_text()
    predictor = load_tagger(tmp_path)
    test = lines().test
    predictor.cutting = "spaces"
    found = predictor.predict([" ".join(s.tokens) for s in test if not any(" " in t for t in s.tokens)])
    kept = [s for s in test if not any(" " in t for t in s.tokens)]
    share = scores_of("tokens", kept, [t.tags for t in found])["accuracy"]
    assert share == pytest.approx(metrics["test_accuracy"], abs=0.1)
    assert all(((t.confidence >= 0) & (t.confidence <= 1)).all() for t in found)


def test_entities(tmp_path, small):
    result = run(tmp_path, data="wnut17", epochs=8, batch_size=8, characters="none", word_dropout=0.0)
    assert result.metrics["test_f1"] > 0.9
    history = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"val_f1", "val_precision", "val_recall", "val_accuracy"} <= set(history[-1])
    if result.metrics["seqeval_f1"] is not None:
        assert result.metrics["seqeval_f1"] == pytest.approx(result.metrics["test_f1"])
    predictor = load_tagger(tmp_path)
    (tagged,) = predictor.predict(["so in N1 N2 mr N3"])
    assert predictor.spans(tagged) == ["loc: N1 N2", "per: N3"]


@pytest.mark.parametrize("output", ["softmax", "crf"])
def test_segmentation(tmp_path, small, output):
    chinese = {
        "data": "gsd-segmentation",
        "joint": False,
        "own_words": False,
        "batch_size": 32,
        "average": 0.0,
    }
    result = run(tmp_path, **chinese, epochs=6, output=output, bigram_dimensions=8)
    assert result.metrics["test_f1"] > 0.95
    predictor = load_tagger(tmp_path)
    (tagged,) = predictor.predict(["甲乙丙 戊己庚"])
    assert predictor.spans(tagged) == ["甲", "乙丙", "戊己庚"]


def test_words_and_their_kinds(tmp_path, small):
    chinese = {"data": "gsd-segmentation", "epochs": 8, "batch_size": 8, "bigram_dimensions": 8}
    metrics = run(tmp_path, joint=True, **chinese).metrics
    assert metrics["test_f1"] > 0.95
    assert 0.95 < metrics["test_joint_f1"] <= metrics["test_f1"]
    predictor = load_tagger(tmp_path)
    (tagged,) = predictor.predict(["甲乙丙 戊己庚"])
    assert predictor.spans(tagged) == ["甲_NOUN", "乙丙_VERB", "戊己庚_VERB"]


def test_a_lexicon(tmp_path, small):
    path = tmp_path / "words.txt"
    path.write_text("乙丙 5\n戊己庚\n辛壬 2 n\n")
    found = run(
        tmp_path / "a",
        **{"data": "gsd-segmentation", "joint": False, "own_words": False, "epochs": 8, "batch_size": 8},
        **{"lexicon": str(path), "word_dropout": 1e9, "bigrams": False},
    )
    # In training all characters are unknown: the list is what is left.
    assert found.metrics["test_f1"] > 0.95
    path.unlink()  # the run has its own
    predictor = load_tagger(tmp_path / "a")
    (tagged,) = predictor.predict(["甲乙丙戊己庚丁"])
    assert predictor.spans(tagged) == ["甲", "乙丙", "戊己庚", "丁"]
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "b", data="gsd-segmentation", lexicon=str(path))
    with pytest.raises(SettingsError, match="lexicon is x, but wnut17 is no text of characters"):
        run(tmp_path / "b", data="wnut17", lexicon="x")
    assert not (tmp_path / "b").exists()


def test_words_of_the_training_sentences(tmp_path, small):
    chinese = {"data": "gsd-segmentation", "joint": False, "epochs": 8, "batch_size": 8}
    path = tmp_path / "words.txt"
    path.write_text("乙丙 5\n子丑\n")
    found = run(tmp_path / "a", **chinese, lexicon=str(path), own_words=True, word_dropout=1e9, bigrams=False)
    assert found.metrics["test_f1"] > 0.95
    kept = read_lexicon(tmp_path / "a" / "lexicon.txt").counts
    assert list(kept)[:2] == ["乙丙", "子丑"]
    assert set(kept) == {*KINDS, "子丑"}
    assert kept["乙丙"] == 5
    assert kept["戊己庚"] > 100
    with pytest.raises(SettingsError, match="own_words is True, but wnut17 is no text of characters"):
        run(tmp_path / "b", data="wnut17", own_words=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "gru", "output": "crf", "average": 0.9},
        {"characters": "lstm", "recurrent_dropout": 0.2, "layers": 2},
    ],
)
def test_same_seed_same_bits_resumed_or_not(tmp_path, small, settings):
    def weights(name, **more):
        folder = run(tmp_path / name, schedule="constant", **settings, **more).folder
        return (folder / "model.safetensors").read_bytes()

    whole = weights("a", epochs=2)
    assert weights("b", epochs=1) != whole
    assert weights("b", epochs=2, resume=True) == whole


def test_a_run_stopped_within_an_epoch_goes_on(tmp_path, small, interrupted):
    whole = run(tmp_path / "a").folder / "model.safetensors"
    interrupted(tagging, "TaggerTrainer", 5, lambda: run(tmp_path / "b"))
    again = run(tmp_path / "b", resume=True).folder / "model.safetensors"
    assert again.read_bytes() == whole.read_bytes()


def test_vectors_from_a_file(tmp_path, small):
    path = tmp_path / "vectors.txt"
    found = ["so", "in", "mr", "n0", "zebra"]
    write_word_vectors(path, found, np.eye(5, 7, dtype=np.float32))
    run(tmp_path / "a", data="wnut17", vectors=str(path))
    assert json.loads((tmp_path / "a" / "model.json").read_text())["arguments"]["dimensions"] == 7
    write_word_vectors(path, ["zebra"], np.ones((1, 7), np.float32))
    with pytest.raises(SettingsError, match="has none of the words"):
        run(tmp_path / "b", data="wnut17", vectors=str(path))
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "c", vectors=str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"data": "ewd"}, "data is 'ewd', expected one of"),
        ({"output": "svm"}, "output"),
        ({"cell": "lstn"}, "cell"),
        ({"patience": 2, "average": 0.9}, "patience and average are both given"),
        ({"characters": "lstm", "character_features": 5}, "expected an even number"),
        ({"dropout": 1.0}, "dropout"),
        ({"joint": True}, "joint is true, but python has no parts of speech of words of characters"),
        ({"joint": True, "corpus": "x"}, "joint is true, but task is auto, expected segmentation"),
        ({"device": "gpu"}, "device is 'gpu'"),
    ],
)
def test_bad_settings(tmp_path, settings, text):
    with pytest.raises(SettingsError, match=text):
        run(tmp_path, **settings)


def test_damaged_runs(tmp_path, small):
    with pytest.raises(PredictorError, match="has no run in it"):
        load_tagger(tmp_path)
    run(tmp_path, data="wnut17")
    with pytest.raises(ValueError, match="predict: device is 'gpu'"):
        load_tagger(tmp_path, "gpu")
    predictor = load_tagger(tmp_path)
    with pytest.raises(PredictorError, match="no sentence"):
        predictor.predict([])
    with pytest.raises(PredictorError, match="holds no tokens"):
        predictor.predict(["a", "  "])
    card = json.loads((tmp_path / "model.json").read_text())
    for change, error, text in (
        ({"task": "x"}, CardError, "not those of a tagger"),
        ({"arguments": {**card["arguments"], "words": 3}}, CardError, "words do not fit features.json"),
        ({"arguments": {**card["arguments"], "hidden": 9}}, PredictorError, "does not fit model.json"),
        ({"arguments": {**card["arguments"], "hidden": 1 << 40}}, PredictorError, "describes a model of"),
        ({"arguments": {**card["arguments"], "hiden": 9}}, PredictorError, "does not fit model.json"),
    ):
        (tmp_path / "model.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(error, match=text):
            load_tagger(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(card))
    (tmp_path / "features.json").write_text("{")
    with pytest.raises(CardError, match="is not JSON"):
        load_tagger(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(PredictorError, match="its training has not ended"):
        load_tagger(tmp_path)


@pytest.mark.slow
def test_reaches_what_it_must():
    for data in ("python",):
        result = get("tagger").run(data=data, progress=False)
        assert result.target.reached(result.metrics)


def test_sentences_of_ones_own(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "own.txt"
    path.write_text(
        "".join("".join(f"{t}\t{g}\n" for t, g in zip(*one, strict=True)) + "\n" for one in names(rng))
    )
    result = get("tagger").run(run_dir=tmp_path / "run", corpus=str(path), **SMALL)
    assert result.target is None
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["data"] == "own.txt"
    assert "test_f1" in written  # taken for entities, as all tags are of IOB2
    (tagged,) = load_tagger(tmp_path / "run").predict(["so in N1"])
    assert tagged.tags[0] == "O"
    assert get("tagger").settings(corpus=str(path)).hidden == 128  # not what the lines of Python have
    with pytest.raises(SettingsError, match="task is entities but corpus is not given"):
        get("tagger").run(run_dir=tmp_path / "other", task="entities", **SMALL)
    with pytest.raises(SettingsError, match="task is 'words'"):
        get("tagger").run(run_dir=tmp_path / "other", corpus=str(path), task="words", **SMALL)
    assert not (tmp_path / "other").exists()
