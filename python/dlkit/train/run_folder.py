"""A run folder: everything that one training run leaves behind.

==========================  ===========================================================================
``settings.json``           what the run was asked to do
``environment.json``        what it ran on, one entry per start
``metrics.jsonl``           one JSON record per line, in the order of `RunFolder.log`
``checkpoint.safetensors``  the state to resume from
``model.safetensors``       the weights alone, for prediction and other tools
``*.png``                   plots
==========================  ===========================================================================
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .environment import environment
from .errors import RunFolderError
from .files import append_line, write_atomic, write_error

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class RunFolder:
    """The folder of one run; made, or opened to go on with the run in it.

    Parameters
    ----------
    path
        The folder. It is made with its parents if it is not there.
    settings
        All that determines the run, JSON-serialisable. Written to ``settings.json``.
    resume
        Go on with the run in the folder: it must be there and must have been made with the same settings.
        Without it, a folder that holds a run already is refused rather than overwritten.
    may_change
        Settings that may differ from the folder's on resume (such as ``"epochs"``); the folder's
        ``settings.json`` then takes the new value.
    defaults
        What a setting counts as on resume where ``settings.json`` does not have it: it came later than the run.

    Raises
    ------
    RunFolderError
        The path is a file, is not writable, holds another run or other files, or the disk is full. For
        other settings the message names each setting that differs.
    TypeError
        A setting is not JSON-serialisable.
    """

    SETTINGS = "settings.json"
    ENVIRONMENT = "environment.json"
    METRICS = "metrics.jsonl"
    CHECKPOINT = "checkpoint.safetensors"
    MODEL = "model.safetensors"

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        may_change: Collection[str] = (),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(path)
        self.settings: dict[str, Any] = _as_json(settings, "settings")
        self.resume = resume
        if self.folder.exists() and not self.folder.is_dir():
            raise RunFolderError(f"run folder {self.folder} is a file, expected a folder")
        settings_file = self.folder / self.SETTINGS
        if resume:
            if not settings_file.is_file():
                there = "has no run in it" if self.folder.is_dir() else "does not exist"
                raise RunFolderError(f"run folder {self.folder} {there}: nothing to resume")
            self._check_settings(settings_file, may_change, _as_json(defaults or {}, "defaults"))
            self._check_writable()
            self._drop_broken_line()
        else:
            self._make()
        self._write_settings()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.folder)!r})"

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint is (or will be)."""
        return self.folder / self.CHECKPOINT

    @property
    def model(self) -> Path:
        """Where the weights are (or will be)."""
        return self.folder / self.MODEL

    def path(self, name: str) -> Path:
        """The path of a file in the folder, for plots and other results.

        Raises
        ------
        ValueError
            The name would leave the folder, or is one of the folder's own files.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"run folder: file name is {name!r}, expected letters, digits, '.', '_' and '-' only"
            )
        if name in (self.SETTINGS, self.ENVIRONMENT, self.METRICS):
            raise ValueError(f"run folder: {name} is written by dlkit itself, choose another file name")
        return self.folder / name

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a record to ``metrics.jsonl``. Numbers that are not finite are written as null.

        Raises
        ------
        RunFolderError
            The disk is full or the folder is no longer writable.
        """
        append_line(self.folder / self.METRICS, json.dumps(_as_json(record, "record"), allow_nan=False))

    def metrics(self) -> list[dict[str, Any]]:
        """The records logged so far."""
        return list(self._records())

    def rewind(self, epoch: int) -> None:
        """Drop the records of epochs after `epoch`: what a resumed run is going to log again."""
        kept = [record for record in self._records() if not _after(record, epoch)]
        self._write_records(kept)

    @classmethod
    def forget_unstarted(cls, folder: Path, *, keep_folder: bool) -> None:
        """Remove settings and environment where a run has left nothing else, and the folder unless it is to stay."""
        own = {cls.SETTINGS, cls.ENVIRONMENT}
        try:
            if {entry.name for entry in folder.iterdir()} <= own:
                for name in own:
                    (folder / name).unlink(missing_ok=True)
                if not keep_folder:
                    folder.rmdir()
        except OSError:
            pass  # what made the run fail is what its caller wants to hear about

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            there = sorted(entry.name for entry in self.folder.iterdir())
        except FileExistsError as error:
            raise RunFolderError(f"run folder {self.folder}: a file is in the way") from error
        except NotADirectoryError as error:
            raise RunFolderError(f"run folder {self.folder}: one of its parents is a file") from error
        except OSError as error:
            raise _folder_error(self.folder, error) from error
        if self.SETTINGS in there:
            raise RunFolderError(
                f"run folder {self.folder} holds a run already: resume it (resume=True, --resume), overwrite "
                f"it (--overwrite) or choose another folder"
            )
        if there:
            some = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
            raise RunFolderError(
                f"run folder {self.folder} holds other files ({some}), expected a new folder"
            )
        self._check_writable()

    def _check_writable(self) -> None:
        probe = self.folder / f".probe.{os.getpid()}"
        try:
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise _folder_error(self.folder, error) from error

    def _check_settings(self, file: Path, may_change: Collection[str], defaults: Mapping[str, Any]) -> None:
        try:
            old = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"run folder {self.folder}: {self.SETTINGS} is not readable: {error}"
            ) from error
        if not isinstance(old, dict):
            raise RunFolderError(f"run folder {self.folder}: {self.SETTINGS} is not a JSON object")
        old = {**{name: value for name, value in defaults.items() if name in self.settings}, **old}
        absent = object()
        differing = [
            f"{name} is {_shown(self.settings, name)}, was {_shown(old, name)}"
            for name in sorted(set(old) | set(self.settings))
            if name not in may_change and old.get(name, absent) != self.settings.get(name, absent)
        ]
        if differing:
            raise RunFolderError(
                f"run folder {self.folder} was made with other settings: {'; '.join(differing)}. "
                f"Resume with the settings it was made with, or choose another folder"
            )

    def _write_settings(self) -> None:
        write_atomic(self.folder / self.SETTINGS, _pretty(self.settings))
        file = self.folder / self.ENVIRONMENT
        starts: list[Any] = []
        if self.resume and file.is_file():
            try:
                starts = json.loads(file.read_text(encoding="utf-8"))["starts"]
            except (OSError, ValueError, KeyError, TypeError):
                starts = []  # a damaged description of an earlier start is no reason not to go on
        starts.append(environment(str(self.settings.get("device", "cpu"))))
        write_atomic(file, _pretty({"starts": starts}))

    def _records(self) -> Iterator[dict[str, Any]]:
        file = self.folder / self.METRICS
        if not file.is_file():
            return
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise RunFolderError(f"{file}: line {number} is not JSON") from error
            if not isinstance(record, dict):
                raise RunFolderError(f"{file}: line {number} is not a JSON object")
            yield record

    def _drop_broken_line(self) -> None:
        """A killed run may leave half a line at the end."""
        file = self.folder / self.METRICS
        if not file.is_file():
            return
        data = file.read_bytes()
        if data and not data.endswith(b"\n"):
            write_atomic(file, data[: data.rfind(b"\n") + 1])

    def _write_records(self, records: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        write_atomic(self.folder / self.METRICS, text.encode())


def _folder_error(folder: Path, error: OSError) -> RunFolderError:
    result = write_error(folder, error)
    message = str(result).replace(f"cannot write {folder}", f"run folder {folder} is not writable", 1)
    answer = RunFolderError(message)
    answer.errno = error.errno
    answer.filename = str(folder)
    return answer


def _after(record: Mapping[str, Any], epoch: int) -> bool:
    value = record.get("epoch")
    return isinstance(value, (int, float)) and value > epoch


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name]) if name in settings else "not set"


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _as_json(value: Any, where: str) -> Any:
    """What the value is after a trip through JSON, so that comparing with a file compares like with like."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _as_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item, f"{where}.{i}") for i, item in enumerate(value)]
    raise TypeError(
        f"run folder: {where} is a {type(value).__name__}, expected numbers, text, lists and mappings of them"
    )
