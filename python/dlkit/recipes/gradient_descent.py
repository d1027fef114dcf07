"""``dlkit train gradient-descent``: full-batch, mini-batch and online descent from the same start."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels, nn, optim
from dlkit.data import Batches, load
from dlkit.models import MLP
from dlkit.models.mlp import ACTIVATIONS
from dlkit.train import Callback, RunFolder, Trainer

from .card import FILE as CARD_FILE
from .card import card_for
from .classifier import DATASETS
from .figures import Descent, descents
from .folders import open_run, write_json
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, option
from .work import peak_memory

#: Points of each curve, evenly spread over the logarithm of the updates.
_POINTS = 60


@dataclass(frozen=True)
class DescentComparisonSettings(Settings):
    """The model, and each method's batch and step size."""

    data: str = option("digits", "Data set.", group="Data", choices=DATASETS)
    hidden: tuple[int, ...] = option(
        (),
        "Units of hidden layers, such as 32; none: softmax regression, whose loss is convex.",
        group="Model",
        at_least=1,
    )
    activation: str = option("tanh", "Nonlinearity of hidden layers.", group="Model", choices=ACTIVATIONS)
    epochs: int = option(100, "Passes of each method over the training samples.", at_least=1)
    batch_size: int = option(32, "Samples per update of mini-batch descent.", at_least=2)
    full_lr: float = option(2.0, "Learning rate of full-batch descent.", above=0)
    lr: float = option(0.5, "Learning rate of mini-batch descent.", above=0)
    online_lr: float = option(0.05, "Learning rate of online descent.", above=0)


