"""``dlkit train ranking-lm``: word vectors by SENNA's ranking language model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels, nn, optim
from dlkit.autograd import no_grad
from dlkit.data import DataError, WordCorpus, load_corpus, load_text
from dlkit.data.corpora import END
from dlkit.data.text_file import require_file
from dlkit.data.wikipedia import text8_path
from dlkit.data.window_batches import WindowBatches
from dlkit.kernels.backend import to_host
from dlkit.models import KeyedVectors, RankingLanguageModel
from dlkit.models.window_tagger import ACTIVATIONS
from dlkit.train import Trainer, plots
from dlkit.train.non_finite import non_finite_error

from .folders import open_run, write_json
from .optimizers import SCHEDULES
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .word2vec import evaluation, neighbours
from .work import peak_memory, work_lines, work_of

DATASETS = ("topics", "ptb", "wikitext2", "text8")
# Of a text the end: one word in so many is held out, so many at most, each beside so many drawn words.
_HELD_OUT, _MOST_HELD_OUT, _DRAWN = 20, 20000, 10
_EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class RankingSettings(Settings):
    """A ranking language model, and the text that it is trained on."""

    data: str = option("topics", "Text.", group="Data", choices=DATASETS)
    corpus: str | None = option(
        None, "A text file of one's own, a sentence a line; .gz, .xz, .bz2, too.", group="Data"
    )
    min_count: int = option(5, "Words that occur less often are left out.", group="Data", at_least=1)
    max_final_vocab: int | None = option(
        None, "So many words at most, the most frequent ones.", group="Data", at_least=1
    )
    window: int = option(
        11, "Words that are seen: odd, one in the middle.", group="Model", at_least=3, at_most=999
    )
    dimensions: int = option(50, "Of the word vectors.", group="Model", at_least=1, at_most=1 << 16)
    hidden: int = option(100, "Units of the hidden layer.", group="Model", at_least=1, at_most=1 << 16)
    activation: str = option("tanh", "Of the hidden layer.", group="Model", choices=ACTIVATIONS)
    drawn: int = option(
        1, "Words drawn for each window, to be ranked below its own.", at_least=1, at_most=10000
    )
    power: float = option(
        0.75,
        "Words are drawn in proportion to their counts to this power; 0, the paper's, draws all alike.",
        at_least=0,
        at_most=1,
    )
    epochs: int = option(5, "Passes over the text.", at_least=1)
    batch_size: int = option(256, "Windows per update.", at_least=1)
    lr: float = option(1e-3, "Learning rate of Adam.", above=0)
    schedule: str = option(
        "cosine", "Learning rate over time: constant, or falling to zero along a cosine.", choices=SCHEDULES
    )
    clip_norm: float | None = option(None, "Scale gradients to at most this norm.", above=0)

    def check(self) -> None:
        """A window has a middle."""
        if self.window % 2 == 0:
            raise SettingsError(f"window is {self.window}, expected an odd number: the word is in the middle")


class RankingTrainer(Trainer):
    """A trainer of windows and of the words that are drawn for them."""

    def _moved(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x, y  # the model takes numbers of the host

    def train_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Learn from one batch."""
        model: Any = self.model
        scores, others = model.rank(x, y)
        loss = model.loss(scores, others)
        value = loss.item()
        if not isfinite(value):
            raise non_finite_error(self, value, x, y, scores.data)
        self.optimizer.zero_grad()
        loss.backward()
        if self._clip is not None:
            self._clip()
        self.optimizer.step()
        return value, scores.data

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> dict[str, float | None]:
        """The loss of windows x with the words y, and the share of pairs of different words that are ranked right."""
        model: Any = self.model
        windows, words = np.asarray(x), np.asarray(y)
        different = words != windows[:, windows.shape[1] // 2, np.newaxis]
        total, right = 0.0, 0
        with no_grad():
            for start in range(0, len(windows), _EVALUATION_BATCH):
                some = words[start : start + _EVALUATION_BATCH]
                scores, others = model.rank(windows[start : start + _EVALUATION_BATCH], some)
                total += model.loss(scores, others).item() * some.size
                higher = to_host(scores._array)[:, np.newaxis] > to_host(others._array)
                right += int((higher & different[start : start + _EVALUATION_BATCH]).sum())
        return {"loss": total / words.size, "accuracy": right / max(int(different.sum()), 1)}


def train(settings: RankingSettings, options: RunOptions) -> Result:
    """Count the words, train, evaluate; write the vectors and what they say."""
    name, source = _source(settings)
    corpus = WordCorpus.build(source, settings.min_count, max_final_vocab=settings.max_final_vocab)
    train_tokens, held_out = _split(corpus.tokens, name)
    run = open_run("ranking-lm", settings, options)
    kernels.manual_seed(settings.seed)
    words = len(corpus.words)
    model = RankingLanguageModel(
        words + 1, settings.dimensions, settings.window, settings.hidden, settings.activation
    )
    model.to(options.device)
    batches = WindowBatches(
        *(train_tokens, words, settings.window, settings.batch_size),
        drawn=settings.drawn,
        power=settings.power,
        seed=settings.seed,
    )
    # The same windows and words after every epoch, whatever the seed of the training is. Drawn as they occur, so that
    # who knows words by their frequencies alone ranks half of the pairs right.
    watched = next(
        iter(WindowBatches(held_out, words, settings.window, _MOST_HELD_OUT, drawn=_DRAWN, power=1.0))
    )
    optimizer = optim.Adam(list(model.parameters()), lr=settings.lr)
    schedule = None
    if settings.schedule == "cosine":
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.epochs * len(batches))
    trainer = RankingTrainer(
        *(model, optimizer, nn.CrossEntropyLoss()),
        scheduler=schedule,
        scheduler_interval="step",
        clip_norm=settings.clip_norm,
        run=run,
        progress=options.progress,
    )
    history = trainer.fit(batches, epochs=settings.epochs, validation=watched, resume=options.resume)
    vectors = np.array(to_host(model.embedding.weight._array)[1:])  # that of borders is no word's
    wv = KeyedVectors(corpus.words, vectors, corpus.counts)
    wv.save(run.folder)
    metrics: dict[str, Any] = {
        "words": words,
        "tokens": int((np.asarray(corpus.tokens) >= 0).sum()),
        "train_loss": history[-1]["train_loss"],
        "val_loss": history[-1]["val_loss"],
        "val_accuracy": history[-1]["val_accuracy"],
        "epochs": trainer.epoch,
        "parameters": sum(int(p.data.size) for p in model.parameters()),
        **evaluation(wv),
        **work_of(history, options.device),
        "peak_memory": peak_memory(),
    }
    plots.loss_curve(history, run.path("loss.png"), title=f"ranking language model on {name}")
    near = neighbours(wv)
    run.path("neighbours.txt").write_text(near, encoding="utf-8")
    write_json(run, "result.json", {"recipe": "ranking-lm", "data": name, **metrics})
    target = RECIPE.target(settings.data) if settings.corpus is None else None
    return Result("ranking-lm", run.folder, metrics, _lines(metrics, near, target), target)


