"""``dlkit train vanishing-gradients``: how far back gradients reach, in every recurrent cell."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels, optim
from dlkit.autograd import Tensor
from dlkit.kernels.recurrent import CELLS
from dlkit.models import SequenceModel
from dlkit.models.sequence_model import INITS, count_parameters, hidden_for
from dlkit.nn.state_gradients import gradient_bound, state_gradients
from dlkit.train import Callback, NonFiniteLossError, RunFolder, Trainer
from dlkit.train.non_finite import non_finite_error
from dlkit.train.trainer import _target

from .card import FILE as CARD_FILE
from .card import card_for
from .folders import open_run, write_json
from .optimizers import SCHEDULES
from .recipe import Recipe, Result, RunOptions, Target
from .sequence_data import TASKS, Task, load_task
from .settings import Settings, SettingsError, option
from .vanishing_figures import clipping_panels, gradient_panels, init_panels, learning_curves
from .work import peak_memory, work_lines, work_of

COMPARISONS = ("all", "cells", "clipping", "init", "none")
#: Sequences on which gradients over time are measured, and lags at most.
_SEQUENCES, _LAGS = 5, 75
#: What is compared of first weights: of ReLU, and one of tanh.
FIRST_WEIGHTS = (
    ("relu", "uniform", 1.0),
    ("relu", "orthogonal", 1.0),
    ("relu", "identity", 1.0),
    ("relu", "identity", 0.9),
    ("relu", "identity", 1.1),
    ("tanh", "orthogonal", 1.0),
)


@dataclass(frozen=True)
class VanishingSettings(Settings):
    """What is compared, on which task, and how it is trained."""

    data: str = option("digits-rows", "Task.", group="Data", choices=TASKS)
    length: int = option(
        150,
        "Steps of the adding problem; of the wait, in copying.",
        group="Data",
        at_least=2,
        at_most=1 << 16,
    )
    batches: int = option(
        100, "Batches of an epoch, of the adding problem and of copying.", group="Data", at_least=1
    )
    compare: str = option(
        "all",
        "What is trained: every cell; with and without clipping; first weights; all of these; none: one model.",
        group="Model",
        choices=COMPARISONS,
    )
    cell: str = option(
        "lstm", "Recurrent cell, where none are compared.", group="Model", choices=tuple(CELLS)
    )
    hidden: int = option(64, "Units.", group="Model", at_least=1, at_most=1 << 16)
    parameters: int | None = option(
        None,
        "Choose the units of each cell so that the model has about as many weights and biases.",
        group="Model",
        at_least=100,
        at_most=1 << 28,
    )
    init: str = option(
        "uniform", "First recurrent weights, where they are not compared.", group="Model", choices=INITS
    )
    gain: float = option(1.0, "What they are multiplied with.", group="Model", above=0, at_most=100)
    forget_bias: float = option(
        1.0,
        "Added to the bias of the gate that keeps the old state, in cells that have one.",
        group="Model",
        at_least=-100,
        at_most=100,
    )
    memory: int | None = option(
        None,
        "Steps: units begin as if they remembered from one to so many (Tallec & Ollivier 2018), in place of "
        "--forget-bias.",
        group="Model",
        at_least=3,
        at_most=1 << 24,
    )
    epochs: int = option(20, "Passes over the training samples.", at_least=1)
    batch_size: int = option(64, "Sequences per update.", at_least=1)
    optimizer: str = option("adam", "Update rule.", choices=("sgd", "adam"))
    lr: float = option(2e-3, "Learning rate.", above=0)
    schedule: str = option(
        "constant", "Learning rate over time: constant, or falling to zero along a cosine.", choices=SCHEDULES
    )
    clip_norm: float | None = option(1.0, "Scale gradients to at most this norm.", above=0)
    sgd_lr: float = option(
        0.1, "Learning rate of the two models with and without clipping, which sgd trains.", above=0
    )

    def check(self) -> None:
        """What is compared must be comparable."""
        if self.compare in ("all", "clipping") and self.clip_norm is None:
            raise SettingsError(
                f"clip_norm is none but compare is {self.compare}, expected a norm to clip to, such as 1"
            )

    @property
    def may_change(self) -> frozenset[str]:
        """More epochs may be added later, unless the schedule runs out with them."""
        return frozenset({"epochs"}) if self.schedule == "constant" else frozenset()


@dataclass(frozen=True)
class Part:
    """One model that is trained.

    Attributes
    ----------
    name
        Of its metrics, with underscores; parts of one name are the same model.
    folder
        Within the run's.
    title
        Of its curves.
    group
        In which comparison.
    cell, init, gain, forget_bias, optimizer, lr, clip_norm
        As the settings.
    """

    name: str
    folder: str
    title: str
    group: str
    cell: str
    init: str
    gain: float
    forget_bias: float
    optimizer: str
    lr: float
    clip_norm: float | None


@dataclass
class Trained:
    """A part after its training.

    Attributes
    ----------
    part, hidden, parameters
        What was trained.
    lags
        Steps back, shape (L,).
    before, after
        Norms of dh_T / dh_(T-lag), each (L, sequences), with the first weights and the last.
    before_c, after_c
        The same by the cell state, of LSTMs.
    bounds
        g l of the simple RNN, before and after.
    history
        Records of the epochs.
    norms
        Of the gradient by all weights, before clipping, of each update.
    losses
        Of each update.
    metrics
        Loss and accuracy on held-out sequences, and the work.
    diverged
        At which update the loss was no longer finite.
    """

    part: Part
    hidden: int
    parameters: int
    lags: NDArray[np.int64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    before_c: NDArray[np.float64] | None
    after_c: NDArray[np.float64] | None
    bounds: tuple[float, float] | None
    history: list[dict[str, Any]]
    norms: list[float]
    losses: list[float]
    metrics: dict[str, Any]
    diverged: int | None = None


class GradientNorms(Callback):
    """Norm of the gradient before clipping, and loss, of every update.

    Attributes
    ----------
    norms, losses
        So far.
    """

    def __init__(self) -> None:
        self.norms: list[float] = []
        self.losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """What was recorded."""
        return {"norms": np.array(self.norms), "losses": np.array(self.losses)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with it."""
        self.norms = np.asarray(state["norms"]).tolist()
        self.losses = np.asarray(state["losses"]).tolist()


