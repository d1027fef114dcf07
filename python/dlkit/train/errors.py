"""The errors of the train room."""

from __future__ import annotations

from pathlib import Path


class TrainError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


class NonFiniteLossError(TrainError):
    """The loss became NaN or infinite. The weights are those before the failing batch."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, cut short, or belongs to something else."""


class RunFolderError(OSError):
    """A run folder cannot be used or written: not writable, a full disk, other settings."""

    def __str__(self) -> str:
        # OSError formats two arguments as "[Errno …] …"; here there is one plain sentence.
        return str(self.args[0]) if self.args else ""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C (or SIGTERM) between two batches.

    Attributes
    ----------
    path
        The checkpoint that was written, or None if the trainer has no run folder.
    """

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path
