"""Word vectors through their recipe, and what is asked of them afterwards."""

from __future__ import annotations

import gzip
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit import kernels
from dlkit.cli.app import run as command
from dlkit.data import DataError
from dlkit.models import KeyedVectors
from dlkit.nn import load_safetensors, save_safetensors
from dlkit.recipes import Result, get
from dlkit.recipes import word2vec as recipe
from dlkit.recipes.settings import SettingsError
from dlkit.train import Interrupted, RunFolderError

pytest.importorskip("pydoc_data.topics")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    yield
    kernels.set_num_threads(before)


def run(folder: Path, **settings: Any) -> Result:
    return get("word2vec").run(run_dir=folder, progress=False, **{"map": "none", **settings})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(tmp_path_factory.mktemp("word2vec") / "run", map="auto")


def test_learns_and_leaves_a_run_folder(finished: Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert finished.target is not None
    assert finished.target.reached(finished.metrics)
    for name in (
        "loss.png",
        "neighbours.txt",
        "vectors.safetensors",
        "result.json",
        "metrics.jsonl",
        "map.png",
        "map.html",
    ):
        assert (finished.folder / name).stat().st_size > 0, name
    wv = KeyedVectors.load(finished.folder)
    assert len(wv) == finished.metrics["words"] > 1000
    assert wv.vector_size == 100
    assert wv.similarity("subclass", "class") > wv.similarity("subclass", "string")
    assert command(["similar", str(finished.folder), "class", "--topn", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_same_settings_same_bits_resumed_or_not(tmp_path: Path) -> None:
    settings = {"epochs": 4, "hs": True, "vector_size": 20, "seed": 3}
    whole = run(tmp_path / "whole", **settings)
    expected = KeyedVectors.load(whole.folder).vectors
    # As a run is that was killed after the second epoch.
    part = run(tmp_path / "part", **settings).folder
    lines = (part / "metrics.jsonl").read_text().splitlines(keepends=True)
    (part / "metrics.jsonl").write_text("".join(lines[:2]))
    (part / "vectors.safetensors").unlink()
    (part / "checkpoint.safetensors").unlink()

    from dlkit.data import load_text
    from dlkit.models import Word2Vec

    stopped: list[Any] = []

    def keep(model: Word2Vec, report: Any) -> None:
        if report.epoch == 1:
            trainer = model.trainer
            stopped.append([np.array(m) for m in (trainer.vectors, trainer.outputs, trainer.nodes)])

    Word2Vec(
        load_text("topics").sentences,
        **{"min_count": 3, "sg": True, "alpha": 0.05, "callbacks": [keep], **settings},
    )
    state = dict(zip(("vectors", "outputs", "nodes"), stopped[0], strict=True))
    save_safetensors(state, part / "checkpoint.safetensors")
    again = run(part, resume=True, **settings)
    assert (KeyedVectors.load(part).vectors == expected).all()
    assert [json.loads(line)["epoch"] for line in (part / "metrics.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
        4,
    ]
    assert again.metrics["train_loss"] == whole.metrics["train_loss"]


def test_killed_and_stopped_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on from a checkpoint within an epoch ends with the bits of one that was not stopped."""
    settings = {"epochs": 3, "vector_size": 100, "seed": 3, "hs": True}
    whole = run(tmp_path / "whole", **settings)
    expected = KeyedVectors.load(whole.folder).vectors
    folder = tmp_path / "part"
    written: list[Any] = []

    class Killed(Exception):  # noqa: N818
        pass

    def save(state: Any, path: Path) -> None:
        save_safetensors(state, path)
        written.append(state["position"].copy())
        if len(written) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "save_safetensors", save)
        with pytest.raises(Killed):
            run(folder, checkpoint_seconds=1e-6, **settings)
    assert any(piece > 0 for _, piece, *_ in written)

    # Then by Ctrl-C, as soon as there is progress.
    def progress(_: int) -> Any:
        return lambda now: os.kill(os.getpid(), signal.SIGINT) if now.words else None

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "_progress_line", progress)
        with pytest.raises(
            Interrupted, match=r"stopped by SIGINT in epoch \d, after [\d,]+ words; checkpoint"
        ):
            get("word2vec").run(run_dir=folder, progress=True, resume=True, **settings)
    again = run(folder, resume=True, **settings)
    assert (KeyedVectors.load(folder).vectors == expected).all()
    epochs = [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert epochs == [1, 2, 3]
    assert again.metrics["train_loss"] == whole.metrics["train_loss"]


def test_a_text_of_ones_own(tmp_path: Path) -> None:
    text = tmp_path / "mine.txt.gz"
    text.write_bytes(gzip.compress(b"the cat sat on the mat\nthe dog sat on the rug\n" * 200))
    result = run(tmp_path / "run", corpus=str(text), epochs=2, vector_size=8, sg=False)
    assert result.target is None
    assert result.metrics["words"] == 7
    assert result.metrics["tokens"] == 2400
    assert result.metrics["analogies" if "analogies" in result.metrics else "words"]
    assert KeyedVectors.load(result.folder)["cat"].shape == (8,)


def test_a_text_of_ones_own_has_the_defaults_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of topics, which is a small text; and its run folder has its name."""
    text = tmp_path / "mine.v2.txt"
    text.write_bytes(b"the cat sat on the m\xe4t\n" * 20)
    for name in ("word2vec", "ranking-lm"):
        own = get(name)
        assert own.settings(corpus=str(text)) == own.settings_type.make({"corpus": str(text)})
    monkeypatch.chdir(tmp_path)
    result = get("word2vec").run(
        corpus=str(text),
        epochs=1,
        vector_size=8,
        map="none",
        errors="replace",
        max_vocab_size=100,
        progress=False,
    )
    assert result.folder.name.startswith("word2vec-mine-")
    assert "m\ufffdt" in KeyedVectors.load(result.folder)


def test_a_text_that_was_changed_is_no_text_to_go_on_with(tmp_path: Path) -> None:
    """As many words, of the same counts: only their names are others."""
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\n" * 20)
    settings = {"corpus": str(text), "vector_size": 8, "sample": 0}
    folder = run(tmp_path / "run", epochs=1, **settings).folder
    before = (folder / "vectors.safetensors").read_bytes()
    run(folder, resume=True, epochs=1, **settings)
    text.write_text("one dog was in one rug\n" * 20)
    with pytest.raises(RunFolderError, match=r"does not belong to this text .*other words or counts"):
        run(folder, resume=True, epochs=1, **settings)
    assert (folder / "vectors.safetensors").read_bytes() == before


def test_reading_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 10.0, 31.0, 31.0, 40.0])
    monkeypatch.setattr(recipe.time, "monotonic", lambda: next(clock))
    show = recipe._reading_line()
    for done in (1, 2, 3):
        show("count", done, 4)
    assert capsys.readouterr().err == "count  50%\n"


def test_errors(tmp_path: Path, finished: Result) -> None:
    with pytest.raises(SettingsError, match="negative is 0 and hs is false"):
        run(tmp_path / "a", negative=0)
    with pytest.raises(DataError, match=r"corpus is .*nowhere\.txt: there is no such file"):
        run(tmp_path / "a", corpus=str(tmp_path / "nowhere.txt"))
    with pytest.raises(DataError, match=r"corpus is .*: that is a folder, expected a file"):
        run(tmp_path / "a", corpus=str(tmp_path))
    with pytest.raises(DataError, match=r"corpus is .*: that is a device or a pipe, expected a file"):
        run(tmp_path / "a", corpus=os.devnull)
    (tmp_path / "few.txt").write_text("one two three\n")
    with pytest.raises(DataError, match="no word is left by min_count=5"):
        run(tmp_path / "b", corpus=str(tmp_path / "few.txt"), min_count=5)
    with pytest.raises(SettingsError, match="window is 0"):
        run(tmp_path / "a", window=0)
    assert not (tmp_path / "a").exists()
    with pytest.raises(RunFolderError, match="made with other settings"):
        run(finished.folder, resume=True, window=3)


def test_a_checkpoint_of_another_text(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", epochs=1, vector_size=8).folder
    save_safetensors({"vectors": np.zeros((3, 8), np.float32)}, folder / "checkpoint.safetensors")
    with pytest.raises(RunFolderError, match="does not belong to this text"):
        run(folder, resume=True, epochs=1, vector_size=8)


def test_a_checkpoint_that_is_damaged(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", epochs=1, vector_size=8).folder
    state = load_safetensors(folder / "checkpoint.safetensors")
    for position in (np.zeros(3), np.full(7, np.nan), np.full(7, -1.0)):
        save_safetensors({**state, "position": position}, folder / "checkpoint.safetensors")
        with pytest.raises(RunFolderError, match="position is no position in a text"):
            run(folder, resume=True, epochs=1, vector_size=8)


def test_a_text_of_a_few_words_has_no_loss(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("the cat sat on the mat\n", encoding="utf-8")
    result = run(tmp_path / "run", corpus=str(text), min_count=1, sample=0, epochs=1)
    assert result.metrics["train_loss"] is None
    assert ("loss", "none: too few words") in result.lines
    assert not (tmp_path / "run" / "loss.png").exists()
