"""The studies of dlkit alone, by name: what the command line runs, and what tables know how to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from dlkit.study import (
    augment,
    choice,
    footprint,
    ladder,
    ladder_conv,
    ladder_layers,
    ladder_recurrent,
    ladder_word2vec,
    memory,
    results,
    roofline,
    simt_counts,
    step_profile,
    table,
)

#: Which module shows a record of which chapter, and the unit of its table.
_SHOWN: dict[str, tuple[ModuleType, str]] = {
    "ladder-matmul": (ladder, "GFLOP/s. "),
    "ladder-layers": (ladder_layers, ""),
    "ladder-conv": (ladder_conv, "GFLOP/s. "),
    "ladder-recurrent": (ladder_recurrent, "Milliseconds, in parentheses GFLOP/s. "),
    "ladder-word2vec": (ladder_word2vec, "Nanoseconds for a word, in parentheses GFLOP/s. "),
    "roofline-matmul": (roofline, ""),
    "choice-matmul": (choice, "GFLOP/s. "),
    "step-profile": (step_profile, ""),
    "augment": (augment, ""),
    "memory-recurrent": (memory, "Megabytes. "),
    "footprint": (footprint, ""),
    "simt-matmul": (simt_counts, ""),
    "simt-layers": (simt_counts, ""),
    "simt-conv": (simt_counts, ""),
    "simt-recurrent": (simt_counts, ""),
}
#: Studies whose records are one, whatever the number of threads: for a machine, or for all.
THREADLESS = frozenset(("footprint", "simt-matmul", "simt-layers", "simt-conv", "simt-recurrent"))

LADDERS = ("matmul", "layers", "conv", "recurrent", "word2vec")

_STUDIES: dict[str, Callable[..., dict[str, Any]]] = {
    "ladder-matmul": partial(ladder.measure_ladder, "matmul"),
    "ladder-layers": ladder_layers.measure,
    "ladder-conv": ladder_conv.measure,
    "ladder-recurrent": ladder_recurrent.measure,
    "ladder-word2vec": ladder_word2vec.measure,
    "roofline-matmul": roofline.measure_roofline,
    "choice-matmul": choice.measure,
    "step-profile": step_profile.measure,
    "augment": augment.measure,
    "memory-recurrent": memory.measure,
}


def study(
    name: str,
    threads: Sequence[int],
    *,
    json_path: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Run a study once for each thread count, and write its records.

    Parameters
    ----------
    name : str
        "ladder-matmul", "ladder-layers", "ladder-conv", "ladder-recurrent", "ladder-word2vec",
        "roofline-matmul", "choice-matmul", "step-profile", "augment",
        "memory-recurrent".
    threads : sequence of int
    json_path : path, optional
        A file for one thread count, a folder for any number.
    progress : callable, optional
        Called with one line before each part.
    **settings
        Passed on to the study.

    Raises
    ------
    ValueError
        If a thread count is below 1, or there is one file for several.
    """
    for count in threads:
        if count < 1:
            raise ValueError(f"study: threads is {count}; expected at least 1")
    if json_path is not None and len(threads) > 1 and Path(json_path).suffix == ".json":
        raise ValueError(f"study: json_path {str(json_path)!r} is one file for {len(threads)} thread counts")
    if json_path is not None:
        results.check(json_path)
    records = []
    for count in threads:
        records.append(_STUDIES[name](threads=count, progress=progress, **settings))
        if json_path is not None:
            results.write(records[-1], json_path)
    return records


def count(
    operation: str,
    *,
    json_path: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Count what the CUDA ladders of ``matmul``, ``layers`` or ``conv`` do on the SIMT machine, and write the record.

    Parameters
    ----------
    operation : {"matmul", "layers", "conv"}
    json_path : path, optional
        A file or a folder.
    progress : callable, optional
        Called with one line before each step.
    **settings
        Passed on to `dlkit.study.simt_counts.measure`.
    """
    record = simt_counts.measure(operation, progress=progress, **settings)
    if json_path is not None:
        results.write(record, json_path)
    return record


def is_study(record: dict[str, Any]) -> bool:
    """Return whether a record is of a study, not of a comparison with peers."""
    return record["chapter"] in _SHOWN


def head(record: dict[str, Any]) -> str:
    """Return the line that says where, with what and how a record was measured."""
    if record["machine"].get("device") == "simt":
        return simt_counts.head(record)
    machine, ceiling, count = record["machine"], record.get("ceiling"), record["threads"]
    unit = _SHOWN[record["chapter"]][1]
    text = f"{unit}{machine['cpu']}, {record['isa']}, {count} thread{'s' * (count > 1)}; "
    if ceiling:
        text += (
            f"FMA peak {ceiling['peak'] / 1e9:.0f} GFLOP/s, memory {ceiling['bandwidth'] / 1e9:.0f} GB/s; "
        )
    return text + f"{record['date']}; `{record['command']}`"


def _cells(record: dict[str, Any], summary: bool = False) -> tuple[list[str], list[list[str]], int]:
    module = _SHOWN[record["chapter"]][0]
    fewer = {"summary": True} if summary and module is simt_counts else {}
    titles: list[str] = module.columns(record, **fewer)
    cells: list[list[str]] = module.rows(record, **fewer)
    return titles, cells, 2 if "idea" in titles else 1


def markdown(record: dict[str, Any], summary: bool = False) -> str:
    """Return a record as a Markdown table with its head line above; with `summary` fewer columns of those that can."""
    titles, cells, text_columns = _cells(record, summary)
    # The site keeps the column of this word wide enough for a sentence.
    titles = ['<span class="wide">idea</span>' if title == "idea" else title for title in titles]
    return "\n".join([head(record), "", *table.markdown_lines(titles, cells, text_columns=text_columns)])


def text(record: dict[str, Any]) -> str:
    """Return a record as a plain table."""
    titles, cells, text_columns = _cells(record)
    cells = [[cell.replace("**", "") for cell in line] for line in cells]
    return "\n".join([head(record), "", *table.aligned(titles, cells, text_columns=text_columns)])