class SequenceTrainer(Trainer):
    """A trainer that records the norms of its gradients.

    Attributes
    ----------
    record
        Where they go.
    """

    record: GradientNorms

    def train_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Learn from one batch."""
        outputs = self.model(Tensor(x))
        loss = self.loss(outputs, _target(y))
        value = loss.item()
        if not isfinite(value):
            raise non_finite_error(self, value, x, y, outputs.data)
        self.optimizer.zero_grad()
        loss.backward()
        limit = inf if self.clip_norm is None else self.clip_norm
        norm = optim.clip_grad_norm_(self.model.parameters(), limit)
        self.record.norms.append(float(norm.item()))
        self.record.losses.append(float(value))
        self.optimizer.step()
        return value, outputs.data


def parts_of(settings: VanishingSettings) -> list[Part]:
    """What a run trains."""

    def part(group: str, cell: str, init: str, gain: float, **named: Any) -> Part:
        given: dict[str, Any] = {
            "forget_bias": settings.forget_bias if CELLS[cell].gates > 1 else 0.0,
            "optimizer": settings.optimizer,
            "lr": settings.lr,
            "clip_norm": settings.clip_norm,
            **named,
        }
        short = cell.replace("_", "-")
        folder = {"none": "model", "cells": short}.get(group, f"{short}-{init}-{gain:g}")
        return Part(
            part_name(cell, init, gain), folder, _title(cell, init, gain), group, cell, init, gain, **given
        )

    if settings.compare == "none":
        return [part("none", settings.cell, settings.init, settings.gain)]
    found = []
    if settings.compare in ("all", "cells"):
        found += [part("cells", cell, settings.init, settings.gain) for cell in CELLS]
    if settings.compare in ("all", "init"):
        found += [part("init", cell, init, gain) for cell, init, gain in FIRST_WEIGHTS]
    if settings.compare in ("all", "clipping"):
        for name, title, clip in (
            ("clipped", f"clipped to {settings.clip_norm:g}", settings.clip_norm),
            ("unclipped", "not clipped", None),
        ):
            plain = part(
                "clipping", "relu", "identity", 1.0, optimizer="sgd", lr=settings.sgd_lr, clip_norm=clip
            )
            found.append(replace(plain, name=name, folder=name, title=title))
    return found


def part_name(cell: str, init: str, gain: float) -> str:
    """The name of a cell with its first weights."""
    name = cell.replace("_", "-")
    if init != "uniform":
        name += f"-{init}"
    return name if gain == 1 else f"{name}-{gain:g}"


def _title(cell: str, init: str, gain: float) -> str:
    words = {"uniform": "", "identity": ", identity", "orthogonal": ", orthogonal"}[init]
    return f"{cell}{words}" + ("" if gain == 1 else f" × {gain:g}")


def train(settings: VanishingSettings, options: RunOptions) -> Result:
    """Train each part, measure how far its gradients reach before and after, draw."""
    if options.device != "cpu":
        raise SettingsError(
            f"vanishing-gradients: device is {options.device}, expected cpu: gradients over time are "
            f"measured there alone"
        )
    parts = parts_of(settings)
    task = _task(settings)
    run = open_run("vanishing-gradients", settings, options, may_change=settings.may_change)
    # Of first weights and of cells there may be the same model: it is trained once.
    made: dict[str, Trained] = {}
    for part in parts:
        if part.name not in made:
            made[part.name] = _train_part(run, part, settings, options)
    trained = [replace_group(made[part.name], part) for part in parts]

    metrics: dict[str, Any] = {}
    for name, each in made.items():
        key = name.replace("-", "_").replace(".", "_")
        metrics.update({f"{key}_{what}": value for what, value in each.metrics.items()})
        metrics[f"{key}_reach"] = reach(each.lags, each.after)
    whole = [record for each in made.values() for record in each.history]
    metrics.update(work_of(whole, options.device))
    metrics["peak_memory"] = peak_memory()
    metrics["baseline"] = task.baseline
    _draw(run, trained, task, settings)
    best = _stands_for_the_run(made, task)
    if best is not None and task.dataset is not None:
        arguments = {
            "inputs": task.inputs,
            "hidden": best.hidden,
            "outputs": task.outputs,
            "cell": best.part.cell,
        }
        write_json(run, CARD_FILE, card_for(task.dataset, "SequenceModel", arguments, "softmax").as_dict())
        shutil.copyfile(run.folder / best.part.folder / RunFolder.MODEL, run.model)
    run.rewind(-1)
    for each in made.values():
        for record in each.history:
            run.log({"part": each.part.name, **record})
    write_json(run, "gradients.json", {each.part.name: _curves(each) for each in made.values()})
    write_json(run, "result.json", {"recipe": "vanishing-gradients", "data": task.name, **metrics})
    target = RECIPE.target(settings.data)
    if target is not None and target.metric not in metrics:
        target = None
    return Result("vanishing-gradients", run.folder, metrics, _lines(trained, task, metrics, target), target)


def replace_group(trained: Trained, part: Part) -> Trained:
    """The same training as part of another comparison."""
    return replace(trained, part=part)


def reach(lags: NDArray[np.int64], norms: NDArray[np.float64], least: float = 1e-3) -> int:
    """The greatest lag up to which the median of the norms stays at `least` or above."""
    below = np.flatnonzero(np.median(norms, axis=1) < least)
    return int(lags[-1] if not len(below) else lags[max(below[0] - 1, 0)])


def _task(settings: VanishingSettings) -> Task:
    return load_task(
        settings.data,
        batch_size=settings.batch_size,
        length=settings.length,
        batches=settings.batches,
        seed=settings.seed,
    )


def _train_part(run: RunFolder, part: Part, settings: VanishingSettings, options: RunOptions) -> Trained:
    """Train one model in a folder of its own, or go on with what is there."""
    task = _task(settings)  # batches of its own, from their beginning
    hidden = settings.hidden
    if settings.parameters is not None:
        hidden = hidden_for(settings.parameters, part.cell, task.inputs, task.outputs)
    # The seed before each model: those of one shape and kind start from the same weights.
    kernels.manual_seed(settings.seed)
    model = SequenceModel(
        *(
            task.inputs,
            hidden,
            task.outputs,
            part.cell,
            task.every_step,
            part.init,
            part.gain,
            part.forget_bias,
            settings.memory or 0,
        )
    )
    sequences = task.sequences(_SEQUENCES)
    lags = np.unique(np.linspace(0, task.steps, min(task.steps, _LAGS) + 1).round().astype(int))
    before = state_gradients(model.recurrent, sequences, lags.tolist())
    bound_before = _bound(model)

    folder = run.folder / part.folder
    resume = options.resume and (folder / RunFolder.SETTINGS).is_file()
    values = {
        "recipe": "vanishing-gradients",
        "part": part.name,
        **settings.as_dict(),
        "optimizer": part.optimizer,
        "lr": part.lr,
        "clip_norm": part.clip_norm,
        "units": hidden,
    }
    record = GradientNorms()
    parameters = list(model.parameters())
    kind: Any = optim.Adam if part.optimizer == "adam" else optim.SGD
    optimizer = kind(parameters, lr=part.lr)
    schedule = None
    if settings.schedule == "cosine":
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.epochs * len(task.batches))
    trainer = SequenceTrainer(
        model,
        optimizer,
        task.loss,
        scheduler=schedule,
        scheduler_interval="step",
        clip_norm=part.clip_norm,
        callbacks=[record],
        run=RunFolder(
            folder, values, resume=resume, may_change=settings.may_change, defaults=type(settings)().as_dict()
        ),
        progress=options.progress,
    )
    trainer.record = record
    diverged = None
    try:
        trainer.fit(task.batches, epochs=settings.epochs, validation=task.held_out, resume=resume)
    except NonFiniteLossError:
        diverged = trainer.step + 1
    history = [dict(each) for each in trainer.history]
    metrics: dict[str, Any] = {
        "test_loss": None,
        "parameters": count_parameters(hidden, part.cell, task.inputs, task.outputs),
        "hidden": hidden,
        "diverged": diverged,
        "updates": trainer.step,
    }
    if diverged is None:
        tested = trainer.evaluate(*task.held_out)
        metrics["test_loss"] = tested["loss"]
        if task.classifies:
            metrics["test_accuracy"] = tested["accuracy"]
        elif task.every_step:
            metrics["test_accuracy"] = _recalled(trainer, task)
    metrics["largest_gradient"] = max(record.norms, default=None)
    metrics["train_seconds"] = sum(float(each["seconds"]) for each in history)
    after = state_gradients(model.recurrent, sequences, lags.tolist())
    bound_after = _bound(model)
    return Trained(
        part,
        hidden,
        metrics["parameters"],
        before.lags,
        before.by_h,
        after.by_h,
        before.by_c,
        after.by_c,
        None if bound_before is None or bound_after is None else (bound_before, bound_after),
        history,
        record.norms,
        record.losses,
        metrics,
        diverged,
    )


def _bound(model: SequenceModel) -> float | None:
    weights = getattr(model.recurrent, "weight_hh_l0").data  # noqa: B009 - named at run time
    if model.recurrent.cell not in ("tanh", "relu") or not np.isfinite(weights).all():
        return None
    return gradient_bound(model.recurrent)


def _recalled(trainer: Trainer, task: Task) -> float:
    """Share of the symbols that are answered right, of those to remember."""
    x, y = task.held_out
    answers = trainer.predict(x).argmax(axis=2)
    asked = y > 0
    return float((answers[asked] == y[asked]).mean())


def _stands_for_the_run(made: Mapping[str, Trained], task: Task) -> Trained | None:
    finished = [each for each in made.values() if each.metrics.get("test_accuracy") is not None]
    return max(finished, key=lambda each: float(each.metrics["test_accuracy"]), default=None)


def _curves(each: Trained) -> dict[str, Any]:
    curves: dict[str, Any] = {
        "cell": each.part.cell,
        "lags": each.lags.tolist(),
        "before": np.median(each.before, axis=1).tolist(),
        "after": np.median(each.after, axis=1).tolist(),
        "bounds": each.bounds,
        "gradient_norms": each.norms,
    }
    for name, norms in (("before_by_cell_state", each.before_c), ("after_by_cell_state", each.after_c)):
        if norms is not None:
            curves[name] = np.median(norms, axis=1).tolist()
    # JSON has no infinity.
    return {
        key: [v if isfinite(v) else None for v in value] if isinstance(value, list) else value
        for key, value in curves.items()
    }


def _draw(run: RunFolder, trained: list[Trained], task: Task, settings: VanishingSettings) -> None:
    where = task.name if task.dataset is not None else f"{task.name}, {task.steps} steps"
    groups = {name: [t for t in trained if t.part.group == name] for name in (*COMPARISONS[1:],)}
    if cells := groups["cells"] or groups["none"]:
        gradient_panels(cells, run.path("gradients.png"), title=where)
        learning_curves(cells, run.path("loss.png"), title=where, task=task)
    if groups["init"]:
        init_panels(groups["init"], run.path("initialisation.png"), title=where, task=task)
        if not cells:
            learning_curves(groups["init"], run.path("loss.png"), title=where, task=task)
    if groups["clipping"]:
        clipping_panels(
            groups["clipping"],
            run.path("clipping.png"),
            title=f"{where}: ReLU, identity, sgd at {settings.sgd_lr:g}",
            limit=float(settings.clip_norm or 0),
        )


def _lines(
    trained: list[Trained], task: Task, metrics: dict[str, Any], target: Target | None
) -> list[tuple[str, str]]:
    lines = []
    for each in trained:
        if each.diverged is not None:
            text = f"diverged at update {each.diverged}"
        elif task.classifies:
            text = f"test accuracy {each.metrics['test_accuracy']:.2%}"
        elif task.every_step:
            text = (
                f"{each.metrics['test_accuracy']:.1%} recalled, cross-entropy {each.metrics['test_loss']:.4f}"
            )
        else:
            text = f"mean squared error {each.metrics['test_loss']:.4f}"
        far = reach(each.lags, each.after)
        lines.append((each.part.title, f"{text}; gradient above 1/1000 over {far} of {task.steps} steps"))
    if task.baseline is not None:
        lines.append(("without a memory", f"loss {task.baseline:.4f}"))
    if target is not None:
        lines.append(
            ("to reach", f"{target.text}: {'reached' if target.reached(metrics) else 'not reached'}")
        )
    return lines + work_lines(metrics, sum(len(each.history) for each in trained))


RECIPE = Recipe(
    name="vanishing-gradients",
    summary="Vanishing and exploding gradients: every recurrent cell, clipping, first weights",
    settings_type=VanishingSettings,
    train=train,
    datasets=TASKS,
    presets={
        "digits-rows": {"epochs": 30, "lr": 5e-3, "schedule": "cosine"},
        "digits-pixels": {"hidden": 32, "epochs": 60, "lr": 5e-3, "schedule": "cosine"},
        "mnist-rows": {"hidden": 96, "epochs": 8, "batch_size": 128, "lr": 3e-3, "schedule": "cosine"},
        "mnist-pixels": {
            "hidden": 100,
            "memory": 784,
            "epochs": 6,
            "batch_size": 32,
            "lr": 1e-2,
            "schedule": "cosine",
        },
        "adding": {"hidden": 100, "epochs": 30, "lr": 3e-4, "sgd_lr": 0.01},
        "copy": {"hidden": 100, "length": 30, "epochs": 60},
    },
    targets={
        "digits-rows": Target("LSTM at least 95%", "lstm_test_accuracy", 0.95),
        "digits-pixels": Target("LSTM at least 85%", "lstm_test_accuracy", 0.85),
        "mnist-rows": Target("LSTM at least 98.5%", "lstm_test_accuracy", 0.985),
        "mnist-pixels": Target("LSTM at least 90%", "lstm_test_accuracy", 0.90),
        "adding": Target("IRNN's error at most 0.01", "relu_identity_test_loss", at_most=0.01),
        "copy": Target("LSTM's loss below the baseline", "lstm_test_loss", at_most=0.4),
    },
)
