"""``dlkit train word2vec``: word vectors from a text."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit import kernels
from dlkit.data import DataError, load_text
from dlkit.data.fetch import data_folder
from dlkit.data.text_file import require_file
from dlkit.data.wikipedia import text8_path
from dlkit.models import EpochReport, KeyedVectors, Position, TrainingProgress, Word2Vec
from dlkit.nn import load_safetensors, save_safetensors
from dlkit.train import Interrupted, RunFolder, RunFolderError, plots
from dlkit.train.signals import StopSignals

from .folders import open_run, write_json
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .word_map import CHOICES, check_map, leave_map
from .work import peak_memory

_ANALOGIES = "questions-words.txt.xz"
_PAIRS = ("wordsim353.tsv", "simlex999.txt")
# Analogies among so many of the most frequent words, as is usual for texts of this size.
_FREQUENT = 30000
_SHOWN, _NEIGHBOURS = 20, 8
# Of a checkpoint, beside the matrices.
_POSITION, _VOCABULARY = "position", "vocabulary"
_OF_THE_RUN = ("data", "corpus", "deterministic", "map", "checkpoint_seconds")


@dataclass(frozen=True)
class Word2VecSettings(Settings):
    """Word vectors, and the text that they are trained on; names are gensim's."""

    data: str = option("topics", "Text.", group="Data", choices=("topics", "text8"))
    corpus: str | None = option(
        None, "A text file of one's own, a sentence a line; .gz, .xz, .bz2, too.", group="Data"
    )
    min_count: int = option(5, "Words that occur less often are left out.", group="Data", at_least=1)
    max_vocab_size: int | None = option(
        None,
        "Bound memory: of more words than this the rarest are forgotten now and then.",
        group="Data",
        at_least=1,
    )
    max_final_vocab: int | None = option(
        None, "So many words at most, the most frequent ones.", group="Data", at_least=1
    )
    errors: str = option(
        "strict",
        "Words that are no UTF-8: an error, U+FFFD, or without these bytes.",
        group="Data",
        choices=("strict", "replace", "ignore"),
    )
    sample: float = option(
        1e-3,
        "Words more frequent than this share are left out now and then; 0: none.",
        group="Data",
        at_least=0,
        below=1,
    )
    vector_size: int = option(100, "Elements of a vector.", group="Model", at_least=1, at_most=1 << 16)
    sg: bool = option(True, "Skip-gram; else CBOW, the continuous bag of words.", group="Model")
    hs: bool = option(False, "Hierarchical softmax.", group="Model")
    negative: int = option(
        5, "Negatives drawn for each word; 0: none.", group="Model", at_least=0, at_most=10000
    )
    window: int = option(
        5,
        "The largest distance between a word and those of its context.",
        group="Model",
        at_least=1,
        at_most=10000,
    )
    ns_exponent: float = option(0.75, "Negatives are drawn by their count to this power.", group="Model")
    cbow_mean: bool = option(True, "CBOW predicts from the context's mean; else its sum.", group="Model")
    epochs: int = option(5, "Passes over the text.", at_least=1)
    alpha: float = option(0.025, "Learning rate at the beginning.", at_least=0)
    min_alpha: float = option(1e-4, "Learning rate at the end.", at_least=0)
    deterministic: bool = option(
        False, "The same bits for any number of threads, at the speed of one.", group="Run"
    )
    map: str = option(
        "auto",
        "Draw the most frequent words: by t-SNE, or by principal components; auto: by t-SNE if scikit-learn is there.",
        group="Run",
        choices=CHOICES,
    )
    checkpoint_seconds: float = option(
        60.0, "A checkpoint after so many seconds of an epoch, and at its end.", group="Run", above=0
    )

    def check(self) -> None:
        """Something must be learned from."""
        if not self.negative and not self.hs:
            raise SettingsError("negative is 0 and hs is false; expected one of them to learn from")


