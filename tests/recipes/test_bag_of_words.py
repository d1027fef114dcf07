"""One-hot vectors and bags of words through their recipe, and `dlkit predict` afterwards."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit import kernels
from dlkit.cli.app import run as command
from dlkit.data import DataError, SparseRows
from dlkit.models import KeyedVectors, UnknownWordError
from dlkit.recipes import Result, get
from dlkit.recipes.bag_of_words import mean_vectors, memory, parse_pairs, parse_sentences, size_of
from dlkit.recipes.bag_predictor import load_bag_predictor
from dlkit.recipes.predictor import PredictorError
from dlkit.recipes.settings import SettingsError
from dlkit.train import RunFolderError

pytest.importorskip("pydoc_data.topics")
pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    yield
    kernels.set_num_threads(before)


def run(folder: Path, **settings: Any) -> Result:
    return get("bag-of-words").run(run_dir=folder, progress=False, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(tmp_path_factory.mktemp("bags") / "run")


def test_one_hot_vectors_say_nothing_and_word_vectors_do(finished: Result) -> None:
    assert finished.target is not None
    assert finished.target.reached(finished.metrics)
    for name in ("likeness.png", "sentences.png", "words.png", "loss.png", "confusion.png", "table.txt"):
        assert (finished.folder / name).stat().st_size > 0, name
    pairs = finished.metrics["pairs"]
    assert len(pairs) == 9
    assert all(pair["one_hot"] == 0 for pair in pairs)
    alike, others = ([pair["vectors"] for pair in some] for some in (pairs[:6], pairs[6:]))
    assert min(alike) > max(others)
    sentences = finished.metrics["sentences"]
    assert [pair["counts"] == pair["tf_idf"] == 0 for pair in sentences] == [True, True, True, False]
    assert all(bool(pair["shared"]) == (pair["counts"] > 0) for pair in sentences)
    assert min(pair["mean_vectors"] for pair in sentences[:2]) > sentences[2]["mean_vectors"]
    assert sentences[3]["tf_idf"] < sentences[3]["counts"]
    accuracy = finished.metrics["accuracy"]
    assert accuracy["tf-idf"] == finished.metrics["test_accuracy"] > accuracy["mean of vectors"] > 0.4
    assert "left, right" in (finished.folder / "table.txt").read_text()


def test_predict(finished: Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["predict", str(finished.folder), "the debugger stops at a breakpoint", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["label"] == "debugger"
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert command(["predict", str(finished.folder), "zzzz qqqq"]) == 0
    assert "no word of row 0 is known" in capsys.readouterr().err
    assert command(["predict", str(finished.folder), "a b", "--invert"]) == 2
    assert command(["predict", str(finished.folder), "a b", "--device", "simt"]) == 1
    predictor = load_bag_predictor(finished.folder)
    long = predictor.predict(["the debugger"] * 600)
    assert (long.classes == long.classes[0]).all()
    for wrong in ([], "text", [3]):
        with pytest.raises(PredictorError, match="predict: "):
            predictor.predict(wrong)


def test_damaged_cards(finished: Result, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    card = json.loads((folder / "model.json").read_text())
    for change in (
        {"classes": "text"},
        {"classes": ["one"]},
        {"weighting": "none"},
        {"documents": -1},
        {"documents": 1},
        {"document_counts": [1]},
        {"document_counts": ["x"] * len(card["document_counts"])},
        {"lower": 1},
        {"classes": [*card["classes"], "more"]},
    ):
        (folder / "model.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(PredictorError):
            load_bag_predictor(folder)
    (folder / "model.json").write_text(json.dumps(card))
    (folder / "vocabulary.json").write_text('{"format": "dlkit-vocabulary-1", "words": ["a"]}')
    with pytest.raises(PredictorError):
        load_bag_predictor(folder)


def test_resumed_to_the_same_bits(tmp_path: Path, finished: Result) -> None:
    small = {"vector_epochs": 1, "vector_size": 8, "weighting": "counts"}
    whole = run(tmp_path / "whole", epochs=4, **small)
    run(tmp_path / "part", epochs=2, **small)
    part = run(tmp_path / "part", epochs=4, resume=True, **small)
    for name in ("model.safetensors", "table.txt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
    assert part.metrics["accuracy"] == whole.metrics["accuracy"]
    assert set(whole.metrics["accuracy"]) == {"counts", "tf-idf", "mean of vectors"}
    with pytest.raises(RunFolderError, match="made with other settings"):
        run(finished.folder, resume=True, weighting="binary")


def test_a_text_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "mine.txt.gz"
    text.write_bytes(gzip.compress(b"the cat sat on the mat\nthe dog lay on a rug\nthe cat lay here\n" * 60))
    result = run(
        tmp_path / "run",
        corpus=str(text),
        vector_epochs=3,
        vector_size=8,
        pairs="cat dog, cat cat",
        sentences="the cat sat here | a dog",
    )
    assert result.target is None
    assert "test_accuracy" not in result.metrics
    assert [pair["one_hot"] for pair in result.metrics["pairs"]] == [0, 1]
    assert result.metrics["pairs"][1]["vectors"] == pytest.approx(1)
    assert result.metrics["sentences"][0]["counts"] == 0
    assert result.metrics["documents"] == 180
    assert result.metrics["words"] == 10
    assert result.metrics["memory"]["bags_sparse"] == 8 * 181 + 8 * 60 * (5 + 6 + 4)
    # Pairs that nobody named.
    own = run(tmp_path / "own", corpus=str(text), vector_epochs=1, vector_size=8)
    assert own.metrics["pairs"]
    assert command(["predict", str(own.folder), "the cat"]) == 1
    assert "no model.json" in capsys.readouterr().err


def test_vectors_from_elsewhere(tmp_path: Path) -> None:
    wv = KeyedVectors(["true", "false", "key", "other"], np.eye(4) + 0.5)
    path = wv.save(tmp_path / "v.txt")
    result = run(tmp_path / "run", vectors=str(path), pairs="true false", epochs=1)
    assert result.metrics["pairs"][0]["vectors"] == pytest.approx(wv.similarity("true", "false"))
    KeyedVectors(["zzzz"], [[1.0]]).save(tmp_path / "w.txt")
    with pytest.raises(DataError, match=r"w\.txt: it has no word of topics"):
        run(tmp_path / "none", vectors=str(tmp_path / "w.txt"), epochs=1)


def test_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pairs has 'star', expected two words"):
        run(tmp_path / "a", pairs="star")
    with pytest.raises(SettingsError, match="sentences has 'a b', expected two"):
        run(tmp_path / "a", sentences="a b")
    with pytest.raises(DataError, match=r"corpus is .*none\.txt: there is no such file"):
        run(tmp_path / "a", corpus=str(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="vectors is none/x: there is no such file"):
        run(tmp_path / "a", vectors="none/x")
    with pytest.raises(DataError, match="no word is left by min_count=100000"):
        run(tmp_path / "a", min_count=100000)
    with pytest.raises(SettingsError, match="device is simt, expected cpu"):
        run(tmp_path / "a", device="simt")
    assert not (tmp_path / "a").exists()
    few = {"vector_epochs": 1, "vector_size": 4, "epochs": 1}
    with pytest.raises(UnknownWordError, match="'tru' has no vector"):
        run(tmp_path / "b", pairs="tru false", **few)
    with pytest.raises(DataError, match="sentences has 'zzz', of which no word is in topics"):
        run(tmp_path / "c", sentences="the value | zzz", **few)


def test_parsing() -> None:
    assert parse_pairs("star sun,  king queen ,") == [("star", "sun"), ("king", "queen")]
    assert parse_sentences("a b | c; d|e") == [("a b", "c"), ("d", "e")]
    for text in ("a|b|c", "a|", "|"):
        with pytest.raises(SettingsError, match="expected two"):
            parse_sentences(text)


def test_means_and_memory(rng: Any) -> None:
    table = rng.standard_normal((6, 3)).astype(np.float32)
    counts = SparseRows.counted(np.array([0, 0, 0, 2]), np.array([1, 1, 4, 5]), (3, 6))
    means = mean_vectors(counts, table)
    expected = 2 * table[1] + table[4]
    np.testing.assert_allclose(means[0], expected / np.linalg.norm(expected), rtol=1e-6)
    assert (means[1] == 0).all()
    assert memory(counts, 3) == {
        "one_hot_with_zeros": 144,
        "one_hot_as_numbers": 24,
        "word_vectors": 72,
        "bags_with_zeros": 72,
        "bags_sparse": 4 * 8 + 3 * 8,
        "mean_vectors": 36,
    }
    assert [size_of(n) for n in (12, 1234, 30_012_484, 4_000_000_000)] == ["12 B", "1.23 kB", "30 MB", "4 GB"]
