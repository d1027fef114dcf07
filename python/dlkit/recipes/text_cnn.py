"""``dlkit train text-cnn``: the convolutional network for sentences."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels, nn, optim
from dlkit.data import TextBatches, TextDataset, Vocabulary, load_text, pad_sentences, read_word_vectors
from dlkit.data.text_dataset import take_out
from dlkit.kernels.backend import to_host
from dlkit.models import TextCNN
from dlkit.models.text_cnn import ACTIVATIONS, MODES
from dlkit.train import Callback, EarlyStopping, RunFolder, Trainer, plots

from .card import FILE as CARD_FILE
from .folders import open_run, write_json
from .optimizers import SCHEDULES
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .text_card import VOCABULARY, TextCard
from .text_figures import Explained, FilterView, fold_accuracies, ngram_table, saliency_lines
from .text_predictor import Ngram, TextPredictor
from .work import peak_memory, work_lines, work_of

DATASETS = ("topics", "mr", "trec", "subj", "cr", "sst2", "sst5")
OPTIMIZERS = ("adadelta", "adam")
PREDICTIONS = "predictions.json"
_SHOWN_FILTERS = 4  # of each region size
_SHOWN_SENTENCES = 12


@dataclass(frozen=True)
class TextCNNSettings(Settings):
    """The network for sentences, its word vectors, and how it is trained."""

    data: str = option("topics", "Set of sentences.", group="Data", choices=DATASETS)
    vectors: str | None = option(
        None, "Word vectors to begin with: a file, or the run folder of dlkit train word2vec.", group="Data"
    )
    min_count: int = option(1, "A word that is there less often is unknown.", group="Data", at_least=1)
    phrases: bool = option(
        True, "Treebank: every labelled phrase is a training sample, not only sentences.", group="Data"
    )
    folds: int = option(
        10,
        "Folds of cross-validation, where there is no official split.",
        group="Data",
        at_least=2,
        at_most=20,
    )
    fold: int = option(
        0, "The fold to test on; the others are for training.", group="Data", at_least=0, at_most=19
    )
    cross_validate: bool = option(
        False, "Train once for each fold, and give the mean accuracy.", group="Data"
    )
    validation: float = option(
        0.1,
        "Share of the training sentences to hold out for validation, where the set has no part for it. 0: watch the "
        "test sentences (nothing is chosen by them).",
        group="Data",
        at_least=0,
        below=1,
    )
    mode: str = option(
        "random",
        "Word vectors: random, or from --vectors: static, non-static or both.",
        group="Model",
        choices=MODES,
    )
    dimensions: int = option(
        300, "Of random word vectors; else the file's.", group="Model", at_least=1, at_most=1 << 16
    )
    spread: float = option(
        0.25, "Random word vectors begin uniform from minus this to this.", group="Model", at_least=0
    )
    regions: tuple[int, ...] = option(
        (3, 4, 5),
        "Words that the filters of each group see.",
        group="Model",
        at_least=1,
        at_most=100,
        empty=False,
    )
    filters: int = option(100, "Filters of each group.", group="Model", at_least=1)
    activation: str = option("relu", "Nonlinearity.", group="Model", choices=ACTIVATIONS)
    k: int = option(
        1, "How many of a filter's largest answers are kept.", group="Model", at_least=1, at_most=100
    )
    dropout: float = option(
        0.5, "Share of the pooled answers dropped in training.", group="Model", at_least=0, below=1
    )
    max_norm: float = option(
        3.0, "The longest that a class's weights may be; 0: no limit.", group="Model", at_least=0
    )
    word_dropout: float = option(
        0.0, "Share of the words that are unknown, another one each time, in training.", at_least=0, below=1
    )
    epochs: int = option(25, "Passes over the training sentences, at most.", at_least=1)
    batch_size: int = option(50, "Sentences per update.", at_least=1)
    patience: int = option(
        6,
        "Stop after this many epochs without a better validation accuracy, and keep the best weights. 0: never, and "
        "keep the last.",
        at_least=0,
    )
    optimizer: str = option("adadelta", "Update rule.", choices=OPTIMIZERS)
    lr: float = option(1.0, "Learning rate (Adam: such as 0.001).", above=0)
    rho: float = option(0.95, "What Adadelta's means keep at each step.", at_least=0, below=1)
    weight_decay: float = option(0.0, "Pull of the weights towards zero.", at_least=0)
    schedule: str = option(
        "constant",
        "Learning rate over time: constant, or falling to zero along a cosine.",
        choices=SCHEDULES,
    )
    pictures: bool = option(True, "Draw what the filters and single words do.", group="Run")

    def check(self) -> None:
        """Vectors belong to some modes; choosing needs sentences of its own."""
        if self.mode != "random" and self.vectors is None:
            raise SettingsError(f"mode is {self.mode} but vectors is none: it needs a file of word vectors")
        if self.mode == "random" and self.vectors is not None:
            raise SettingsError(
                "vectors is given but mode is random; expected mode static, non-static or multichannel"
            )
        if self.fold >= self.folds:
            raise SettingsError(f"fold is {self.fold} but folds is {self.folds}: they are numbered from 0")
        if self.cross_validate and self.fold:
            raise SettingsError(f"cross_validate and fold {self.fold} are both given, expected one of them")

    @property
    def may_change(self) -> frozenset[str]:
        """The settings that a resumed run may change."""
        return frozenset({"epochs", "pictures"} if self.schedule == "constant" else {"pictures"})


class TextTrainer(Trainer):
    """A trainer that hides words now and then and keeps the weights of each class short.

    Attributes
    ----------
    word_dropout
        Share of the words that are made unknown.
    """

    word_dropout = 0.0

    def train_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Learn from one batch, then constrain the weights."""
        if self.word_dropout:
            hidden = kernels.random.generator().random(x.shape, dtype=np.float32) < self.word_dropout
            numbers = to_host(x)
            x = np.where(hidden & (numbers != Vocabulary.PADDING), Vocabulary.UNKNOWN, numbers)
            if self.device != "cpu":
                from dlkit.kernels.backend import move

                x = move(x, self.device)
        result = super().train_batch(x, y)
        assert isinstance(self.model, TextCNN)
        self.model.constrain()
        return result