def train(settings: Word2VecSettings, options: RunOptions) -> Result:
    """Count, train, evaluate; write the vectors and what they say."""
    check_map(settings.map)
    name, source = _source(settings)
    given = settings.as_dict()
    try:
        model = Word2Vec(
            **{key: value for key, value in given.items() if key not in _OF_THE_RUN},
            deterministic=settings.deterministic,
            device=options.device,
        )
    except ValueError as error:  # what a device does not hold
        raise SettingsError(str(error)) from error
    run = open_run("word2vec", settings, options, may_change={"deterministic", "map", "checkpoint_seconds"})
    began = time.perf_counter()
    model.reading_progress = _reading_line() if options.progress else None
    model.build_vocab(source)
    vocabulary_seconds = time.perf_counter() - began
    start = _go_on(model, run) if options.resume else Position(0)
    run.rewind(start.epoch)

    def save(position: Position) -> None:
        state = {
            **_matrices(model),
            _POSITION: np.array(position, np.float64),
            _VOCABULARY: _vocabulary(model),
        }
        save_safetensors(state, run.checkpoint)

    def after(model: Word2Vec, report: EpochReport) -> None:
        run.log(
            {
                "epoch": report.epoch + 1,  # from 1, as in all run folders
                "train_loss": report.loss,
                "words": report.words,
                "kept": report.kept,
                "seconds": report.seconds,
                "words_per_s": report.words_per_second,
            }
        )
        save(Position(report.epoch + 1))

    model.callbacks = (after,)
    with StopSignals() as signals:
        show = _progress_line(settings.epochs) if options.progress else None

        def look(now: TrainingProgress) -> None:
            if show is not None:
                show(now)
            if signals.received is not None:
                raise KeyboardInterrupt

        model.progress = look
        try:
            model.train(start=start, checkpoint_seconds=settings.checkpoint_seconds, checkpoint=save)
        except KeyboardInterrupt as error:
            position = model.trainer.position
            if (
                position.piece or not position.epoch
            ):  # else the last epoch's checkpoint is where to go on from
                save(position)
            raise Interrupted(
                f"training stopped by {signals.received or 'SIGINT'} in epoch {position.epoch + 1}, after "
                f"{position.words:,} words; checkpoint written to {run.checkpoint}: resume to go on",
                run.checkpoint,
            ) from error
    if options.progress and sys.stderr.isatty():
        print(file=sys.stderr)
    wv = model.wv
    wv.save(run.folder)
    records = run.metrics()
    seconds = sum(record["seconds"] for record in records)
    read = sum(record["words"] for record in records)
    metrics: dict[str, Any] = {
        "words": len(wv),
        "tokens": records[-1]["words"],
        "kept": records[-1]["kept"] / max(records[-1]["words"], 1),
        "train_loss": records[-1]["train_loss"],
        "train_seconds": seconds,
        "words_per_s": read / seconds,
        "vocabulary_seconds": vocabulary_seconds,
        "device": options.device,
        "threads": 1 if settings.deterministic else kernels.get_num_threads(),
        **evaluation(wv),
    }
    metrics["peak_memory"] = peak_memory()
    if any(record["train_loss"] is not None for record in records):  # one word in 32 is asked for its loss
        plots.loss_curve(records, run.path("loss.png"), title=f"word2vec on {name}")
    near = neighbours(wv)
    run.path("neighbours.txt").write_text(near, encoding="utf-8")
    leave_map(wv, run, settings.map, title=f"Words of {name}", seed=settings.seed)
    write_json(run, "result.json", {"recipe": "word2vec", "data": name, **metrics})
    target = RECIPE.target(settings.data) if settings.corpus is None else None
    return Result("word2vec", run.folder, metrics, _lines(metrics, near, target), target)


def _source(settings: Word2VecSettings) -> tuple[str, Any]:
    if settings.corpus is not None:
        path = require_file(settings.corpus, "word2vec: corpus")
        return path.name, path
    if settings.data == "text8":
        return "text8", text8_path()
    return "topics", load_text("topics").sentences


def _matrices(model: Word2Vec) -> dict[str, Any]:
    trainer = model.trainer
    matrices = {"vectors": trainer.vectors, "outputs": trainer.outputs, "nodes": trainer.nodes}
    return {name: matrix for name, matrix in matrices.items() if matrix is not None}


def _vocabulary(model: Word2Vec) -> Any:
    return np.frombuffer(model.vocabulary.fingerprint(), np.uint8)


def _go_on(model: Word2Vec, run: RunFolder) -> Position:
    """Take the matrices of the last checkpoint; returns where that was."""
    if not run.checkpoint.is_file():
        return Position(0)
    try:
        found = load_safetensors(run.checkpoint)
        if not np.array_equal(found.get(_VOCABULARY, _vocabulary(model)), _vocabulary(model)):
            raise ValueError("it was made of a text with other words or counts")
        for name, to in _matrices(model).items():
            if found[name].shape != to.shape:
                raise ValueError(f"{name} is {found[name].shape}, expected {to.shape}")
            to[...] = found[name]
        if _POSITION not in found:  # of a run before checkpoints within an epoch: the end of the last one
            return Position(len(list(run.metrics())))
        if (
            found[_POSITION].shape != (7,)
            or not np.isfinite(found[_POSITION]).all()
            or found[_POSITION].min() < 0
        ):
            raise ValueError(f"{_POSITION} is no position in a text")
        epoch, piece, words, kept, loss, pairs, seconds = found[_POSITION].tolist()
        return Position(int(epoch), int(piece), int(words), int(kept), loss, int(pairs), seconds)
    except (KeyError, ValueError) as error:
        raise RunFolderError(
            f"run folder {run.folder}: {run.CHECKPOINT} does not belong to this text and these settings ({error})"
        ) from error


