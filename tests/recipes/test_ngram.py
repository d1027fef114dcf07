"""n-gram models through their recipe, and what is asked of them afterwards."""

from __future__ import annotations

import json
import math

import pytest

from dlkit.cli.app import run as command
from dlkit.data import DataError, load_corpus
from dlkit.models import NGramModel
from dlkit.recipes import get
from dlkit.recipes.ngram_predictor import load_ngram_model
from dlkit.recipes.predictor import PredictorError
from dlkit.recipes.settings import SettingsError

pytest.importorskip("pydoc_data.topics")


def run(folder, **settings):
    return get("ngram").run(run_dir=folder, progress=False, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("ngram") / "run", order=3)


def test_learns_and_leaves_a_run_folder(finished):
    metrics = finished.metrics
    assert metrics["test_perplexity"] < 90
    assert metrics["log10_in_order"] > metrics["log10_out_of_order"]
    for name in (
        *("perplexity.png", "surprise.png", "sample.txt", "model.ngram", "model.arpa", "model.json"),
        *("result.json", "metrics.jsonl", "settings.json", "environment.json"),
    ):
        assert (finished.folder / name).is_file(), name
    corpus = load_corpus("topics")
    test = corpus.text(corpus.test).split("\n")[:-1]
    for model in (
        NGramModel.load(finished.folder / "model.ngram"),
        NGramModel.load_arpa(finished.folder / "model.arpa"),
    ):
        assert model.perplexity(test) == pytest.approx(metrics["test_perplexity"])
    shown = dict(finished.lines)
    assert "P(the cat is small)" in shown["word order"]
    assert ">" in shown["word order"]


def test_every_smoothing_at_every_order(finished):
    records = [json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(records) == 5 * 3
    found = {(record["smoothing"], record["order"]): record["test_perplexity"] for record in records}
    assert found["modified-kneser-ney", 3] == pytest.approx(finished.metrics["test_perplexity"])
    assert found["modified-kneser-ney", 3] < found["modified-kneser-ney", 2] < found["modified-kneser-ney", 1]
    assert found["kneser-ney", 3] < found["add-k", 3]


def test_same_settings_same_bits_resumed_or_not(tmp_path):
    def model(name, **more):
        folder = run(tmp_path / name, order=3, sweep=False, **more).folder
        return (folder / "model.ngram").read_bytes()

    one = model("a")
    assert model("b") == one
    assert model("b", resume=True) == one
    assert not (tmp_path / "a" / "perplexity.png").exists()


def test_k_is_chosen_on_the_validation_text(tmp_path):
    result = run(tmp_path, smoothing="add-k", order=2, sweep=False)
    assert 0 < result.metrics["k"] < 1
    assert not (tmp_path / "model.arpa").exists()
    assert (
        run(tmp_path, smoothing="add-k", order=2, sweep=False, k=1.0, overwrite=True).metrics[
            "test_perplexity"
        ]
        > result.metrics["test_perplexity"]
    )


def test_a_text_of_ones_own(tmp_path):
    path = tmp_path / "own.txt"
    lines = ["the cat is small", "the dog is large", "a cat sat", "", "zebra"] * 20
    path.write_text("\n".join(lines))
    result = run(tmp_path / "run", corpus=str(path), order=2, sweep=False)
    assert result.target is None
    assert result.metrics["train_tokens"] == 80 // 4 * 16 - 4 * (
        4 + 2
    )  # of 20 lines the last two are held out
    assert json.loads((tmp_path / "run" / "result.json").read_text())["data"] == "own.txt"
    path.write_text("one line")
    with pytest.raises(DataError, match="1 lines with words; expected at least 20"):
        run(tmp_path / "other", corpus=str(path))
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "other", corpus=str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"^ngram: corpus is .*: that is a folder, expected a file"):
        run(tmp_path, corpus=str(tmp_path))


def test_settings_that_do_not_fit(tmp_path):
    for settings in ({"order": 0}, {"order": 13}, {"smoothing": "kneser"}, {"k": 0}, {"data": "ptp"}):
        with pytest.raises(SettingsError, match=next(iter(settings))):
            run(tmp_path, **settings)
    with pytest.raises(SettingsError, match="expected cpu"):
        run(tmp_path, device="simt")


def test_zero_probabilities_are_written_as_null(tmp_path):
    result = run(tmp_path, smoothing="mle", order=2, sweep=False)
    assert result.metrics["test_perplexity"] == math.inf
    assert json.loads((tmp_path / "result.json").read_text())["test_perplexity"] is None
    assert command(["predict", str(tmp_path), "zebra the the"]) == 0


def test_asked_afterwards(finished, tmp_path):
    predictor = load_ngram_model(finished.folder)
    surprise = predictor.surprise("the value zyzzyva")
    assert surprise.tokens == ["the", "value", "zyzzyva", "</s>"]
    assert surprise.known == [True, True, False, True]
    assert predictor.go_on("the value", 12) == predictor.go_on("the value", 12)
    with pytest.raises(PredictorError, match="device is cuda, expected cpu: n-gram models"):
        load_ngram_model(finished.folder, "cuda")
    with pytest.raises(PredictorError, match="has no run in it"):
        load_ngram_model(tmp_path)
    (tmp_path / "model.json").write_bytes((finished.folder / "model.json").read_bytes())
    (tmp_path / "model.ngram").write_bytes((finished.folder / "model.ngram").read_bytes()[:-9])
    with pytest.raises(PredictorError, match=r"damaged|ends within"):
        load_ngram_model(tmp_path)


def test_from_the_command_line(finished, capsys):
    assert command(["predict", str(finished.folder), "the value zyzzyva"]) == 0
    shown = capsys.readouterr()
    assert "bits  value" in shown.out
    assert "not known, read as <unk>: zyzzyva" in shown.err
    assert command(["predict", str(finished.folder), "a list of values", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["tokens"] == ["a", "list", "of", "values", "</s>"]
    assert command(["predict", str(finished.folder), "a list", "--invert"]) == 2