def _source(settings: RankingSettings) -> tuple[str, Any]:
    if settings.corpus is not None:
        path = require_file(settings.corpus, "ranking-lm: corpus")
        return path.name, path
    if settings.data == "text8":
        return "text8", text8_path()
    if settings.data == "topics":
        return "topics", load_text("topics").sentences
    text = load_corpus(settings.data)
    lines = itertools.groupby((text.words[i] for i in text.train.tolist()), key=END.__eq__)
    return settings.data, [list(words) for ends, words in lines if not ends]


def _split(tokens: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """The text without its last sentences, and these."""
    held = min(max(len(tokens) // _HELD_OUT, 1), _MOST_HELD_OUT)
    ends = np.flatnonzero(np.asarray(tokens[: len(tokens) - held]) < 0)
    at = int(ends[-1]) + 1 if len(ends) else len(tokens) - held
    if not (tokens[:at] >= 0).any() or not (tokens[at:] >= 0).any():
        raise DataError(
            f"ranking-lm: {name} has too few words, expected some for training and some to hold out"
        )
    return tokens[:at], tokens[at:]


def _lines(metrics: dict[str, Any], near: str, target: Target | None) -> list[tuple[str, str]]:
    lines = [
        ("vectors", f"of {metrics['words']:,} words; the text has {metrics['tokens']:,} of them"),
        (
            "ranked right",
            f"{metrics['val_accuracy']:.2%} of held-out windows and drawn words; loss {metrics['val_loss']:.3f}",
        ),
    ]
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    if "analogies" in metrics:
        lines.append(("analogies", f"{metrics['analogies']:.1%} of {metrics['analogies_asked']:,}"))
    for file, title in (("wordsim353", "WordSim-353"), ("simlex999", "SimLex-999")):
        if file in metrics:
            lines.append(
                (title, f"Spearman {metrics[file]:.3f}; {metrics[f'{file}_unknown']:.0f}% of pairs unknown")
            )
    lines += work_lines(metrics, metrics["epochs"])
    for line in near.splitlines()[:5]:
        word, others = line.split(maxsplit=1)
        lines.append((f"near {word}", others))
    return lines


RECIPE = Recipe(
    name="ranking-lm",
    summary="SENNA's ranking language model: word vectors from windows that score above corrupted ones",
    settings_type=RankingSettings,
    train=train,
    datasets=DATASETS,
    presets={
        "topics": {"min_count": 3, "epochs": 10, "lr": 3e-3},
        "text8": {"epochs": 2, "batch_size": 512, "max_final_vocab": 30000, "lr": 2e-3},
        "corpus": {},
    },
    targets={data: Target("80% of pairs ranked right", "val_accuracy", at_least=0.80) for data in DATASETS},
)
