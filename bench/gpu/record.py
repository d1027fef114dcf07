"""What a script has found so far, in a file that is written anew after each row: whatever ends it leaves that."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class DeviceLostError(Exception):
    """An error of the device that stays until the process ends."""


class Record:
    """A script's findings, as `path` has them.

    Parameters
    ----------
    path : Path
        NAME.json.
    lost : callable
        Whether the device does not answer any more; asked after a row with a failure.
    """

    def __init__(self, path: Path, lost: Callable[[], bool], **entries: Any) -> None:
        self._path, self._lost = path, lost
        self._row = ""
        self.rows: list[dict[str, Any]] = []
        self.entries: dict[str, Any] = {**entries, "rows": self.rows, "running": None}

    def save(self) -> None:
        """Write the file; whoever reads it finds the old one or the new one, whole."""
        new = self._path.with_suffix(".tmp")
        new.write_text(json.dumps(self.entries))
        os.replace(new, self._path)

    def start(self, what: str) -> None:
        """Say in the file what starts now, so that a crash or a hang has a name."""
        self.entries["running"] = f"{self._row}: {what}" if self._row else what
        self.save()

    @contextmanager
    def row(self, name: str, **entries: Any) -> Iterator[dict[str, Any]]:
        """Add a row, to be filled within; an error is its failure, and the last row if the device is lost.

        Raises
        ------
        DeviceLostError
            If there was a failure and the device does not answer any more.
        """
        row: dict[str, Any] = entries
        self.rows.append(row)
        self._row = name
        self.start("to begin with")
        try:
            yield row
        except Exception as error:
            row["failure"] = f"{type(error).__name__}: {error}"[:300]
        if any(entry.get("failure") for entry in (row, *row.get("results", []))) and self._lost():
            self.save()
            raise DeviceLostError(self.entries["running"] or name)
        self._row, self.entries["running"] = "", None
        self.save()

    def failures(self) -> int:
        """Return how many rows and contenders failed."""
        return sum(
            bool(entry.get("failure")) for row in self.rows for entry in (row, *row.get("results", []))
        )
