"""python/dlkit/models/word2vec.py: from a text to vectors."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.data import DataError
from dlkit.models.word2vec import Word2Vec
from dlkit.models.word2vec_trainer import EpochReport, TrainingProgress

TOPICS = ("star sun moon light sky", "bread milk butter cheese salt", "king queen throne crown castle")


@pytest.fixture
def sentences(rng: np.random.Generator) -> list[list[str]]:
    found = []
    for _ in range(900):
        words = TOPICS[rng.integers(len(TOPICS))].split()
        found.append([words[i] for i in np.minimum(rng.geometric(0.35, 8) - 1, 4)])
    return found


def make(sentences: Any = None, **settings: Any) -> Word2Vec:
    return Word2Vec(
        sentences, **{"vector_size": 16, "sample": 0, "workers": 1, "alpha": 0.05, "window": 3, **settings}
    )


@pytest.mark.parametrize("settings", [{"sg": 1}, {}, {"sg": 1, "hs": 1, "negative": 0}], ids=str)
def test_words_of_a_topic_are_near(settings: dict[str, Any], sentences: list[list[str]]) -> None:
    model = make(sentences, **settings, epochs=8)
    assert len(model.wv) == 15
    assert model.wv["sun"].shape == (16,)
    assert model.wv.vectors.dtype == np.float32
    for topic in TOPICS:
        words = topic.split()
        assert {word for word, _ in model.wv.most_similar(words[0], topn=4)} == set(words[1:])
    assert [report.epoch for report in model.reports] == list(range(8))
    assert model.reports[-1].loss < model.reports[0].loss


def test_sources_are_alike(sentences: list[list[str]], tmp_path: Path) -> None:
    text = "\n".join(map(" ".join, sentences)) + "\n"
    plain, packed = tmp_path / "text.txt", tmp_path / "text.txt.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    expected = make(sentences).wv
    for model in (make(plain), make(str(plain)), make(corpus_file=packed), make(iter(sentences))):
        assert model.wv.index_to_key == expected.index_to_key
        assert (model.wv.vectors == expected.vectors).all()


def test_in_steps(sentences: list[list[str]]) -> None:
    """What the constructor does, by hand; and training that goes on gives the same bits."""
    whole = make(sentences, epochs=4)
    model = make()
    with pytest.raises(ValueError, match="there is no vocabulary; expected a call of build_vocab first"):
        len(model.wv)
    with pytest.raises(ValueError, match="train: there is no vocabulary"):
        model.train()
    model.build_vocab(sentences)
    before = model.wv.vectors.copy()
    model.train(epochs=4)
    assert (model.wv.vectors == whole.wv.vectors).all()
    assert (model.wv.vectors != before).any()
    model.train([*sentences[:10], ["never", "seen"]], epochs=1, start_alpha=0.01, end_alpha=0.01)
    assert model.reports[-1].words == 80
    assert "never" not in model.wv


def test_saved_and_loaded(sentences: list[list[str]], tmp_path: Path) -> None:
    whole = make(sentences, epochs=3, hs=1)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(model: Word2Vec, report: EpochReport) -> None:
        if report.epoch == 1:
            model.save(tmp_path / "model")
            raise Stopped

    with pytest.raises(Stopped):
        make(sentences, epochs=3, hs=1, callbacks=[stop])
    again = Word2Vec.load(tmp_path / "model", workers=1)
    assert again.settings == whole.settings
    again.train(sentences, first_epoch=2)
    assert (again.wv.vectors == whole.wv.vectors).all()
    assert (again.outputs == whole.outputs).all()
    assert (again.nodes == whole.nodes).all()


def test_new_words(sentences: list[list[str]], rng: np.random.Generator) -> None:
    model = make(sentences, hs=1)
    before = {word: model.wv[word].copy() for word in model.wv.index_to_key}
    outputs = dict(zip(model.wv.index_to_key, np.array(model.outputs), strict=True))
    more = rng.choice([*TOPICS[0].split(), "comet", "comet"], (600, 8)).tolist()
    with pytest.raises(ValueError, match="there is a vocabulary already; expected update=True"):
        model.build_vocab(more)
    model.build_vocab(more, update=True)
    assert model.wv.index_to_key[0] in ("star", "comet")
    for i, word in enumerate(model.wv.index_to_key):
        if word != "comet":
            assert (model.wv[word] == before[word]).all()
            assert (np.array(model.outputs)[i] == outputs[word]).all()
    model.train(epochs=5)
    near, far = (np.mean([model.wv.similarity("comet", word) for word in t.split()]) for t in TOPICS[:2])
    assert near > far + 0.3


def test_progress_and_callbacks(sentences: list[list[str]]) -> None:
    seen: list[TrainingProgress] = []
    reports: list[EpochReport] = []
    vectors: list[Any] = []

    def after(model: Word2Vec, report: EpochReport) -> None:
        reports.append(report)
        vectors.append(model.wv.vectors.copy())

    model = make(sentences, epochs=2, progress=seen.append, callbacks=[after])
    assert reports == model.reports
    assert (vectors[0] != vectors[1]).any()
    assert (vectors[1] == model.wv.vectors).all()
    assert seen[-1].words == seen[-1].total == sum(map(len, sentences))


def test_deterministic(sentences: list[list[str]]) -> None:
    one, two = (make(sentences, workers=workers, deterministic=True) for workers in (1, 2))
    assert (one.wv.vectors == two.wv.vectors).all()


def test_beside_gensim(sentences: list[list[str]]) -> None:
    """The same settings give vectors as good: topics are as far apart, within what seeds do."""
    gensim = pytest.importorskip("gensim.models", reason="gensim is not installed")

    def separation(vectors: Any, words: list[str]) -> float:
        topics = np.array([next(i for i, t in enumerate(TOPICS) if w in t.split()) for w in words])
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines, same = unit @ unit.T, topics[:, None] == topics
        return float(cosines[same & ~np.eye(len(words), dtype=bool)].mean() - cosines[~same].mean())

    settings = {"vector_size": 16, "sample": 0, "alpha": 0.05, "window": 3, "min_count": 5, "epochs": 10}
    ours, theirs = [], []
    for seed in (1, 2, 3):
        model = dl.Word2Vec(sentences, sg=1, seed=seed, workers=1, **settings)
        other = gensim.Word2Vec(sentences, sg=1, seed=seed, workers=1, **settings).wv
        ours.append(separation(model.wv.vectors, model.wv.index_to_key))
        theirs.append(separation(other.vectors, other.index_to_key))
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.1


@pytest.mark.parametrize("settings", [{"sg": 1}, {}, {"hs": 1, "negative": 0}], ids=str)
def test_sentences_of_one_word_and_vocabularies_of_one(settings: dict[str, Any]) -> None:
    """A word without others around it has nothing to learn from; one that has only itself stays finite."""
    alone = Word2Vec([["a"], ["b"], []] * 9, vector_size=4, sample=0, workers=2, **settings)
    before = Word2Vec(vector_size=4, **settings)
    before.build_vocab([["a"], ["b"]] * 9)
    assert (alone.wv.vectors == before.wv.vectors).all()
    assert [report.kept for report in alone.reports] == [report.words for report in alone.reports]
    assert np.isnan(alone.reports[-1].loss)
    one = Word2Vec([["a", "a", "a"]] * 9, vector_size=4, sample=0, workers=2, **settings)
    assert len(one.wv) == 1
    assert np.isfinite(one.wv.vectors).all()


@pytest.mark.parametrize(
    ("given", "kind", "match"),
    [
        ({"sentences": [["a"]], "corpus_file": "b"}, ValueError, "sentences and corpus_file are both given"),
        ({"sentences": 5}, TypeError, "sentences is a int; expected a path or lists of words"),
        ({"sentences": []}, DataError, "holds no words"),
        ({"sentences": [["a", "b"]]}, DataError, "no word is left by min_count=5"),
        ({"corpus_file": "/nowhere.txt"}, DataError, "nowhere.txt"),
        ({"sentences": [["a"]], "vector_size": 0}, ValueError, "vector_size is 0"),
        ({"sentences": [["a"]], "negative": 0}, ValueError, "negative is 0 and hs is false"),
        ({"sentences": [["a"] * 9], "workers": 0}, ValueError, "workers is 0"),
    ],
    ids=str,
)
def test_errors(given: dict[str, Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        Word2Vec(**given)


def test_damaged_folders(sentences: list[list[str]], tmp_path: Path) -> None:
    make(sentences, epochs=1).save(tmp_path / "model")
    settings = tmp_path / "model" / "word2vec.json"
    text = settings.read_text()
    for damaged in ("", "[]", "{}", text.replace('"window"', '"windw"'), text.replace("16", '"16"')):
        settings.write_text(damaged)
        with pytest.raises(ValueError, match="no model's settings"):
            Word2Vec.load(tmp_path / "model")
    settings.write_text(text.replace(": 16", ": 17"))
    with pytest.raises(ValueError, match=r"vectors is \(15, 16\); expected \(15, 17\)"):
        Word2Vec.load(tmp_path / "model")
    with pytest.raises(OSError, match="nowhere"):
        Word2Vec.load(tmp_path / "nowhere")
