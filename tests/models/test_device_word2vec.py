"""Word2Vec and its recipe on a device: on the SIMT machine, and on a GPU."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tested_backends import needs

import dlkit as dl
from dlkit import kernels
from dlkit.kernels.backend import DeviceUnavailableError, backend_named, resolve_device, why_not
from dlkit.models.word2vec_trainer import EpochReport, TrainingProgress, Word2VecTrainer
from dlkit.recipes import get
from dlkit.recipes.settings import SettingsError

TOPICS = ("star sun moon light", "bread milk butter salt", "king queen throne crown")


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    needs(request.param)
    return resolve_device(request.param, "test")


@pytest.fixture
def sentences(rng: np.random.Generator) -> list[list[str]]:
    chosen = rng.integers(len(TOPICS), size=120)
    return [[TOPICS[t].split()[i] for i in rng.integers(0, 4, 7)] for t in chosen]


def make(sentences: Any = None, **settings: Any) -> dl.Word2Vec:
    return dl.Word2Vec(
        sentences,
        **{
            "vector_size": 10,
            "window": 3,
            "negative": 3,
            "min_count": 1,
            "sample": 0.1,
            "alpha": 0.1,
            **settings,
        },
    )


@pytest.mark.parametrize("settings", [{"sg": 1}, {"hs": 1, "cbow_mean": 0, "shared_negatives": 1}], ids=str)
def test_deterministic_is_the_cpu_with_one_worker(
    device: str, settings: dict[str, Any], sentences: list[list[str]]
) -> None:
    there = make(sentences, epochs=2, device=device, deterministic=True, **settings)
    here = make(sentences, epochs=2, workers=1, **settings)
    assert isinstance(there.wv.vectors, np.ndarray)
    np.testing.assert_allclose(there.wv.vectors, here.wv.vectors, atol=2e-5)
    assert there.outputs is not None
    np.testing.assert_allclose(there.outputs, here.outputs, atol=2e-5)
    for one, other in zip(there.reports, here.reports, strict=True):
        assert (one.epoch, one.words, one.kept) == (other.epoch, other.words, other.kept)
        assert np.isclose(one.loss, other.loss, rtol=1e-4, equal_nan=True)
        assert one.words_per_second > 0
    assert there.trainer.path(0) == here.trainer.path(0) if settings.get("hs") else True


def test_the_device_is_current_on_the_thread_that_trains(
    monkeypatch: pytest.MonkeyPatch, sentences: list[list[str]]
) -> None:
    """Each thread begins with the first GPU as its own, and training has a thread."""
    needs("simt")
    backend, local, seen = backend_named("simt"), threading.local(), []

    @contextmanager
    def on_device(device: str) -> Iterator[None]:
        local.device = device
        yield
        local.device = None

    def watched(name: str) -> Any:
        real = getattr(backend, name)

        def call(*arguments: Any) -> Any:
            seen.append((name, threading.current_thread().name, getattr(local, "device", None)))
            return real(*arguments)

        return call

    monkeypatch.setattr(backend, "on_device", on_device)
    for name in ("from_host", "stream", "to_host"):
        monkeypatch.setattr(backend, name, watched(name))
    model = make(sentences, epochs=1, device="simt")
    trained = [each for each in seen if each[1] == "word2vec"]
    assert {name for name, *_ in trained} == {"from_host", "stream", "to_host"}
    assert {device for *_, device in trained} == {model.trainer.device}


def test_words_of_a_topic_are_near(device: str, sentences: list[list[str]]) -> None:
    """With as many in flight as the text bears, and with more."""
    for workers in (None, 6):
        model = make(sentences * 2, epochs=3, sg=1, sample=0, device=device, workers=workers)
        for topic in TOPICS:
            first, *others = topic.split()
            assert {word for word, _ in model.wv.most_similar(first, topn=3)} == set(others)


def test_saved_loaded_and_trained_on(device: str, sentences: list[list[str]], tmp_path: Path) -> None:
    settings = {"epochs": 2, "hs": 1, "shared_negatives": 1}
    whole = make(sentences, **settings, device=device, deterministic=True)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(model: dl.Word2Vec, report: EpochReport) -> None:
        model.save(tmp_path / "model")
        raise Stopped

    with pytest.raises(Stopped):
        make(sentences, **settings, callbacks=[stop], device=device, deterministic=True)
    again = dl.Word2Vec.load(tmp_path / "model", device=device, deterministic=True)
    assert again.settings == whole.settings
    again.train(sentences, first_epoch=1)
    assert (again.wv.vectors == whole.wv.vectors).all()
    assert (again.nodes == whole.nodes).all()
    on_the_cpu = dl.Word2Vec.load(tmp_path / "model", workers=1)
    on_the_cpu.train(sentences, first_epoch=1)
    np.testing.assert_allclose(on_the_cpu.wv.vectors, whole.wv.vectors, atol=2e-5)


def test_interrupted(device: str, rng: np.random.Generator) -> None:
    """It ends between two shards, with the vectors that had been reached, and can go on."""
    tokens = rng.integers(0, 50, 20 * 16384).astype(np.int32)
    tokens[::2] = -1  # most words are alone
    tokens[3::400] = 1
    trainer = Word2VecTrainer([10] * 50, vector_size=4, negative=1, window=1, sample=0, device=device)
    before = trainer.vectors.copy()

    def interrupt(now: TrainingProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(SimpleNamespace(tokens=tokens), epochs=1000, progress=interrupt)
    assert (trainer.vectors == before).all()  # no sentence has two words
    assert threading.active_count() < 50
    position = trainer.position
    assert 0 <= position.piece <= 20
    (report,) = trainer.fit(SimpleNamespace(tokens=tokens), epochs=position.epoch + 1, start=position)
    assert report.words == np.count_nonzero(tokens >= 0)
    (report,) = trainer.fit(SimpleNamespace(tokens=np.array([1, 2, 1, -1], np.int32)), epochs=1)
    assert report.words == 3
    assert np.isfinite(trainer.vectors).all()


def test_nothing_to_read(device: str) -> None:
    trainer = Word2VecTrainer([2, 1], vector_size=4, device=device)
    (report,) = trainer.fit(SimpleNamespace(tokens=np.empty(0, np.int32)), epochs=1)
    assert report.words == 0
    assert np.isnan(report.loss)


def test_recipe(device: str, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the rug\n" * 20)
    how = {
        "vector_size": 8, "negative": 2, "window": 2, "min_count": 1, "deterministic": True, "sample": 0,
        "alpha": 0.05, "seed": 0,
    }  # fmt: skip
    settings = {"corpus": str(text), **how}

    def run(folder: Path, **options: Any) -> Any:
        return get("word2vec").run(run_dir=folder, progress=False, **{**settings, **options})

    whole = run(tmp_path / "whole", epochs=2, device=device)
    here = run(tmp_path / "here", epochs=2)
    assert whole.metrics["device"] == device
    assert np.isclose(whole.metrics["train_loss"], here.metrics["train_loss"], rtol=1e-4)
    assert any(device in line for _, line in whole.lines)
    record = json.loads((tmp_path / "whole" / "settings.json").read_text())
    assert device in json.dumps(record)
    # Killed after the first epoch: goes on from there, to the same bits.
    part = run(tmp_path / "part", epochs=2, device=device).folder
    checkpoint = part / "checkpoint.safetensors"
    stopped = dl.Word2Vec(
        text,
        **{**how, "epochs": 2, "sg": True, "device": device},
        callbacks=[lambda model, report: keep(model, report, checkpoint)],
    )
    assert len(stopped.reports) == 2
    lines = (part / "metrics.jsonl").read_text().splitlines(keepends=True)
    (part / "metrics.jsonl").write_text(lines[0])
    again = run(part, epochs=2, device=device, resume=True)
    assert again.metrics["train_loss"] == whole.metrics["train_loss"]
    assert (dl.KeyedVectors.load(part).vectors == dl.KeyedVectors.load(tmp_path / "whole").vectors).all()
    with pytest.raises(SettingsError, match="vector_size is 2000; expected 1 to 1024 on a device"):
        run(tmp_path / "wide", vector_size=2000, device=device)
    assert not (tmp_path / "wide").exists()


def keep(model: dl.Word2Vec, report: EpochReport, path: Path) -> None:
    if report.epoch == 0:
        trainer = model.trainer
        dl.nn.save_safetensors({"vectors": trainer.vectors, "outputs": trainer.outputs}, path, {"epoch": "0"})


def test_a_device_that_is_not_there() -> None:
    if why_not("cuda") is None:
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceUnavailableError, match="cuda: "):
        make([["a", "b"]], device="cuda")
    assert kernels.variants("sgns_update")[0].name == "naive"