class CurveRecorder(Callback):
    """Records the loss over all samples at evenly spread updates; the clock stands while it does.

    Parameters
    ----------
    x, y
        The samples to evaluate on.
    updates
        Updates of the whole run.
    per_epoch
        Updates of one epoch.
    """

    def __init__(self, x: NDArray[Any], y: NDArray[Any], updates: int, per_epoch: int) -> None:
        self._x, self._y, self._per_epoch = x, y, per_epoch
        steps = np.geomspace(1, updates, min(_POINTS, updates)).round().astype(int)
        self._steps = frozenset(steps.tolist())
        self.points: list[list[float]] = []
        self._elapsed = 0.0
        self._clock: float | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """The loss before the first update."""
        if not self.points:
            self._record(trainer)
        self._clock = perf_counter()

    def on_batch_end(self, trainer: Trainer) -> None:
        """Record, if this update is one of the chosen."""
        if trainer.step in self._steps:
            self._stop()
            self._record(trainer)
            self._clock = perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """The curve so far."""
        running = perf_counter() - self._clock if self._clock is not None else 0.0
        return {"points": [list(point) for point in self.points], "elapsed": self._elapsed + running}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a curve."""
        self.points = [list(point) for point in state["points"]]
        self._elapsed = float(state["elapsed"])

    def _stop(self) -> None:
        if self._clock is not None:
            self._elapsed += perf_counter() - self._clock

    def _record(self, trainer: Trainer) -> None:
        loss = trainer.evaluate(self._x, self._y)["loss"]
        self.points.append([trainer.step / self._per_epoch, self._elapsed, float(loss or 0.0)])


def train(settings: DescentComparisonSettings, options: RunOptions) -> Result:
    """Train three times from the same start and draw the losses over epochs and over time."""
    dataset = load(settings.data)
    x, y = dataset.train
    run = open_run("gradient-descent", settings, options)
    arguments: dict[str, Any] = {
        "in_features": dataset.features,
        "hidden": list(settings.hidden),
        "out_features": len(dataset.classes),
        "activation": settings.activation,
    }
    card = card_for(dataset, "MLP", arguments, "softmax")
    write_json(run, CARD_FILE, card.as_dict())

    curves: list[Descent] = []
    metrics: dict[str, Any] = {}
    lines: list[tuple[str, str]] = []
    for name, title, batch_size, lr in (
        ("full-batch", "full batch (gradient descent)", len(x), settings.full_lr),
        ("mini-batch", f"mini-batches of {settings.batch_size}", settings.batch_size, settings.lr),
        ("online", "online (one sample at a time)", 1, settings.online_lr),
    ):
        # The seed before each model: all three start from the same weights.
        kernels.manual_seed(settings.seed)
        model = MLP(**arguments).to(options.device)
        batches = Batches(x, y, batch_size=batch_size, seed=settings.seed)
        recorder = CurveRecorder(x, y, len(batches) * settings.epochs, len(batches))
        trainer, resume = _trainer(run, name, settings, model, lr, batch_size, recorder, options)
        trainer.fit(batches, epochs=settings.epochs, resume=resume)
        points = np.array(recorder.points)
        curves.append(Descent(f"{title}, lr {lr:g}", points[:, 0], points[:, 1], points[:, 2]))
        key = name.replace("-", "_")
        accuracy = trainer.evaluate(*dataset.test)["accuracy"]
        metrics[f"{key}_loss"] = float(points[-1, 2])
        metrics[f"{key}_seconds"] = float(points[-1, 1])
        metrics[f"{key}_updates"] = trainer.step
        metrics[f"{key}_test_accuracy"] = accuracy
        lines.append(
            (
                name,
                f"training loss {points[-1, 2]:.3g} after {trainer.step:,} updates in {points[-1, 1]:.2f} s; "
                f"test accuracy {accuracy or 0:.2%}",
            )
        )

    metrics["mini_batch_gain"] = metrics["full_batch_loss"] / max(metrics["mini_batch_loss"], 1e-12)
    descents(
        curves,
        run.path("descent.png"),
        title=f"Same start, {settings.epochs} epochs each, on {dataset.name}: how often to update",
    )
    run.rewind(-1)
    for curve in curves:
        for epoch, seconds, loss in zip(curve.epochs, curve.seconds, curve.losses, strict=True):
            run.log({"method": curve.name, "epoch": epoch, "seconds": seconds, "train_loss": loss})
    # The mini-batch model stands for the run in `dlkit predict`.
    shutil.copyfile(run.folder / "mini-batch" / RunFolder.MODEL, run.model)
    metrics["peak_memory"] = peak_memory()
    write_json(run, "result.json", {"recipe": "gradient-descent", "data": dataset.name, **metrics})
    target = RECIPE.target(settings.data)
    if target is not None:
        lines.append(
            ("to reach", f"{target.text}: {'reached' if target.reached(metrics) else 'not reached'}")
        )
    return Result("gradient-descent", run.folder, metrics, lines, target)


def _trainer(
    run: RunFolder,
    name: str,
    settings: DescentComparisonSettings,
    model: MLP,
    lr: float,
    batch_size: int,
    recorder: CurveRecorder,
    options: RunOptions,
) -> tuple[Trainer, bool]:
    """The trainer of one method, in a folder of its own, and whether it goes on with what is there."""
    folder = run.folder / name
    resume = options.resume and (folder / RunFolder.SETTINGS).is_file()
    values = {
        "recipe": "gradient-descent",
        "method": name,
        **settings.as_dict(),
        "lr": lr,
        "batch_size": batch_size,
        "device": options.device,
    }
    part = RunFolder(
        folder, values, resume=resume, may_change={"device"}, defaults=type(settings)().as_dict()
    )
    trainer = Trainer(
        model,
        optim.SGD(list(model.parameters()), lr=lr),
        nn.CrossEntropyLoss(),
        callbacks=[recorder],
        run=part,
        progress=options.progress,
    )
    return trainer, resume


_TARGET = Target("mini-batches beat the full batch at equal epochs", "mini_batch_gain", 1.0)

RECIPE = Recipe(
    name="gradient-descent",
    summary="Full-batch, mini-batch and online gradient descent compared from the same start",
    settings_type=DescentComparisonSettings,
    train=train,
    datasets=DATASETS,
    presets={
        "mnist": {"epochs": 5, "batch_size": 64, "online_lr": 0.01},
        "fashion-mnist": {"epochs": 5, "batch_size": 64, "online_lr": 0.01},
    },
    targets=dict.fromkeys(DATASETS, _TARGET),
)
