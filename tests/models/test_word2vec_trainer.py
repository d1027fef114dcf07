"""python/dlkit/models/word2vec_trainer.py: training on texts as numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlkit.models.word2vec_trainer import EpochReport, Position, TrainingProgress, Word2VecTrainer

TOPICS, WORDS = 5, 8


def text(rng: np.random.Generator, sentences: int = 3000) -> tuple[Any, list[int], Any]:
    """Sentences of ten words of one topic each; returns it, the counts, and each word's topic."""
    topics = rng.integers(0, TOPICS, sentences)
    words = topics[:, None] * WORDS + np.minimum(rng.geometric(0.3, (sentences, 10)) - 1, WORDS - 1)
    found = np.bincount(words.ravel(), minlength=TOPICS * WORDS)
    ranks = np.argsort(-found, kind="stable")
    numbers = np.argsort(ranks)[words].astype(np.int32)
    tokens = np.concatenate([numbers, np.full((sentences, 1), -1, np.int32)], 1).ravel()
    return SimpleNamespace(tokens=tokens), found[ranks].tolist(), ranks // WORDS


def separation(vectors: Any, topics: Any) -> float:
    """The mean cosine of two words of a topic, less that of two words of different ones."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = topics[:, None] == topics
    return float(cosines[same & ~np.eye(len(topics), dtype=bool)].mean() - cosines[~same].mean())


@pytest.mark.parametrize(
    "settings",
    [
        {"sg": True},
        {"sg": False},
        {"sg": True, "hs": True, "negative": 0},
        {"sg": False, "hs": True, "negative": 0},
        {"sg": True, "hs": True},
        {"sg": False, "cbow_mean": False},
        {"sg": False, "divide": True, "alpha": 0.2},
        {"sg": True, "variant": "naive"},
        {"sg": True, "sample": 0, "shrink_windows": False, "window": 2},
    ],
    ids=str,
)
def test_words_of_a_topic_are_alike(settings: dict[str, Any], rng: np.random.Generator) -> None:
    corpus, counts, topics = text(rng)
    alpha = settings.pop("alpha", 0.05)
    trainer = Word2VecTrainer(counts, **{"vector_size": 20, "sample": 0, **settings})
    assert abs(separation(trainer.vectors, topics)) < 0.1
    reports = trainer.fit(corpus, epochs=4, alpha=alpha, workers=1)
    assert separation(trainer.vectors, topics) > 0.5
    assert [report.epoch for report in reports] == [0, 1, 2, 3]
    # What it is where all vectors are 0: a bit for each output.
    lengths = [len(trainer.path(word)[0]) if settings.get("hs") else 0 for word in range(len(counts))]
    at_first = (
        settings.get("negative", 5) + bool(settings.get("negative", 5)) + np.average(lengths, weights=counts)
    )
    assert reports[-1].loss < 0.75 * at_first * np.log(2)
    assert all(report.words == report.kept == 30000 for report in reports)
    assert trainer.vectors.shape == (40, 20)
    assert np.isfinite(trainer.vectors).all()


def test_matrices(rng: np.random.Generator) -> None:
    _, counts, _ = text(rng, 100)
    both = Word2VecTrainer(counts, vector_size=7, hs=True)
    assert both.outputs.shape == (40, 7)
    assert both.nodes.shape == (39, 7)
    assert not both.outputs.any()
    assert np.abs(both.vectors).max() <= 0.5 / 7
    assert Word2VecTrainer(counts, negative=0, hs=True).outputs is None
    assert Word2VecTrainer(counts).nodes is None
    nodes, codes = both.path(0)
    assert len(nodes) == len(codes) < len(both.path(39)[0])


def test_subsampling(rng: np.random.Generator) -> None:
    corpus, counts, _ = text(rng)
    trainer = Word2VecTrainer(counts, vector_size=8, sample=1e-3)
    (report,) = trainer.fit(corpus, epochs=1, workers=1)
    share = np.array(counts) / sum(counts)
    expected = (share * np.minimum(np.sqrt(1e-3 / share) + 1e-3 / share, 1)).sum()
    assert abs(report.kept / report.words - expected) < 0.02


def test_deterministic_for_any_number_of_workers(rng: np.random.Generator) -> None:
    corpus, counts, _ = text(rng)
    found = []
    for workers in (1, 2, 3):
        trainer = Word2VecTrainer(counts, vector_size=8, seed=3)
        trainer.fit(corpus, epochs=2, workers=workers, deterministic=True)
        found.append(trainer.vectors.copy())
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_training_goes_on_where_it_was(rng: np.random.Generator) -> None:
    corpus, counts, _ = text(rng)
    whole = Word2VecTrainer(counts, vector_size=8)
    whole.fit(corpus, epochs=3, workers=1)
    halves = Word2VecTrainer(counts, vector_size=8)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(report: EpochReport) -> None:
        if report.epoch == 1:
            raise Stopped

    with pytest.raises(Stopped):
        halves.fit(corpus, epochs=3, workers=1, after_epoch=stop)
    halves.fit(corpus, epochs=3, workers=1, first_epoch=2)
    assert (whole.vectors == halves.vectors).all()


def test_interrupted(rng: np.random.Generator) -> None:
    """Ctrl-C ends an epoch early; the vectors reached are there, and training can go on."""
    corpus, counts, topics = text(rng, 60000)
    trainer = Word2VecTrainer(counts, vector_size=64, sample=0, sg=True, variant="naive")
    seen: list[TrainingProgress] = []

    def interrupt(now: TrainingProgress) -> None:
        if now.words:
            seen.append(now)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(corpus, epochs=50, workers=2, progress=interrupt)
    assert len(seen) == 1
    assert 0 < seen[0].words < seen[0].total == 600000
    assert seen[0].words_per_second > 0
    assert 0 < seen[0].seconds_left < 36000
    (report,) = Word2VecTrainer.fit(trainer, SimpleNamespace(tokens=corpus.tokens[:11000]), epochs=1)
    assert report.words == 10000
    assert separation(trainer.vectors, topics) > 0.1


@pytest.mark.parametrize("settings", [{"sg": True}, {"hs": True, "reuse_window": True}], ids=str)
def test_checkpoints_within_an_epoch(settings: dict[str, Any], rng: np.random.Generator) -> None:
    """Training that goes on from a checkpoint, in another trainer, has the bits of one that was not interrupted."""
    corpus, counts, _ = text(rng, 12000)
    settings = {"vector_size": 40, "sample": 0.1, **settings}
    whole = Word2VecTrainer(counts, **settings)
    expected = whole.fit(corpus, epochs=2, workers=1)
    stopped = Word2VecTrainer(counts, **settings)

    class Killed(Exception):  # noqa: N818
        pass

    seen: list[Position] = []

    def kill(position: Position) -> None:
        seen.append(position)
        if len(seen) == 3:
            raise Killed

    with pytest.raises(Killed):
        stopped.fit(corpus, epochs=2, workers=1, checkpoint_seconds=0, checkpoint=kill)
    assert stopped.position == seen[-1]
    assert seen[0].epoch == 0
    assert 0 < seen[0].piece < 9  # of 132,000 tokens
    assert 0 < seen[0].words < 120000
    assert seen == sorted(seen)
    other = Word2VecTrainer(counts, **settings)
    for name in ("vectors", "outputs", "nodes"):
        if getattr(other, name) is not None:
            getattr(other, name)[...] = getattr(stopped, name)
    reports = other.fit(corpus, epochs=2, workers=1, start=seen[-1])
    assert other.position == Position(2)
    for name in ("vectors", "outputs", "nodes"):
        if getattr(other, name) is not None:
            assert (getattr(other, name) == getattr(whole, name)).all()
    for report in reports:
        before = expected[report.epoch]
        assert (report.loss, report.words, report.kept) == (before.loss, before.words, before.kept)
    assert reports[0].seconds > seen[-1].seconds or reports[0].epoch > seen[-1].epoch


def test_checkpoints_of_several_workers(rng: np.random.Generator) -> None:
    """No sentence is left out or taken twice."""
    corpus, counts, topics = text(rng, 12000)
    trainer = Word2VecTrainer(counts, vector_size=20, sample=0, hs=True)
    positions: list[Position] = []
    reports = trainer.fit(
        corpus, epochs=2, alpha=0.05, workers=3, checkpoint_seconds=0.001, checkpoint=positions.append
    )
    assert positions
    assert [report.words for report in reports] == [report.kept for report in reports] == [120000, 120000]
    assert separation(trainer.vectors, topics) > 0.5


def test_progress_reaches_the_end(rng: np.random.Generator) -> None:
    corpus, counts, _ = text(rng)
    seen: list[TrainingProgress] = []
    Word2VecTrainer(counts, vector_size=8).fit(corpus, epochs=2, progress=seen.append)
    assert seen[-1].epoch == 1
    assert seen[-1].words == seen[-1].total == 30000
    assert seen[-1].seconds_left == 0


def test_nothing_to_read() -> None:
    trainer = Word2VecTrainer([2, 1], vector_size=4)
    (report,) = trainer.fit(SimpleNamespace(tokens=np.empty(0, np.int32)), epochs=1)
    assert report.words == 0
    assert np.isnan(report.loss)


@pytest.mark.parametrize(
    ("settings", "kind", "match"),
    [
        ({"vector_size": 0}, ValueError, "vector_size is 0; expected 1 to 65536"),
        ({"vector_size": 2.5}, TypeError, r"vector_size is 2\.5; expected an integer"),
        ({"window": 0}, ValueError, "window is 0; expected 1 to 10000"),
        ({"negative": -1}, ValueError, "negative is -1; expected 0 to 10000"),
        ({"negative": 0}, ValueError, "negative is 0 and hs is false; expected one of them"),
        ({"sample": -1.0}, ValueError, "sample is -1.0; expected 0 or more"),
        ({"sample": "x"}, TypeError, "sample is 'x'; expected a number"),
        ({"ns_exponent": np.nan}, ValueError, "ns_exponent is nan; expected a finite number"),
        ({"seed": -1}, ValueError, "seed is -1"),
        (
            {"variant": "matrx"},
            ValueError,
            r"variant is 'matrx'; expected one of naive, .*did you mean 'matrix'",
        ),
    ],
    ids=str,
)
def test_bad_settings(settings: dict[str, Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        Word2VecTrainer([3, 2, 1], **settings)


def test_bad_calls() -> None:
    trainer = Word2VecTrainer([3, 2, 1], vector_size=4)
    corpus = SimpleNamespace(tokens=np.array([0, 1, -1], np.int32))
    with pytest.raises(ValueError, match="workers is 0; expected 1 to 65536"):
        trainer.fit(corpus, workers=0)
    with pytest.raises(ValueError, match="alpha is -1; expected 0 or more"):
        trainer.fit(corpus, alpha=-1)
    with pytest.raises(TypeError, match="epochs is '5'; expected an integer"):
        trainer.fit(corpus, epochs="5")
    with pytest.raises(IndexError, match="tokens has word 3"):
        trainer.fit(SimpleNamespace(tokens=np.array([0, 3, -1], np.int32)))
    with pytest.raises(ValueError, match="counts do not fall"):
        Word2VecTrainer([1, 2])
