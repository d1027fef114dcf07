"""python/dlkit/models/word2vec.py: from a text to vectors."""

from __future__ import annotations

import gzip
from inspect import signature
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


def test_new_words_have_bounds(sentences: list[list[str]]) -> None:
    model = make(sentences, min_count=1, max_final_vocab=18)
    more = [[f"new{i}"] * (i + 1) for i in range(10)]
    model.build_vocab(more, update=True)
    assert sorted(set(model.wv.index_to_key) - set(" ".join(TOPICS).split())) == ["new7", "new8", "new9"]


def test_saved_under_a_name_with_an_ending(sentences: list[list[str]], tmp_path: Path) -> None:
    model = make(sentences, epochs=1)
    for name in ("word2vec.model", "v1.2"):
        model.save(tmp_path / name)
        assert (Word2Vec.load(tmp_path / name).wv.vectors == model.wv.vectors).all()
        assert sorted(file.name for file in (tmp_path / name).iterdir()) == [
            "training.safetensors",
            "vectors.safetensors",
            "word2vec.json",
        ]
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"file is a file; expected a folder"):
        model.save(file)
    assert file.read_text() == "mine"
    with pytest.raises(
        NotADirectoryError, match=r"load: .*file is a file; expected the folder that `save` made"
    ):
        Word2Vec.load(file)
    with pytest.raises(ValueError, match="save: path is empty; expected the name of a folder"):
        model.save("")


