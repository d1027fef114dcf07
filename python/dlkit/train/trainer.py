"""The training loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels
from dlkit.autograd import Tensor, no_grad
from dlkit.kernels.backend import is_device_array, move, to_host
from dlkit.nn.module import evaluation_mode

from .callback import Callback
from .checkpoint import load_checkpoint, require_safetensors, save_checkpoint
from .checkpointing import Checkpoint
from .checks import integer
from .errors import CheckpointError, Interrupted, RunFolderError, TrainError
from .history import History
from .non_finite import non_finite_error
from .pending import Pending
from .progress import ProgressBar
from .run_folder import RunFolder
from .signals import StopSignals
from .state import plain

if TYPE_CHECKING:
    from dlkit.nn import Module
    from dlkit.optim import Optimizer

#: Samples per forward pass of `Trainer.evaluate` and `Trainer.predict`: large enough for full speed, small
#: enough that the activations stay in the cache.
_EVALUATION_BATCH = 512
#: Batches after which a loss that a device has computed is read at the latest. To read it means to wait for the
#: device, and nothing can be launched meanwhile.
_READ_EVERY = 50
#: Seconds between the checkpoints that a trainer with a run folder writes by itself.
_CHECKPOINT_SECONDS = 60.0


@dataclass
class Partial:
    """What has been gathered of the epoch under way.

    Attributes
    ----------
    loss_sum
        Sum over samples of the batches' mean losses.
    correct
        Samples classified right, or None if the outputs are no class scores.
    samples, batches
        Trained on so far in this epoch.
    seconds
        Of training, before the last resume.
    flops
        Of matrix products, before the last resume.
    """

    loss_sum: float = 0.0
    correct: int | None = None
    samples: int = 0
    batches: int = 0
    seconds: float = 0.0
    flops: int = 0


class Trainer:
    """Train a model on batches: the loop, with validation, callbacks, checkpoints and Ctrl-C.

    Parameters
    ----------
    model
        A `dlkit.nn.Module` that maps a batch (a Tensor) to outputs.
    optimizer
        A `dlkit.optim.Optimizer` over the model's parameters.
    loss
        Maps outputs (Tensor) and labels (the batch's array) to a scalar Tensor: the mean over the batch.
        Labels with a floating dtype (regression targets) arrive as a Tensor.
    scheduler
        A `dlkit.optim.lr_scheduler`, stepped once per epoch or batch (`scheduler_interval`);
        ``ReduceLROnPlateau`` is given the validation loss, or the training loss without validation.
    scheduler_interval
        ``"epoch"`` or ``"step"``.
    clip_norm, clip_value
        Before each update, scale the gradients to at most this global norm, or clamp each of their elements
        to ± this value. One of them at most.
    callbacks
        Called in the order given; checkpoints are written after all others have seen an epoch.
    run
        A `RunFolder`: epoch records go to its ``metrics.jsonl``; unless `callbacks` has a `Checkpoint`, one
        is written every minute, on Ctrl-C and at the end; the final weights go to ``model.safetensors``.
    progress
        Show a progress bar (plain lines where there is no terminal) on standard error.

    Attributes
    ----------
    history : History
        The records of all epochs so far.
    epoch, step : int
        Completed epochs, updates so far.
    partial : Partial
        What has been gathered of the epoch under way.
    batch_loss : float
        Loss of the last batch.
    device : str
        That of the model's parameters: batches are moved there.
    stop_reason : str or None
        Why training stopped early.

    Notes
    -----
    With the same seed and thread count, a run that was interrupted and resumed, at any batch, ends with the
    same bits as one that was not: a checkpoint holds weights, optimizer, schedule, random state, position in
    the data, history and the callbacks' states. A checkpoint can be resumed on another device.

    On a GPU the loss of a batch is computed but not waited for: `batch_loss` and `partial` read what has been gathered
    when they are asked for, at the latest after some tens of batches.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Any], Tensor],
        *,
        scheduler: Any = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        clip_norm: float | None = None,
        clip_value: float | None = None,
        callbacks: Iterable[Callback] = (),
        run: RunFolder | None = None,
        progress: bool = True,
    ) -> None:
        if scheduler_interval not in ("epoch", "step"):
            raise ValueError(
                f"Trainer: scheduler_interval is {scheduler_interval!r}, expected 'epoch' or 'step'"
            )
        for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and not value > 0:
                raise ValueError(f"Trainer: {name} is {value!r}, expected a positive number or None")
        if clip_norm is not None and clip_value is not None:
            raise ValueError("Trainer: clip_norm and clip_value are both given, expected one of them at most")
        if run is not None and not isinstance(run, RunFolder):
            raise TypeError(f"Trainer: run is a {type(run).__name__}, expected a dlkit.train.RunFolder")
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.run = run
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"Trainer: callbacks holds a {type(callback).__name__}, expected dlkit.train.Callback"
                )
        if progress and not any(isinstance(c, ProgressBar) for c in self.callbacks):
            self.callbacks.append(ProgressBar())
        if run is not None and not any(isinstance(c, Checkpoint) for c in self.callbacks):
            self.callbacks.append(Checkpoint(every=_CHECKPOINT_SECONDS, unit="second"))
        # A checkpoint must hold what the other callbacks make of an epoch: it comes last.
        self.callbacks.sort(key=lambda c: isinstance(c, Checkpoint))
        if any(isinstance(c, Checkpoint) for c in self.callbacks):
            require_safetensors()

        self.history = History()
        self.epoch = 0
        self.step = 0
        self._pending = Pending()
        self._partial = Partial()
        self._batch_loss = float("nan")
        self._last_batch: tuple[Any, Any, Any] | None = None
        self.stop_reason: str | None = None
        self.target_epoch = 0
        self.batches_per_epoch: int | None = None
        self._batches: Any = None
        self._first_epoch = 0
        self._clip: Callable[[], Any] | None = None
        self._loop_start: float | None = None
        self._flops_start = 0

    @property
    def device(self) -> str:
        """The device of the model's parameters."""
        parameter = next(iter(self.model.parameters()), None)
        return "cpu" if parameter is None else parameter.device

    @property
    def partial(self) -> Partial:
        """What has been gathered of the epoch under way."""
        self._read()
        return self._partial

    @partial.setter
    def partial(self, value: Partial) -> None:
        self._pending = Pending()
        self._partial = value

    @property
    def batch_loss(self) -> float:
        """Loss of the last batch."""
        self._read()
        return self._batch_loss

    def _read(self) -> None:
        # Waits for the device, if there is anything to wait for.
        if not self._pending.batches:
            return
        count = self._pending.batches
        total, self._batch_loss, correct = self._pending.read()
        if not isfinite(total):
            assert self._last_batch is not None
            raise non_finite_error(
                self,
                self._batch_loss if not isfinite(self._batch_loss) else total,
                *self._last_batch,
                within=count,
            )
        self._partial.loss_sum += total
        if correct is not None:
            self._partial.correct = correct + (self._partial.correct or 0)

    @property
    def lr(self) -> float:
        """The learning rate of the optimizer's first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def stop(self, reason: str) -> None:
        """Ask the loop to end after the current epoch (from a callback)."""
        self.stop_reason = reason

    def epoch_seconds(self) -> float:
        """Seconds of training in the epoch under way."""
        running = perf_counter() - self._loop_start if self._loop_start is not None else 0.0
        return self.partial.seconds + running

    def fit(
        self,
        batches: Iterable[tuple[NDArray[Any], NDArray[Any]]],
        *,
        epochs: int,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        resume: bool | str | os.PathLike[str] = False,
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        batches
            A `dlkit.data.Batches`, or anything that yields the ``(x, y)`` arrays of one epoch each time it is
            iterated over.
        epochs
            Epochs to train: from where the trainer stands, or, when resuming, in all.
        validation
            ``(x, y)`` to evaluate after every epoch.
        resume
            Go on from a checkpoint: True for that of the run folder (from the start, if the run was stopped
            before it wrote one), or a path.

        Returns
        -------
        History
            One record per epoch (also those before a resume).

        Raises
        ------
        Interrupted
            Ctrl-C or SIGTERM; the checkpoint is in its ``path``. A second Ctrl-C stops at once, without one.
        NonFiniteLossError
            The loss became NaN or infinite; the weights are those before that batch (on a GPU, where the loss is read
            later, those of when it was read).
        CheckpointError
            The checkpoint to resume from is damaged or belongs to another model, optimizer or data.
        RunFolderError
            The disk is full or the run folder no longer writable.
        TrainError
            The batches do not fit the model's dtype, or there are none.
        """
        self._prepare(batches, epochs, validation, resume)
        checks = [c for c in self.callbacks if isinstance(c, Checkpoint)]
        others = [c for c in self.callbacks if not isinstance(c, Checkpoint)]
        try:
            with StopSignals() as signals:
                for callback in self.callbacks:
                    callback.on_fit_start(self)
                while self.epoch < self.target_epoch and self.stop_reason is None:
                    if self._train_epoch(signals):
                        self._end_epoch(validation)
                    unfinished = self.epoch < self.target_epoch and self.stop_reason is None
                    if signals.received is not None and unfinished:
                        raise self._interrupted(signals.received)
                # The checkpoint first: another callback may put the best weights in place of the last.
                for callback in (*checks, *others):
                    callback.on_fit_end(self)
                if self.run is not None:
                    self._write_model(self.run)
        finally:
            for callback in self.callbacks:
                callback.close(self)
        return self.history

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> dict[str, float | None]:
        """Mean loss and accuracy on the given samples, in evaluation mode and without gradients.

        Parameters
        ----------
        x
            Inputs, shape (N, …).
        y
            Labels, shape (N, …).

        Returns
        -------
        dict
            ``loss`` and ``accuracy`` (None if the outputs are no class scores).
        """
        inputs, labels = np.asarray(x), np.asarray(y)
        if len(inputs) != len(labels) or not len(inputs):
            raise TrainError(
                f"evaluate: x has {len(inputs)} samples and y {len(labels)}, expected as many, at least one"
            )
        self._check_dtype("evaluate", inputs)
        device = self.device
        # Summed up where it is computed: nothing waits for a device before the end.
        total: Any = 0.0
        correct: Any = 0
        with evaluation_mode(self.model), no_grad():
            for start in range(0, len(inputs), _EVALUATION_BATCH):
                some = move(labels[start : start + _EVALUATION_BATCH], device)
                outputs = self.model(Tensor(move(inputs[start : start + _EVALUATION_BATCH], device)))
                loss = self.loss(outputs, _target(some))
                value = loss.item() if device == "cpu" else loss.data.astype(np.float64)
                total = total + value * len(some)
                right = _hits(outputs.data, some)
                correct = None if correct is None or right is None else correct + right
        return {
            "loss": float(total) / len(inputs),
            "accuracy": None if correct is None else int(correct) / len(inputs),
        }

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """The model's outputs, in evaluation mode and without gradients.

        Parameters
        ----------
        x
            Inputs, shape (N, …), N at least 1.

        Returns
        -------
        ndarray
            Outputs, shape (N, …): for a classifier the logits, shape (N, classes).
        """
        inputs = np.asarray(x)
        if inputs.ndim == 0 or not len(inputs):
            raise TrainError(f"predict: x is {inputs.shape}, expected at least one sample")
        self._check_dtype("predict", inputs)
        with evaluation_mode(self.model), no_grad():
            device = self.device
            parts = [
                to_host(self.model(Tensor(move(inputs[start : start + _EVALUATION_BATCH], device))).data)
                for start in range(0, len(inputs), _EVALUATION_BATCH)
            ]
        return np.concatenate(parts)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a checkpoint.

        Raises
        ------
        RunFolderError
            The disk is full or the folder cannot be written; an older checkpoint is as it was.
        """
        states = {_key(i, c): plain(c.state_dict()) for i, c in enumerate(self._stateful())}
        partial = asdict(self.partial)
        partial["seconds"], partial["flops"] = self.epoch_seconds(), self._epoch_flops()
        state = {
            "model": plain(self.model.state_dict()),
            "optimizer": plain(self.optimizer.state_dict()),
            "scheduler": plain(self.scheduler.state_dict()) if self.scheduler is not None else None,
            "random": kernels.random.get_state(),
            "data": self._batches.state_dict() if hasattr(self._batches, "state_dict") else None,
            "epoch": self.epoch,
            "step": self.step,
            "first_epoch": self._first_epoch,
            "partial": partial,
            "history": [dict(record) for record in self.history],
            "stop_reason": self.stop_reason,
            "callbacks": states,
            "threads": kernels.get_num_threads(),
        }
        try:
            return save_checkpoint(path, state)
        except RunFolderError as error:
            older = " (the older checkpoint is still good)" if Path(path).is_file() else ""
            failed = RunFolderError(f"{error}; stopped in epoch {self.epoch + 1}, step {self.step}{older}")
            failed.errno, failed.filename = error.errno, error.filename
            raise failed from error

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take over the state of a checkpoint; `fit` with ``resume=path`` does this and goes on.

        Raises
        ------
        CheckpointError
            It is damaged, or belongs to another model, optimizer or data.
        """
        state = load_checkpoint(path)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if (state["scheduler"] is None) != (self.scheduler is None):
                here, there = ("has none", "one") if self.scheduler is None else ("has one", "none")
                raise ValueError(f"the trainer {here} scheduler but the checkpoint {there}")
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["scheduler"])
            if self._batches is not None and state["data"] is not None:
                if not hasattr(self._batches, "load_state_dict"):
                    raise ValueError(f"batches is a {type(self._batches).__name__} without load_state_dict")
                self._batches.load_state_dict(state["data"])
            elif self._batches is not None and state["partial"]["batches"]:
                raise ValueError("it was written within an epoch, and its batches had no state_dict")
            for i, callback in enumerate(self._stateful()):
                if _key(i, callback) in state["callbacks"]:
                    callback.load_state_dict(state["callbacks"][_key(i, callback)])
            self.history = History(state["history"])
            self.partial = Partial(**state["partial"])
            self.epoch, self.step = state["epoch"], state["step"]
            self._first_epoch = state["first_epoch"]
            self.stop_reason = state["stop_reason"]
            kernels.random.set_state(state["random"])
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"checkpoint {os.fspath(path)} does not fit: {reason}") from error
        if state["threads"] != kernels.get_num_threads():
            warnings.warn(
                f"checkpoint {os.fspath(path)} was written with {state['threads']} threads, now there are "
                f"{kernels.get_num_threads()}: the last bits of the results may differ",
                stacklevel=2,
            )

    def _prepare(
        self,
        batches: Any,
        epochs: int,
        validation: tuple[ArrayLike, ArrayLike] | None,
        resume: bool | str | os.PathLike[str],
    ) -> None:
        """Check all arguments before any work; load the checkpoint to resume from."""
        epochs = integer("fit", "epochs", epochs, 1)
        if isinstance(batches, (tuple, np.ndarray)) or not hasattr(batches, "__iter__"):
            raise TypeError(
                f"fit: batches is a {type(batches).__name__}, expected dlkit.data.Batches(x, y, …) or "
                f"another iterable of (x, y) batches"
            )
        if hasattr(batches, "__next__"):
            raise TypeError(
                f"fit: batches is a {type(batches).__name__}, which can be iterated over only once; expected "
                f"an iterable that starts anew each epoch, such as dlkit.data.Batches"
            )
        if isinstance(x := getattr(batches, "x", None), np.ndarray):
            self._check_dtype("fit", x)
        if validation is not None:
            if not isinstance(validation, (tuple, list)) or len(validation) != 2:
                raise TypeError("fit: validation is expected as a tuple (x, y)")
            inputs, labels = np.asarray(validation[0]), np.asarray(validation[1])
            if len(inputs) != len(labels) or not len(inputs):
                raise TrainError(
                    f"fit: validation has {len(inputs)} inputs and {len(labels)} labels, expected as many "
                    f"and at least one"
                )
            self._check_dtype("fit: validation", inputs)
        self._batches = batches
        try:
            self.batches_per_epoch = len(batches)
        except TypeError:
            self.batches_per_epoch = None

        if resume is False:
            self._first_epoch = self.epoch
            self.partial = Partial()
            self.stop_reason = None
        elif resume is True:
            if self.run is None:
                raise TrainError(
                    "fit: resume=True needs a trainer with a run folder; or give the path of a checkpoint"
                )
            if self.run.checkpoint.is_file():
                self.load(self.run.checkpoint)
            self.run.rewind(self.epoch)
        else:
            self.load(resume)
            if self.run is not None:
                self.run.rewind(self.epoch)
        self.target_epoch = self._first_epoch + epochs

    def train_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Learn from one batch, arrays on the trainer's device: forward, loss, backward, clipping, update.

        Override it for a model that has a learning rule of its own.

        Returns
        -------
        float, or array of one element on the device
            The mean loss over the batch, before the update.
        array
            The outputs before the update, for the training accuracy.
        """
        outputs = self.model(Tensor(x))
        loss = self.loss(outputs, _target(y))
        value = loss.data
        if value.__class__ is np.ndarray:
            value = loss.item()
            if not isfinite(value):
                raise non_finite_error(self, value, x, y, outputs.data)
        self.optimizer.zero_grad()
        loss.backward()
        if self._clip is not None:
            self._clip()
        self.optimizer.step()
        return value, outputs.data

    def _train_epoch(self, signals: StopSignals) -> bool:
        """Train on the (rest of the) epoch; False if a signal stopped it before its end."""
        step_scheduler = self.scheduler if self.scheduler_interval == "step" else None
        self._clip = self._clipper()
        train_batch = self.train_batch
        on_batch_end = [
            c.on_batch_end for c in self.callbacks if type(c).on_batch_end is not Callback.on_batch_end
        ]
        for callback in self.callbacks:
            callback.on_epoch_start(self)
        self.model.train()
        partial, device = self.partial, self.device
        counts: bool | None = None
        self._flops_start = int(kernels.counters()["flops"])
        self._loop_start = perf_counter()
        for x, y in self._batches:
            if device != "cpu":
                x, y = self._moved(x, y)
            value, outputs = train_batch(x, y)
            if step_scheduler is not None:
                step_scheduler.step()

            samples = len(y)
            partial.samples += samples
            partial.batches += 1
            right = None
            if counts is not False:
                right = _hits(outputs, y)
                counts = right is not None
            self.step += 1
            if not is_device_array(value):
                partial.loss_sum += value * samples
                self._batch_loss = value
                if right is not None:
                    partial.correct = int(right) + (partial.correct or 0)
            else:
                self._pending.add(value, samples, right)
                self._last_batch = x, y, outputs
                if self._pending.batches >= _READ_EVERY:
                    self._read()
            for call in on_batch_end:
                call(self)
            if signals.received is not None:
                break
        else:
            if not partial.batches:
                raise TrainError(f"fit: batches yields no batch in epoch {self.epoch + 1}")
            return True
        return False

    def _moved(self, x: Any, y: Any) -> tuple[Any, Any]:
        # What a batch holds, on the trainer's device, another than the CPU.
        return move(x, self.device), move(y, self.device)

    def _end_epoch(self, validation: tuple[ArrayLike, ArrayLike] | None) -> None:
        """Validate, record, step the schedule, tell the callbacks."""
        partial = self.partial
        seconds, flops = self.epoch_seconds(), self._epoch_flops()
        self._loop_start = None
        self.epoch += 1
        record: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.step,
            "train_loss": partial.loss_sum / partial.samples,
            "train_accuracy": None if partial.correct is None else partial.correct / partial.samples,
            "val_loss": None,
            "val_accuracy": None,
            "seconds": seconds,
            "samples_per_s": partial.samples / seconds if seconds > 0 else 0.0,
            "gflops": flops / seconds / 1e9 if seconds > 0 else 0.0,
            "lr": self.lr,
        }
        if validation is not None:
            result = self.evaluate(*validation)
            record.update({f"val_{name}": value for name, value in result.items()})
        self.partial = Partial()
        self.history.append(record)
        if self.scheduler is not None and self.scheduler_interval == "epoch":
            from dlkit.optim.lr_scheduler import ReduceLROnPlateau

            if isinstance(self.scheduler, ReduceLROnPlateau):
                watched = record["val_loss"] if record["val_loss"] is not None else record["train_loss"]
                self.scheduler.step(watched)
            else:
                self.scheduler.step()
        if self.run is not None:
            self.run.log(record)
        for callback in self.callbacks:
            callback.on_epoch_end(self, record)

    def _epoch_flops(self) -> int:
        running = int(kernels.counters()["flops"]) - self._flops_start if self._loop_start is not None else 0
        return self.partial.flops + running

    def _interrupted(self, signal: str) -> Interrupted:
        where = f"in epoch {self.epoch + 1}, after step {self.step}"
        if self.batches_per_epoch:
            where = (
                f"in epoch {self.epoch + 1}, after batch {self.partial.batches} of {self.batches_per_epoch}"
            )
        path: Path | None = None
        for callback in self.callbacks:
            if isinstance(callback, Checkpoint):
                path = self.save(callback.file(self))
        if path is None:
            return Interrupted(f"training stopped by {signal} {where}; no checkpoint: there is no run folder")
        return Interrupted(
            f"training stopped by {signal} {where}; checkpoint written to {path}: resume to go on", path
        )

    def _clipper(self) -> Callable[[], Any] | None:
        from dlkit.optim import clip_grad_norm_, clip_grad_value_

        parameters = list(self.model.parameters())
        if (norm := self.clip_norm) is not None:
            return lambda: clip_grad_norm_(parameters, norm)
        if (limit := self.clip_value) is not None:
            return lambda: clip_grad_value_(parameters, limit)
        return None

    def _stateful(self) -> list[Callback]:
        return [c for c in self.callbacks if type(c).state_dict is not Callback.state_dict]

    def _check_dtype(self, operation: str, x: NDArray[Any]) -> None:
        parameter = next(iter(self.model.parameters()), None)
        if parameter is not None and x.dtype.kind == "f" and x.dtype != parameter.dtype:
            raise TrainError(
                f"{operation}: x is {x.dtype} but the model's parameters are {parameter.dtype}: convert "
                f"once, with x.astype(np.{parameter.dtype})"
            )

    def _write_model(self, run: RunFolder) -> None:
        from dlkit.nn import save_safetensors

        try:
            save_safetensors(self.model, run.model)
        except RunFolderError:
            raise
        except OSError as error:
            from .files import write_error

            raise write_error(run.model, error) from error


def count_correct(outputs: Any, labels: Any) -> int | None:
    """How many rows have their greatest value at the label; None if these are no class scores and labels."""
    right = _hits(outputs, labels)
    return None if right is None else int(right)


def _hits(outputs: Any, labels: Any) -> Any:
    # As `count_correct`; of arrays on a device a number there, which nobody has waited for.
    if outputs.ndim != 2 or outputs.shape[1] < 2 or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return None
    if outputs.__class__ is np.ndarray:
        labels = to_host(labels)
    return np.count_nonzero(outputs.argmax(axis=1) == labels)


def _target(y: Any) -> Any:
    return Tensor(y) if y.dtype.kind == "f" else y


def _key(index: int, callback: Callback) -> str:
    return f"{index}:{type(callback).__name__}"