@dataclass
class _Part:
    """What the training of one split came to."""

    metrics: dict[str, Any]
    rows: NDArray[np.int64]
    predicted: NDArray[np.int64]


def train(settings: TextCNNSettings, options: RunOptions) -> Result:
    """Train it, on one split or on every fold."""
    dataset = load_text(settings.data, phrases=settings.phrases)
    if settings.cross_validate and dataset.official is not None:
        raise SettingsError(f"text-cnn: cross_validate is set, but {settings.data} has an official split")
    run = open_run("text-cnn", settings, options, may_change=settings.may_change)
    if settings.cross_validate:
        metrics = _every_fold(settings, options, dataset, run)
    else:
        metrics = _one_split(settings, options, dataset, run, settings.fold, resume=options.resume).metrics
    metrics["peak_memory"] = peak_memory()
    write_json(run, "result.json", {"recipe": "text-cnn", "data": dataset.name, **metrics})
    target = RECIPE.target(settings.data)
    return Result("text-cnn", run.folder, metrics, _lines(metrics, target, settings), target)


def _every_fold(
    settings: TextCNNSettings, options: RunOptions, dataset: TextDataset, run: RunFolder
) -> dict[str, Any]:
    parts = []
    for fold in range(settings.folds):
        folder = run.folder / f"fold-{fold}"
        done = folder / PREDICTIONS
        if options.resume and done.is_file():
            parts.append(_read_part(done))
            continue
        resume = options.resume and (folder / RunFolder.SETTINGS).is_file()
        values = {"recipe": "text-cnn", **settings.as_dict(), "fold": fold, "device": options.device}
        own = RunFolder(
            folder,
            values,
            resume=resume,
            may_change={"device", *settings.may_change},
            defaults=type(settings)().as_dict(),
        )
        parts.append(_one_split(settings, options, dataset, own, fold, resume=resume))
    accuracies = [part.metrics["test_accuracy"] for part in parts]
    title = f"text-cnn on {dataset.name}"
    fold_accuracies(accuracies, run.path("folds.png"), title=title)
    # Every sentence has been tested on once.
    rows = np.concatenate([part.rows for part in parts])
    plots.confusion_matrix(
        dataset.labels[rows],
        np.concatenate([part.predicted for part in parts]),
        run.path("confusion.png"),
        classes=dataset.classes,
        title=f"{title}, all folds",
    )
    # The first fold's model stands for the run in `dlkit predict`.
    for name in (
        RunFolder.MODEL,
        CARD_FILE,
        VOCABULARY,
        "ngrams.json",
        "ngrams.png",
        "saliency.png",
        "loss.png",
    ):
        if (run.folder / "fold-0" / name).is_file():
            shutil.copyfile(run.folder / "fold-0" / name, run.path(name))
    first = parts[0].metrics
    wrong = sum(part.metrics["test_wrong"] for part in parts)
    samples = sum(part.metrics["test_samples"] for part in parts)
    summed = {
        name: sum(part.metrics[name] for part in parts)
        for name in ("epochs", "train_seconds", "test_samples")
    }
    return {
        **first,
        **summed,
        "test_accuracy": 1 - wrong / samples,
        "test_wrong": wrong,
        "fold_accuracies": accuracies,
        "fold_spread": float(np.std(accuracies)),
        "samples_per_s": float(np.mean([part.metrics["samples_per_s"] for part in parts])),
    }