def test_saving_that_fails_leaves_what_was_there(
    sentences: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(sentences, epochs=1)
    model.save(tmp_path)
    before = model.wv.vectors.copy()
    model.train()

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dlkit.models.word2vec.save_safetensors", full)
        with pytest.raises(OSError, match="no space left"):
            model.save(tmp_path)
    assert (Word2Vec.load(tmp_path).wv.vectors == before).all()
    assert len(list(tmp_path.iterdir())) == 3


def test_files_of_two_models_are_not_one(sentences: list[list[str]], tmp_path: Path) -> None:
    make(sentences, epochs=1, seed=1).save(tmp_path / "one")
    make(sentences, epochs=1, seed=2).save(tmp_path / "two")
    (tmp_path / "two" / "training.safetensors").replace(tmp_path / "one" / "training.safetensors")
    with pytest.raises(ValueError, match=r"its vectors are not those that training\.safetensors belongs to"):
        Word2Vec.load(tmp_path / "one")


def test_interrupted_saved_loaded_and_gone_on_with(sentences: list[list[str]], tmp_path: Path) -> None:
    long = sentences * 5
    whole = make(long, epochs=2)

    def stop(now: TrainingProgress) -> None:
        if now.words:
            raise KeyboardInterrupt

    part = make(epochs=2, progress=stop)
    part.build_vocab(long)
    with pytest.raises(KeyboardInterrupt):
        part.train()
    part.save(tmp_path)
    again = Word2Vec.load(tmp_path, workers=1)
    assert again.trainer.position == part.trainer.position
    again.train(long, start=again.trainer.position)
    assert (again.wv.vectors == whole.wv.vectors).all()
    assert [report.epoch for report in again.reports] == [report.epoch for report in whole.reports]


def test_programs_written_for_gensim(sentences: list[list[str]]) -> None:
    whole = make(sentences)
    model = make(compute_loss=True, sorted_vocab=1, batch_words=500, comment="mine")
    model.build_vocab(corpus_iterable=sentences, progress_per=100)
    model.train(
        corpus_iterable=sentences,
        total_examples=model.corpus_count,
        epochs=model.epochs,
        compute_loss=True,
        report_delay=1.0,
    )
    assert (model.wv.vectors == whole.wv.vectors).all()
    assert (model.vector_size, model.window, model.alpha) == (16, 3, 0.05)
    assert (model.corpus_count, model.corpus_total_words) == (900, 7200)


def test_arguments_of_gensim_are_known() -> None:
    """Each argument of gensim's three methods is taken, or refused for what it asks."""
    gensim = pytest.importorskip("gensim.models", reason="gensim is not installed")
    from dlkit.models.gensim_arguments import _CHANGE_NOTHING

    for name, ours, theirs in (
        ("Word2Vec", Word2Vec, gensim.Word2Vec.__init__),
        ("build_vocab", Word2Vec.build_vocab, gensim.Word2Vec.build_vocab),
        ("train", Word2Vec.train, gensim.Word2Vec.train),
    ):
        known = {*signature(ours).parameters, *_CHANGE_NOTHING[name], "self", "corpus_iterable", "kwargs"}
        assert set(signature(theirs).parameters) - known == set()


@pytest.mark.parametrize("sample", [0, 1e-2, 1, 20, 300.0])
def test_subsampling_is_gensims(sample: float, rng: np.random.Generator) -> None:
    """The share of each word that stays, a share of the text or, from 1 on, a count."""
    gensim = pytest.importorskip("gensim.models", reason="gensim is not installed")
    words = [f"w{i}" for i in np.minimum(rng.geometric(0.08, 40000) - 1, 40)]
    text = [words[i : i + 20] for i in range(0, len(words), 20)]
    other = gensim.Word2Vec(min_count=1, sample=sample)
    other.build_vocab(text)
    model = Word2Vec(text, min_count=1, sample=sample, epochs=4, vector_size=8)
    share = np.array([other.wv.get_vecattr(w, "sample_int") / 2**32 for w in other.wv.index_to_key])
    share = np.minimum(share, 1)
    counts = np.array([other.wv.get_vecattr(w, "count") for w in other.wv.index_to_key])
    expected, spread = 4 * counts @ share, np.sqrt(4 * counts @ (share * (1 - share)))
    assert abs(sum(report.kept for report in model.reports) - expected) <= 5 * spread + 1e-4 * expected


def test_words_that_are_no_utf8(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"caf\xe9 sun\n" * 9)
    with pytest.raises(
        DataError, match=r"line 1 has a word that is no UTF-8 \(errors='replace' or 'ignore' reads on\)"
    ):
        make(text)
    assert sorted(make(text, errors="replace").wv.index_to_key) == ["caf\ufffd", "sun"]
    assert sorted(make(text, errors="ignore", folder=tmp_path).wv.index_to_key) == ["caf", "sun"]
    assert make(text, errors="ignore", max_sentence=1).corpus_count == 18


def test_reading_has_progress(sentences: list[list[str]]) -> None:
    seen: list[tuple[str, int, int]] = []
    make(sentences, reading_progress=lambda *how: seen.append(how))
    assert {what for what, *_ in seen} == {"count", "encode"}
    assert all(done == total > 0 for _, done, total in (seen[-1], seen[-2]))


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
        # Without a text, too: before anything is read.
        ({"workers": 0}, ValueError, "workers is 0"),
        ({"epochs": -1}, ValueError, "epochs is -1"),
        ({"alpha": "x"}, TypeError, "alpha is 'x'; expected a number"),
        ({"min_alpha": -1}, ValueError, "min_alpha is -1"),
        ({"min_count": -3}, DataError, "Word2Vec: min_count is -3"),
        ({"max_vocab_size": 0}, DataError, "Word2Vec: max_vocab_size is 0"),
        ({"max_final_vocab": 1.5}, DataError, "Word2Vec: max_final_vocab is 1.5"),
        (
            {"errors": "none"},
            DataError,
            "Word2Vec: errors is 'none', expected 'strict', 'replace' or 'ignore'",
        ),
        ({"max_sentence": 0}, DataError, "Word2Vec: max_sentence is 0"),
        ({"callbacks": 5}, TypeError, "callbacks is a int; expected a list of callables"),
        (
            {"sentences": [["a"]], "folder": "/nowhere"},
            DataError,
            "made in /nowhere: No such file .* by folder or",
        ),
        ({"callbacks": [5]}, TypeError, "callbacks has a int; expected what can be called"),
        ({"trim_rule": len}, ValueError, "trim_rule is .*; expected None: gensim's others are not there"),
        ({"vector_sise": 5}, TypeError, r"no argument 'vector_sise' \(did you mean 'vector_size'\?\)"),
        ({"comments": 5}, TypeError, r"no argument 'comments' \(did you mean 'comment'\?\)"),
    ],
    ids=str,
)
def test_errors(given: dict[str, Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        Word2Vec(**given)


def test_errors_of_methods(sentences: list[list[str]]) -> None:
    class Callback:
        def on_epoch_end(self, model: Any) -> None: ...

    model = make(sentences, epochs=1)
    with pytest.raises(TypeError, match=r"train: callbacks has a Callback.*callback\.on_epoch_end\(model\)"):
        model.train(sentences, callbacks=[Callback()])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="train: word_count is 5; expected 0"):
        model.train(sentences, word_count=5)
    with pytest.raises(TypeError, match="build_vocab: there is no argument 'updates'"):
        model.build_vocab(sentences, updates=True)
    with pytest.raises(DataError, match="train: no word of the text is in the vocabulary"):
        model.train([["never", "seen"]])
    with pytest.raises(ValueError, match="epochs is -1"):
        model.train("/nowhere.txt", epochs=-1)  # before the text is asked for
    with pytest.raises(AttributeError, match="Word2Vec has no attribute 'vectors'"):
        model.vectors
    assert len(model.reports) == 1


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
