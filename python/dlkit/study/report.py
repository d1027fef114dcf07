"""Writes measured tables into pages, between markers.

A page says where a table goes::

    <!-- table:matmul-1t:begin -->
    <!-- table:matmul-1t:end -->

The name is chapter and thread count of a file in ``bench/results`` (``matmul-1t``, ``layers-2t``,
``models-1t``, ``ladder-matmul-1t``, ``ladder-layers-1t``, ``roofline-matmul-1t``), with the instruction set
where one was forced (``matmul-1t-avx2``). With ``-summary`` appended: fewer columns. Of several files, the
one measured last is shown. Run ``python -m dlkit.study.report``; where no result changed, it changes nothing.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.study import ladder, ladder_layers, results, roofline, table

_MARKED = re.compile(
    r"(?P<begin><!-- table:(?P<name>[\w-]+):begin -->)(?P<body>.*?)(?P<end><!-- table:(?P=name):end -->)",
    re.DOTALL,
)
_ANY_MARKER = re.compile(r"<!-- table:(?P<name>[\w-]+):(?P<which>begin|end) -->")


def find_record(name: str, folder: Path) -> dict[str, Any]:
    """Return the record a marker's name stands for, of several the one measured last.

    Raises
    ------
    ValueError
        If the name is none, or no such record is there.
    """
    match = re.fullmatch(r"(?P<chapter>[\w-]+?)-(?P<threads>\d+)t(?:-(?P<isa>\w+))?", name)
    if match is None:
        raise ValueError(f"report: table is {name!r}; expected chapter and threads, such as matmul-1t")
    isa = match["isa"] or ""
    found = [
        record
        for path in sorted(folder.glob(f"{match['chapter']}-*.json"))
        if (record := results.read(path))["chapter"] == match["chapter"]
        and record["threads"] == int(match["threads"])
        and record["machine"].get("dlkit_isa", "") == isa
    ]
    if not found:
        raise ValueError(f"report: no results for table {name!r} in {folder}; run `make bench`")
    return max(found, key=lambda record: str(record["date"]))


def render(name: str, folder: Path) -> str:
    """Return the Markdown that goes between the markers of a table."""
    summary = name.endswith("-summary")
    record = find_record(name.removesuffix("-summary"), folder)
    if record["chapter"] == "ladder-layers":
        return _plain(record, ladder_layers.columns(record), ladder_layers.rows(record), "")
    if record["chapter"].startswith("ladder-"):
        return _plain(record, ladder.columns(record), ladder.rows(record), "GFLOP/s. ")
    if record["chapter"].startswith("roofline-"):
        return _plain(record, roofline.columns(record), roofline.rows(record), "")
    return table.summary(record) if summary else table.markdown(record)


def _plain(record: dict[str, Any], titles: list[str], rows: list[list[str]], unit: str) -> str:
    machine, ceiling, count = record["machine"], record["ceiling"], record["threads"]
    head = (
        f"{unit}{machine['cpu']}, {record['isa']}, {count} thread{'s' * (count > 1)}; "
        f"FMA peak {ceiling['peak'] / 1e9:.0f} GFLOP/s, memory {ceiling['bandwidth'] / 1e9:.0f} GB/s; "
        f"{record['date']}; `{record['command']}`"
    )
    return "\n".join(
        [head, "", *table.markdown_lines(titles, rows, text_columns=2 if "idea" in titles else 1)]
    )


def fill(text: str, folder: Path) -> str:
    """Return a page with every marked table written anew.

    Raises
    ------
    ValueError
        If a marker lacks its other half, or a table has no results.
    """
    paired = [match["name"] for match in _MARKED.finditer(text)]
    for match in _ANY_MARKER.finditer(text):
        if match["name"] not in paired:
            other = "end" if match["which"] == "begin" else "begin"
            raise ValueError(
                f"report: table {match['name']!r} has its {match['which']} marker but no {other} marker"
            )
    return _MARKED.sub(lambda m: f"{m['begin']}\n\n{render(m['name'], folder)}\n\n{m['end']}", text)


def update(root: Path, *, check: bool = False) -> list[Path]:
    """Fill the tables of ``README.md`` and of every page under ``docs``.

    Parameters
    ----------
    root : Path
        The repository.
    check : bool
        Change nothing, only find out.

    Returns
    -------
    list of Path
        The pages that changed, or would.
    """
    changed = []
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        if not page.is_file():
            continue
        before = page.read_text(encoding="utf-8")
        try:
            after = fill(before, root / "bench" / "results")
        except ValueError as error:
            raise ValueError(f"{page.relative_to(root)}: {error}") from error
        if after != before:
            changed.append(page)
            if not check:
                page.write_text(after, encoding="utf-8")
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the tables of a repository's pages."""
    parser = argparse.ArgumentParser(
        prog="python -m dlkit.study.report", description="Fill the tables in the docs."
    )
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository (default: here)")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if a table is not up to date"
    )
    chosen = parser.parse_args(arguments)
    try:
        changed = update(chosen.root, check=chosen.check)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for page in changed:
        print(f"{'out of date' if chosen.check else 'written'}: {page.relative_to(chosen.root)}")
    return 1 if chosen.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