def _one_split(
    settings: TextCNNSettings,
    options: RunOptions,
    dataset: TextDataset,
    run: RunFolder,
    fold: int,
    *,
    resume: bool,
) -> _Part:
    split = dataset.split(fold, settings.folds, settings.seed)
    rows, watched = split.train, split.validation
    if watched is None and settings.validation:
        rows, watched = take_out(rows, settings.validation, settings.seed)
    if watched is None:
        watched = split.test
        if settings.patience:
            raise SettingsError(
                f"text-cnn: patience is {settings.patience} but validation is 0: to keep the best weights needs "
                f"sentences of its own, such as validation=0.1"
            )
    vocabulary, table = _words(settings, dataset, rows)
    numbers = [vocabulary.numbers(sentence) for sentence in dataset.sentences]
    kernels.manual_seed(settings.seed + fold)
    arguments: dict[str, Any] = {
        "words": len(vocabulary),
        "classes": len(dataset.classes),
        "dimensions": settings.dimensions if table is None else table.shape[1],
        "regions": list(settings.regions),
        "filters": settings.filters,
        "activation": settings.activation,
        "k": settings.k,
        "dropout": settings.dropout,
        "max_norm": settings.max_norm,
        "mode": settings.mode,
        "spread": settings.spread,
    }
    model = TextCNN(**arguments)
    if table is not None:
        model.set_vectors(table)
    model.to(options.device)
    card = TextCard(arguments, list(dataset.classes), dataset.lower, dataset.name.startswith("sst"))
    write_json(run, CARD_FILE, card.as_dict())
    vocabulary.save(run.path(VOCABULARY))

    callbacks: list[Callback] = []
    if settings.patience:
        callbacks.append(EarlyStopping("val_accuracy", patience=settings.patience))
    optimizer = _optimizer(settings, model)
    schedule = None
    if settings.schedule == "cosine":
        updates = settings.epochs * -(-len(rows) // settings.batch_size)
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=updates)
    trainer = TextTrainer(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        scheduler=schedule,
        scheduler_interval="step",
        callbacks=callbacks,
        run=run,
        progress=options.progress,
    )
    trainer.word_dropout = settings.word_dropout
    batches = TextBatches(
        [numbers[row] for row in rows],
        dataset.labels[rows],
        settings.batch_size,
        seed=settings.seed + fold,
        before=model.before,
        after=model.after,
    )
    # By length: what a batch of them shares of padding at the end is not computed.
    watched = watched[np.argsort([len(numbers[row]) for row in watched], kind="stable")]
    seen = pad_sentences([numbers[row] for row in watched], model.before, model.after)
    history = trainer.fit(
        batches, epochs=settings.epochs, validation=(seen, dataset.labels[watched]), resume=resume
    )

    predictor = TextPredictor(model, vocabulary, card, options.device)
    scores = predictor.scores([numbers[row] for row in split.test])
    labels = dataset.labels[split.test]
    predicted = scores.argmax(axis=1)
    wrong = int(np.count_nonzero(predicted != labels))
    metrics: dict[str, Any] = {
        "test_accuracy": 1 - wrong / len(labels),
        "test_wrong": wrong,
        "test_samples": len(labels),
        "test_loss": float(nn.functional.cross_entropy(scores, labels).item()),
        "val_accuracy": max(record["val_accuracy"] for record in history),
        "train_accuracy": history[-1]["train_accuracy"],
        "epochs": trainer.epoch,
        "parameters": sum(int(p.data.size) for p in model.parameters()),
        "words": len(vocabulary),
        "stop_reason": trainer.stop_reason,
        **work_of(history, options.device),
    }
    _draw(run, dataset, predictor, history, split.test, predicted, settings)
    write_json(
        run,
        PREDICTIONS,
        {"rows": split.test.tolist(), "predicted": predicted.tolist(), "metrics": metrics},
    )
    return _Part(metrics, split.test, predicted)


