"""Results as files: one JSON record for a chapter, a processor and a thread count; counts are one for all."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import dlkit.kernels as K
from dlkit.study.machine import describe, slug


def today() -> str:
    """Return the date that a record bears, in UTC."""
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d")


def header(chapter: str, threads: int, command: str, machine: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a record of dlkit alone begins with: chapter, threads, date, command, machine and instruction set.

    Parameters
    ----------
    chapter, threads, command
        Of the record.
    machine : dict, optional
        `dlkit.study.machine.describe` before the measurement began; now by default.
    """
    return {
        "chapter": chapter,
        "threads": threads,
        "date": today(),
        "command": command,
        "machine": {**(machine or describe()), "dlkit_isa": ""},
        "isa": K.config()["isa"],
    }


def file_name(record: dict[str, Any]) -> str:
    """Return the name of a record's file, such as ``matmul-amd-epyc-family-26-model-2-1t.json``.

    One that names no processor has only its chapter for a name: ``simt-matmul.json``.
    """
    if "cpu" not in record["machine"]:
        return f"{record['chapter']}.json"
    isa = record["machine"].get("dlkit_isa", "")
    parts = [record["chapter"], slug(record["machine"]["cpu"]), f"{record['threads']}t", *filter(None, [isa])]
    return "-".join(parts) + ".json"


def check(path: str | Path) -> None:
    """Make the folder that results go to, before anything is measured.

    Raises
    ------
    ValueError
        It cannot be made, or not be written to.
    """
    folder = Path(path).parent if Path(path).suffix == ".json" else Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK) else "it is not writable"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise ValueError(f"json is {str(path)!r}: {problem}; expected a file or folder that can be written")


def write(record: dict[str, Any], path: str | Path) -> Path:
    """Write a record to the file `path`, or into the folder `path` under its own name; return the file."""
    target = Path(path)
    if target.suffix != ".json":
        target = target / file_name(record)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(target)
    return target


def read(path: str | Path) -> dict[str, Any]:
    """Read a record.

    Raises
    ------
    ValueError
        If the file is no record of a comparison.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"bench: {path} is no JSON: {error}") from error
    if not isinstance(record, dict) or not {"chapter", "threads", "rows"} <= record.keys():
        raise ValueError(f"bench: {path} is no record of a comparison: it lacks chapter, threads or rows")
    return record
