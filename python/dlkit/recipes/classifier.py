"""What the recipes of classifiers share: load the data, train, measure, draw, write it all down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels
from dlkit.autograd import Tensor
from dlkit.data import Batches, Dataset, holdout, load
from dlkit.nn import Module
from dlkit.optim import Optimizer
from dlkit.train import Callback, EarlyStopping, RunFolder, Trainer, plots

from .card import FILE as CARD_FILE
from .card import Card
from .folders import open_run, write_json
from .predictor import as_probabilities
from .recipe import Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .work import peak_memory, work_lines, work_of

DATASETS = ("digits", "mnist", "fashion-mnist")


@dataclass(frozen=True)
class ClassifierSettings(Settings):
    """The settings that all classifiers have."""

    data: str = option("digits", "Data set.", group="Data", choices=DATASETS)
    validation: float = option(
        0.0,
        "Share of the training samples to hold out for validation. 0: watch the test samples (nothing is "
        "chosen by them).",
        group="Data",
        at_least=0,
        below=1,
    )
    epochs: int = option(20, "Passes over the training samples.", at_least=1)
    batch_size: int = option(64, "Samples per update.", at_least=1)
    patience: int = option(
        0,
        "Stop after this many epochs without a better validation loss, and keep the best weights. 0: never. "
        "Needs --validation.",
        at_least=0,
    )

    def check(self) -> None:
        """Early stopping by the test samples would make their accuracy worthless."""
        if self.patience and not self.validation:
            raise SettingsError(
                f"patience is {self.patience} but validation is 0: early stopping needs samples of its own, "
                f"such as validation=0.1"
            )

    @property
    def may_change(self) -> frozenset[str]:
        """The settings that a resumed run may change."""
        return frozenset({"epochs"})


@dataclass
class Parts:
    """What a recipe brings to `train_classifier`.

    Attributes
    ----------
    model, optimizer, loss, scheduler
        As for `dlkit.train.Trainer`; the scheduler is stepped after every update.
    card
        The description that goes beside the weights.
    clip_norm
        As for `dlkit.train.Trainer`.
    trainer_type
        The trainer's class.
    draw
        Draws further pictures into the run folder once training is over.
    transform
        What happens to a batch's inputs in training, as for `dlkit.data.Batches`.
    callbacks
        Further callbacks of the trainer.
    """

    model: Module
    optimizer: Optimizer
    loss: Callable[[Tensor, Any], Tensor]
    card: Card
    scheduler: Any = None
    clip_norm: float | None = None
    trainer_type: type[Trainer] = Trainer
    draw: Callable[[RunFolder], None] | None = None
    transform: Callable[..., NDArray[Any]] | None = None
    callbacks: list[Callback] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def train_classifier(
    name: str,
    settings: ClassifierSettings,
    options: RunOptions,
    build: Callable[[Dataset, int], Parts],
    target: Target | None,
) -> Result:
    """Train a classifier as its settings say, and leave a run folder.

    Parameters
    ----------
    name
        The recipe's name.
    settings, options
        What to do, and how.
    build
        Makes model, optimizer and loss for a data set and a number of updates per epoch. The random generator
        is seeded before it is called.
    target
        What the recipe must reach.
    """
    dataset = load(settings.data)
    x, y = dataset.train
    watched = dataset.test
    if settings.validation:
        x, y, x_held, y_held = holdout(x, y, fraction=settings.validation, seed=settings.seed)
        watched = x_held, y_held
    kernels.manual_seed(settings.seed)
    batches = Batches(x, y, batch_size=settings.batch_size, seed=settings.seed)
    parts = build(dataset, len(batches))
    batches.transform = parts.transform
    parts.model.to(options.device)
    if isinstance(parts.loss, Module):
        parts.loss.to(options.device)

    run = open_run(name, settings, options, may_change=settings.may_change)
    write_json(run, CARD_FILE, parts.card.as_dict())
    callbacks = list(parts.callbacks)
    if settings.patience:
        callbacks.append(EarlyStopping(patience=settings.patience))
    trainer = parts.trainer_type(
        parts.model,
        parts.optimizer,
        parts.loss,
        scheduler=parts.scheduler,
        scheduler_interval="step",
        clip_norm=parts.clip_norm,
        callbacks=callbacks,
        run=run,
        progress=options.progress,
    )
    history = trainer.fit(batches, epochs=settings.epochs, validation=watched, resume=options.resume)

    test = trainer.evaluate(*dataset.test)
    outputs = trainer.predict(dataset.x_test)
    wrong = int(np.count_nonzero(outputs.argmax(axis=1) != dataset.y_test))
    metrics: dict[str, Any] = {
        "test_accuracy": 1 - wrong / len(dataset.y_test),
        "test_wrong": wrong,
        "test_samples": len(dataset.y_test),
        "test_loss": test["loss"],
        "train_accuracy": history[-1]["train_accuracy"],
        "epochs": trainer.epoch,
        "parameters": sum(int(p.data.size) for p in parts.model.parameters()),
        "stop_reason": trainer.stop_reason,
        **work_of(history, options.device),
    }
    watched_name = "validation" if settings.validation else "test"
    harder = [
        what
        for what, there in (
            ("dropout", any(getattr(settings, f"{part}dropout", 0) for part in ("", "input_", "conv_"))),
            ("distortions", parts.transform is not None),
        )
        if there
    ]
    note = f"training: mean over the epoch while it ran, with {' and '.join(harder)}; {watched_name}: after it, without"
    plots.loss_curve(
        history,
        run.path("loss.png"),
        title=f"{name} on {dataset.name}",
        watched=watched_name,
        note=note if harder else None,
    )
    _draw(run, f"{name} on {dataset.name}", dataset, outputs, parts)
    metrics["peak_memory"] = peak_memory()
    write_json(run, "result.json", {"recipe": name, "data": dataset.name, **metrics})
    return Result(name, run.folder, metrics, _lines(metrics, parts, target), target)


def _draw(run: RunFolder, title: str, dataset: Dataset, outputs: NDArray[Any], parts: Parts) -> None:
    predicted = outputs.argmax(axis=1)
    plots.confusion_matrix(
        dataset.y_test,
        predicted,
        run.path("confusion.png"),
        classes=dataset.classes,
        title=f"{title}, test samples",
    )
    probabilities = as_probabilities(outputs, parts.card.probabilities)
    if probabilities is not None:
        plots.confident_mistakes(
            dataset.x_test,
            dataset.y_test,
            probabilities,
            run.path("mistakes.png"),
            classes=dataset.classes,
            image_shape=dataset.image_shape,
            title=f"{title}, test samples",
        )
    if parts.draw is not None:
        parts.draw(run)


def _lines(metrics: dict[str, Any], parts: Parts, target: Target | None) -> list[tuple[str, str]]:
    lines = [
        (
            "test accuracy",
            f"{metrics['test_accuracy']:.2%} ({metrics['test_wrong']} of {metrics['test_samples']} wrong)",
        )
    ]
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    lines.append(("model", f"{metrics['parameters']:,} parameters"))
    lines += parts.notes
    lines += work_lines(metrics, metrics["epochs"])
    if metrics["stop_reason"]:
        lines.append(("stopped early", metrics["stop_reason"]))
    return lines