def _reading_line() -> Any:
    """How far the text is read: on a terminal always, else now and then."""
    shown = [time.monotonic()]

    def show(what: str, done: int, total: int) -> None:
        text = f"{what} {done / total:4.0%}" if total else f"{what} {done / 1e6:,.0f} MB"
        if sys.stderr.isatty():
            print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - shown[0] > 30:
            shown[0] = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    return show


def _progress_line(epochs: int) -> Any:
    shown = [0.0]

    def show(now: TrainingProgress) -> None:
        text = (
            f"epoch {now.epoch + 1}/{epochs}: {now.words / max(now.total, 1):4.0%}, loss {now.loss:.3f}, "
            f"{now.words_per_second:,.0f} words/s, {_left(now.seconds_left)} left"
        )
        if sys.stderr.isatty():
            print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)
            return
        # Of short epochs the first and the last have a line; within a long one there is one now and then.
        ends, since = now.words == now.total, time.monotonic() - shown[0]
        if (ends and (now.epoch in (0, epochs - 1) or since > 1)) or since > 30:
            shown[0] = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    return show


def _left(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def evaluation(wv: KeyedVectors) -> dict[str, Any]:
    """Analogies and similarities, where their files are and the vocabulary has some of their words."""
    root = data_folder()
    folder = None if root is None else root / "analogy"
    found: dict[str, Any] = {}
    if folder is None:
        return found
    if (folder / _ANALOGIES).is_file():
        share, sections = wv.evaluate_word_analogies(folder / _ANALOGIES, restrict_vocab=_FREQUENT)
        asked = sum(len(section["correct"]) + len(section["incorrect"]) for section in sections[:-1])
        if asked:
            found.update(analogies=float(share), analogies_asked=asked)
    for file in _PAIRS:
        if (folder / file).is_file():
            try:
                _, spearman, unknown = wv.evaluate_word_pairs(folder / file)
            except (DataError, ValueError):
                continue  # too few words of it are known
            if math.isfinite(spearman[0]):
                found[Path(file).stem] = float(spearman[0])
                found[f"{Path(file).stem}_unknown"] = float(unknown)
    return found


def neighbours(wv: KeyedVectors) -> str:
    """The words nearest to some, from the 50th most frequent on."""
    if len(wv) < 2:
        return ""
    first = min(50, len(wv) // 4)
    chosen = np.unique(np.geomspace(first + 1, min(len(wv), 5000), min(_SHOWN, len(wv)), dtype=int)) - 1
    lines = []
    for i in chosen:
        word = wv.index_to_key[int(i)]
        near = wv.most_similar(word, topn=min(_NEIGHBOURS, len(wv) - 1))
        lines.append(f"{word:<16} " + ", ".join(f"{other} {cosine:.2f}" for other, cosine in near))
    return "\n".join(lines) + "\n"


def _lines(metrics: dict[str, Any], near: str, target: Target | None) -> list[tuple[str, str]]:
    loss = metrics["train_loss"]
    lines = [
        ("vectors", f"of {metrics['words']:,} words; the text has {metrics['tokens']:,} of them"),
        (
            "training",
            f"{metrics['train_seconds']:.1f} s, {metrics['words_per_s']:,.0f} words a second on "
            f"{_where(metrics)}; vocabulary "
            f"{metrics['vocabulary_seconds']:.2f} s",
        ),
        ("loss", "none: too few words" if loss is None else f"{loss:.3f} nats for each word and input"),
    ]
    if "analogies" in metrics:
        lines.append(("analogies", f"{metrics['analogies']:.1%} of {metrics['analogies_asked']:,}"))
    for file, title in (("wordsim353", "WordSim-353"), ("simlex999", "SimLex-999")):
        if file in metrics:
            lines.append(
                (title, f"Spearman {metrics[file]:.3f}; {metrics[f'{file}_unknown']:.0f}% of pairs unknown")
            )
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    for line in near.splitlines()[:5]:
        word, others = line.split(maxsplit=1)
        lines.append((f"near {word}", others))
    return lines


def _where(metrics: dict[str, Any]) -> str:
    if metrics["device"] != "cpu":
        return str(metrics["device"])
    return f"{metrics['threads']} thread{'s' if metrics['threads'] > 1 else ''}"


RECIPE = Recipe(
    name="word2vec",
    summary="word vectors: skip-gram and CBOW, negative sampling and hierarchical softmax",
    settings_type=Word2VecSettings,
    train=train,
    datasets=("topics", "text8"),
    presets={
        "topics": {"epochs": 40, "min_count": 3, "alpha": 0.05},
        "text8": {"sample": 1e-4},
        "corpus": {},
    },
    targets={
        "topics": Target("loss of at most 2.2", "train_loss", at_most=2.2),
        "text8": Target("33% of analogies", "analogies", at_least=0.33),
    },
)