def _read_part(path: Path) -> _Part:
    values = json.loads(path.read_text(encoding="utf-8"))
    return _Part(values["metrics"], np.array(values["rows"]), np.array(values["predicted"]))


def _words(
    settings: TextCNNSettings, dataset: TextDataset, rows: NDArray[np.int64]
) -> tuple[Vocabulary, NDArray[np.float32] | None]:
    """The words of the training sentences, and with vectors from a file those of the others that have one."""
    training = [dataset.sentences[row] for row in rows]
    vocabulary = Vocabulary.of(training, settings.min_count)
    if settings.vectors is None:
        return vocabulary, None
    every = {word for sentence in dataset.sentences for word in sentence}
    found = read_word_vectors(settings.vectors, keep=every)
    if not len(found):
        raise SettingsError(
            f"text-cnn: vectors is {settings.vectors}: it has none of the {len(every)} words of {dataset.name}"
        )
    more = sorted(set(found.words) - set(vocabulary))
    vocabulary = Vocabulary([*vocabulary, *(word for word in more if word not in Vocabulary.SPECIAL)])
    table, _ = found.table(vocabulary.words, seed=settings.seed)
    return vocabulary, table


def _optimizer(settings: TextCNNSettings, model: TextCNN) -> optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if settings.optimizer == "adadelta":
        return optim.Adadelta(
            parameters, lr=settings.lr, rho=settings.rho, weight_decay=settings.weight_decay
        )
    return optim.Adam(parameters, lr=settings.lr, weight_decay=settings.weight_decay)


def _draw(
    run: RunFolder,
    dataset: TextDataset,
    predictor: TextPredictor,
    history: Any,
    rows: NDArray[np.int64],
    predicted: NDArray[np.int64],
    settings: TextCNNSettings,
) -> None:
    title = f"text-cnn on {dataset.name}"
    drops = settings.dropout or settings.word_dropout
    plots.loss_curve(
        history,
        run.path("loss.png"),
        title=title,
        watched="validation" if dataset.official is None or settings.validation else "test",
        note="training: mean over the epoch while it ran, with dropout" if drops else None,
    )
    plots.confusion_matrix(
        dataset.labels[rows],
        predicted,
        run.path("confusion.png"),
        classes=dataset.classes,
        title=f"{title}, test sentences",
    )
    if not settings.pictures:
        return
    sentences = [dataset.sentences[row] for row in rows]
    ngrams = predictor.ngrams(sentences)
    classes = _speaks_for(predictor.model)
    write_json(run, "ngrams.json", _ngrams_json(predictor.model, dataset.classes, classes, ngrams))
    views = []
    for group, region in enumerate(predictor.model.regions):
        # Those filters whose best answer is greatest.
        best = [max((ngram.answer for ngram in some), default=0.0) for some in ngrams[group]]
        order = np.argsort(-np.array(best), kind="stable").tolist()
        views += [
            FilterView(region, number, dataset.classes[classes[group][number]], ngrams[group][number])
            for number in order[:_SHOWN_FILTERS]
        ]
    ngram_table(views, run.path("ngrams.png"), title=f"{title}: the words that excite some filters most")
    chosen = _examples(dataset, rows, predicted)
    explained = [
        Explained(
            dataset.sentences[rows[at]],
            predictor.saliency(dataset.sentences[rows[at]], int(predicted[at])),
            dataset.classes[predicted[at]],
            dataset.classes[dataset.labels[rows[at]]],
        )
        for at in chosen
    ]
    saliency_lines(
        explained,
        run.path("saliency.png"),
        title=f"{title}: words that speak for the answer (blue) and against it (red)",
    )


