"""Word vectors: words a second of the engine on the GPU beside the CPU's with two threads, and the loss of both.

One pass over text8 where it is (`DLKIT_DATA`), else over a text that is made up: words of topics, by Zipf's law. The
loss is that of the vectors that came out, on the text's first million words, by the CPU's engine at a rate of 0: while
training goes on, a word's loss is lower the more of its neighbours have just been trained, so that many sentences
in flight look worse than what they learn.
"""

from __future__ import annotations

import contextlib
import statistics
from types import SimpleNamespace
from typing import Any

import numpy as np
from device import Device, main
from record import Record
from timing import Deadline

from dlkit.data import DataError
from dlkit.data.wikipedia import text8_path
from dlkit.data.word_corpus import WordCorpus
from dlkit.models.word2vec_trainer import Word2VecTrainer

KINDS = {
    "skip-gram, negative sampling": {"sg": True},
    "CBOW, negative sampling": {"sg": False},
    "skip-gram, hierarchical softmax": {"sg": True, "hs": True, "negative": 0},
    "CBOW, hierarchical softmax": {"sg": False, "hs": True, "negative": 0},
}
FIRST = next(iter(KINDS))
SETTINGS: dict[str, Any] = {"vector_size": 100, "window": 5, "negative": 5, "sample": 1e-4}
#: Sentences in flight; None: the default.
IN_FLIGHT = (None, 32, 128, 512, 2048)
CPU_THREADS = 2


def made_up_text(
    words: int, vocabulary: int = 30_000, topics: int = 100, length: int = 1000
) -> tuple[Any, list[int]]:
    """Return a text as numbers and the counts of its words: half of a sentence's words are of its topic."""
    rng = np.random.default_rng(0)
    shape = (words // length, length)
    rank = np.minimum(vocabulary * np.exp(-np.log(vocabulary) * rng.random(shape)), vocabulary - 1)
    number = rank.astype(np.int64)
    of_topic = rng.random(shape) < 0.5
    number[of_topic] = number[of_topic] // topics * topics
    number += np.where(of_topic, rng.integers(0, topics, shape[0])[:, None], 0)
    number = np.minimum(number, vocabulary - 1)
    found, place = np.unique(number, return_inverse=True)
    counts = np.bincount(place.ravel(), minlength=len(found))
    order = np.argsort(-counts, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    tokens = np.full((shape[0], length + 1), -1, np.int32)
    tokens[:, :-1] = ranks[place.reshape(shape)]
    return SimpleNamespace(tokens=tokens.ravel()), counts[order].tolist()


def load(dry_run: bool) -> tuple[str, Any, list[int]]:
    """Return the text's name, the text, and the counts of its words."""
    if not dry_run:
        with contextlib.suppress(DataError):
            corpus = WordCorpus.build(text8_path(), 5)
            return "text8", corpus, corpus.counts.tolist()
    return "made up", *made_up_text(*((600, 100, 10, 100) if dry_run else (8_000_000,)))


def run(text: Any, counts: list[int], where: str, workers: int | None, **settings: Any) -> dict[str, Any]:
    """Train a pass from the beginning; the second of two on a device, where the first loads its kernels."""
    trainer = Word2VecTrainer(counts, **{**SETTINGS, **settings}, device=where)
    trainer.fit(SimpleNamespace(tokens=text.tokens[:64]), epochs=1, workers=workers)
    trainer = Word2VecTrainer(counts, **{**SETTINGS, **settings}, device=where)
    (report,) = trainer.fit(text, epochs=1, workers=workers)
    finite = bool(np.isfinite(trainer.vectors).all())
    judge = Word2VecTrainer(counts, **{**SETTINGS, **settings, "seed": 99})
    for to, of in zip(
        (judge.vectors, judge.outputs, judge.nodes),
        (trainer.vectors, trainer.outputs, trainer.nodes),
        strict=True,
    ):
        if to is not None:
            to[...] = of
    sample = SimpleNamespace(tokens=text.tokens[:1_000_000])
    (judged,) = judge.fit(sample, epochs=1, alpha=0, min_alpha=0, workers=CPU_THREADS)
    return {
        "words_per_second": report.words_per_second,
        "seconds": report.seconds,
        "loss": judged.loss,
        "loss_while_training": report.loss,
        "kept": report.kept / max(report.words, 1),
        "failure": None if finite else "WRONG: vectors are not finite",
    }


def compare_with_cpu(rows: list[dict[str, Any]]) -> None:
    """Put into each row its words a second over the CPU's."""
    for row in rows:
        peers = [
            peer["words_per_second"]
            for peer in rows
            if peer["kind"] == row["kind"] and peer["where"] == "cpu" and "words_per_second" in peer
        ]
        if peers and "words_per_second" in row:
            row["ratio"] = row["words_per_second"] / statistics.median(peers)


def measure(device: Device, deadline: Deadline, record: Record) -> None:
    """Record a row for each kind on each side, and for several numbers of sentences in flight."""
    there = "simt" if device.dry_run else "cuda"
    name, text, counts = load(device.dry_run)
    record.entries.update(text=name, words=int((text.tokens >= 0).sum()), cpu_losses=[])
    if device.dry_run:
        SETTINGS.update(vector_size=8, negative=2, window=2, sample=0)

    def add(kind: str, where: str, workers: int | None, **settings: Any) -> dict[str, Any]:
        at_once = workers or "default"
        with record.row(f"{kind}, {where}, {at_once}", kind=kind, where=where, at_once=at_once) as row:
            if deadline.left() == 0:
                row["failure"] = "no time left"
            else:
                row.update(run(text, counts, where, workers, **KINDS[kind], **settings))
                compare_with_cpu(record.rows)
        return row

    for in_flight in IN_FLIGHT[: 2 if device.dry_run else None]:
        add(FIRST, there, in_flight)
    # What seeds make of the CPU's loss is what the device's may differ by.
    for seed in (1, 2, 3):
        row = add(FIRST, "cpu", CPU_THREADS, seed=seed)
        if row.get("loss") is not None:
            record.entries["cpu_losses"].append(row["loss"])
    for kind in list(KINDS)[1:]:
        add(kind, there, None)
        add(kind, "cpu", CPU_THREADS)


if __name__ == "__main__":
    main("word2vec", measure)
