"""Progress of a training run on the terminal: throughput, losses, time left."""

from __future__ import annotations

import sys
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

from .callback import Callback

if TYPE_CHECKING:
    from .trainer import Trainer

#: Seconds between two redraws of the bar. Drawing one takes some milliseconds, in which nothing is trained:
#: they are spaced so that it takes no more than this share of the time, but the bar never stands still for
#: long.
_REDRAW = 0.2
_REDRAW_SHARE = 0.005
_REDRAW_AT_MOST = 2.0
#: Seconds between two lines about epochs, and between two lines within a long epoch.
_EPOCH_LINES = 1.0
_BATCH_LINES = 30.0


class ProgressBar(Callback):
    """A bar with throughput and time left on a terminal, plain lines elsewhere.

    Epochs shorter than a second do not each get a line: the first and the last always do.

    Parameters
    ----------
    file
        Where to write (default: standard error).
    bar
        True: draw a bar (needs rich); False: plain lines; None: a bar if `file` is a terminal and rich is
        installed.
    """

    def __init__(self, *, file: IO[str] | None = None, bar: bool | None = None) -> None:
        self._file = file
        self._want_bar = bar
        self._bar: Any = None
        self._task: Any = None
        self._start = self._next_draw = self._line = 0.0
        self._first_step = self._steps = self._rate_samples = 0
        self._printed_epoch = -1

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the bar."""
        self._start = self._line = monotonic()
        self._next_draw = 0.0
        self._printed_epoch = -1
        self._first_step = trainer.step
        self._rate_samples = 0
        batches = trainer.batches_per_epoch
        self._steps = (
            (trainer.target_epoch - trainer.epoch) * batches - trainer.partial.batches if batches else 0
        )
        file = self._file or sys.stderr
        self._out = file
        want = self._want_bar if self._want_bar is not None else _is_terminal(file)
        if want:
            self._open_bar(file)

    def on_batch_end(self, trainer: Trainer) -> None:
        """Redraw, if it is time."""
        now = monotonic()
        if self._bar is not None:
            if now >= self._next_draw:
                self._draw(trainer)
                done = monotonic()
                wait = min(max((done - now) / _REDRAW_SHARE, _REDRAW), _REDRAW_AT_MOST)
                self._next_draw = done + wait
        elif now - self._line >= _BATCH_LINES:
            self._line = now
            print(self._text(trainer, self._left(trainer, now)), file=self._out, flush=True)

    def on_epoch_end(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Write the epoch's line, if it is the first, the last, or time for one."""
        now = monotonic()
        last = trainer.epoch >= trainer.target_epoch or trainer.stop_reason is not None
        if self._printed_epoch < 0 or last or now - self._line >= _EPOCH_LINES:
            self._line = now
            self._say(epoch_line(record, trainer.target_epoch))
            self._printed_epoch = trainer.epoch

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write the last epoch's line if an early stop kept it back, and why training stopped."""
        if trainer.history and self._printed_epoch not in (-1, trainer.epoch):
            self._say(epoch_line(trainer.history[-1], trainer.target_epoch))
        if trainer.stop_reason is not None:
            self._say(f"stopped: {trainer.stop_reason}")

    def close(self, trainer: Trainer) -> None:
        """Give the terminal back."""
        if self._bar is not None:
            self._draw(trainer)
            self._bar.stop()
            self._bar = None

    def _open_bar(self, file: IO[str]) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
        except ImportError as error:
            if self._want_bar:
                raise ImportError('the progress bar needs rich: pip install "dlkit[cli]"') from error
            return
        # auto_refresh would redraw from a thread of its own and take the interpreter from the loop.
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}"),
            console=Console(file=file),
            # What the program prints into a file or pipe must go there, not to the terminal.
            redirect_stdout=_is_terminal(sys.stdout),
            redirect_stderr=_is_terminal(sys.stderr),
            auto_refresh=False,
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=self._steps or None)

    def _draw(self, trainer: Trainer) -> None:
        text = self._text(trainer, self._left(trainer, monotonic()))
        self._bar.update(
            self._task, completed=trainer.step - self._first_step, description=text, refresh=True
        )

    def _left(self, trainer: Trainer, now: float) -> float | None:
        """Seconds left, validation included, if the rest goes as fast as what was done."""
        done = trainer.step - self._first_step
        if not self._steps or not done:
            return None
        return (now - self._start) / done * (self._steps - done)

    def _text(self, trainer: Trainer, left: float | None) -> str:
        partial = trainer.partial
        parts = [f"epoch {min(trainer.epoch + 1, trainer.target_epoch)}/{trainer.target_epoch}"]
        if partial.samples:
            parts.append(f"loss {partial.loss_sum / partial.samples:.4f}")
            if partial.correct is not None:
                parts.append(f"accuracy {partial.correct / partial.samples:.2%}")
            seconds = trainer.epoch_seconds()
            if seconds > 0:
                parts.append(f"{partial.samples / seconds:,.0f} samples/s")
        if left is not None:
            parts.append(f"{duration(left)} left")
        return "  ".join(parts)

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._out, flush=True)


def _is_terminal(file: Any) -> bool:
    return bool(getattr(file, "isatty", lambda: False)())


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """One line about a completed epoch."""
    width = len(str(epochs))
    parts = [f"epoch {record['epoch']:>{width}}/{epochs}", f"loss {record['train_loss']:.4f}"]
    if record.get("train_accuracy") is not None:
        parts.append(f"accuracy {record['train_accuracy']:.2%}")
    if record.get("val_loss") is not None:
        parts.append(f"val loss {record['val_loss']:.4f}")
    if record.get("val_accuracy") is not None:
        parts.append(f"val accuracy {record['val_accuracy']:.2%}")
    parts.append(f"{record['samples_per_s']:,.0f} samples/s")
    if record.get("gflops"):
        parts.append(f"{record['gflops']:.0f} GFLOP/s")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 3:05, 2:00:10."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