def _examples(dataset: TextDataset, rows: NDArray[np.int64], predicted: NDArray[np.int64]) -> list[int]:
    """Some test sentences of moderate length, of every class in turn, two thirds of them right."""
    right = predicted == dataset.labels[rows]
    wanted: list[int] = []
    for keep, count in ((right, _SHOWN_SENTENCES * 2 // 3), (~right, _SHOWN_SENTENCES // 3)):
        by_class = [
            [
                int(at)
                for at in np.flatnonzero(keep & (dataset.labels[rows] == number))
                if 3 <= len(dataset.sentences[rows[at]]) <= 28
            ]
            for number in range(len(dataset.classes))
        ]
        in_turn = [some[i] for i in range(count) for some in by_class if i < len(some)]
        wanted += in_turn[:count]
    return wanted


def _speaks_for(model: TextCNN) -> list[list[int]]:
    """For each region size, for each filter: the class whose weight for it is greatest."""
    weight = to_host(model.output.weight.data)
    by_filter = weight.reshape(model.classes, len(model.regions), model.filters, model.k).mean(axis=3)
    return [[int(number) for number in group] for group in by_filter.argmax(axis=0)]


def _ngrams_json(
    model: TextCNN,
    names: Sequence[str],
    classes: list[list[int]],
    ngrams: list[list[list[Ngram]]],
) -> list[dict[str, Any]]:
    return [
        {
            "region": region,
            "filter": number,
            "speaks_for": names[classes[group][number]],
            "ngrams": [{"words": list(n.words), "answer": n.answer} for n in ngrams[group][number]],
        }
        for group, region in enumerate(model.regions)
        for number in range(model.filters)
    ]


def _lines(
    metrics: dict[str, Any], target: Target | None, settings: TextCNNSettings
) -> list[tuple[str, str]]:
    wrong = f"{metrics['test_wrong']} of {metrics['test_samples']} wrong"
    if settings.cross_validate:
        wrong += f"; {settings.folds} folds, standard deviation {metrics['fold_spread']:.2%}"
    lines = [("test accuracy", f"{metrics['test_accuracy']:.2%} ({wrong})")]
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    lines.append(("model", f"{metrics['parameters']:,} parameters, {metrics['words']:,} words"))
    lines += work_lines(metrics, metrics["epochs"])
    if metrics["stop_reason"] and not settings.cross_validate:
        lines.append(("stopped early", metrics["stop_reason"]))
    return lines


RECIPE = Recipe(
    name="text-cnn",
    summary="Convolutional network for sentences: what is a question about, is a review good",
    settings_type=TextCNNSettings,
    train=train,
    asked='"a sentence"',
    datasets=DATASETS,
    presets={
        "topics": {"dimensions": 100, "epochs": 15, "validation": 0.0, "patience": 0},
        # Small vectors at the start, and some words unknown: three points of held-out questions, one of reviews.
        "mr": {"spread": 0.1, "word_dropout": 0.1},
        "trec": {
            "epochs": 20,
            "validation": 0.0,
            "patience": 0,
            "schedule": "cosine",
            "spread": 0.1,
            "word_dropout": 0.1,
        },
        "sst2": {"epochs": 12},
        "sst5": {"epochs": 12},
    },
    targets={
        "topics": Target("at least 65%", "test_accuracy", 0.65),
        "mr": Target("at least 76% (10 folds: --cross-validate)", "test_accuracy", 0.76),
        "trec": Target("at least 91%", "test_accuracy", 0.91),
        "subj": Target("at least 89% (10 folds: --cross-validate)", "test_accuracy", 0.89),
        "cr": Target("at least 79% (10 folds: --cross-validate)", "test_accuracy", 0.79),
        "sst2": Target("at least 82%", "test_accuracy", 0.82),
        "sst5": Target("at least 44%", "test_accuracy", 0.44),
    },
)
