"""What the scripts of this folder share: where results and pages are, and how a table gets into a page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
MODELS = ROOT / "docs" / "models"


def measured(where: dict[str, Any]) -> str:
    """Where, with what and when a row was measured, from its `dlkit.train.environment`."""
    threads = where["threads"]
    return (
        f"{where['cpu']}, {where['kernels']['isa']}, {threads} thread{'s' * (threads > 1)}; "
        f"dlkit {where['versions']['dlkit']}, NumPy {where['versions']['numpy']}, Python {where['python']}; "
        f"{where['time'][:10]}"
    )


def comparison_parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return a command line with what comparisons in alternating rounds share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=positive, default=rounds, help=f"turns of each (default {rounds})")
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1)
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    return parser


def positive(text: str) -> int:
    """Read a whole number of at least 1 from a command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 1")
    return int(text)


def with_earlier(
    rows: Iterable[dict[str, Any]], results: Path, key: str, order: Iterable[str]
) -> list[dict[str, Any]]:
    """Return rows, and of those that were not measured now what a file of results holds, in an order of their keys."""
    known = {}
    if results.is_file():
        known = {row[key]: row for row in json.loads(results.read_text(encoding="utf-8"))["rows"]}
    known.update((row[key], row) for row in rows)
    return [known[name] for name in order if name in known]


def write_results(path: Path, record: dict[str, Any]) -> None:
    """Write results as JSON, which has no infinity: it becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False).replace("Infinity", "null")
    path.write_text(text + "\n", encoding="utf-8")


def put_between_markers(page: Path, name: str, text: str) -> None:
    """Replace what is between the two markers of a name in a page, ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.

    Raises
    ------
    SystemExit
        If the page lacks them.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, first, rest = page.read_text(encoding="utf-8").partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise SystemExit(f"{page} lacks the markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
