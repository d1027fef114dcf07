"""Writes measured tables into pages, between markers.

A page says where a table goes::

    <!-- table:matmul-1t:begin -->
    <!-- table:matmul-1t:end -->

The name is chapter and thread count of a file in ``bench/results`` (``matmul-1t``, ``layers-2t``, ``models-1t``,
``ladder-matmul-1t``, ``ladder-layers-1t``, ``ladder-conv-1t``, ``ladder-recurrent-1t``, ``ladder-word2vec-1t``,
``roofline-matmul-1t``, ``choice-matmul-1t``, ``step-profile-1t``, ``augment-1t``, ``memory-recurrent-1t``;
``footprint``, ``simt-matmul`` and ``simt-layers`` have no thread count), with the instruction set where one was forced
(``matmul-1t-avx2``). With ``-summary`` appended: fewer columns. Of several files, the one measured last is shown. Run
``make tables`` or ``python -m dlkit.study report``; where no result changed, it changes nothing, and a table without
results stays as it is.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.study import results, studies, table

_MARKED = re.compile(
    r"(?P<begin><!-- table:(?P<name>[\w-]+):begin -->)(?P<body>.*?)(?P<end><!-- table:(?P=name):end -->)",
    re.DOTALL,
)
_ANY_MARKER = re.compile(r"<!-- table:(?P<name>[\w-]+):(?P<which>begin|end) -->")


class NoResultsError(ValueError):
    """A table has no results yet."""


def find_record(name: str, folder: Path) -> dict[str, Any]:
    """Return the record a marker's name stands for, of several the one measured last.

    Raises
    ------
    ValueError
        If the name is none; `NoResultsError`, if no such record is there.
    """
    match = re.fullmatch(r"(?P<chapter>[\w-]+?)(?:-(?P<threads>\d+)t(?:-(?P<isa>\w+))?)?", name)
    if match is None or (match["threads"] is None and match["chapter"] not in studies.THREADLESS):
        raise ValueError(f"report: table is {name!r}; expected chapter and threads, such as matmul-1t")
    isa = match["isa"] or ""
    found = [
        record
        for path in sorted(
            {*folder.glob(f"{match['chapter']}.json"), *folder.glob(f"{match['chapter']}-*.json")}
        )
        if (record := results.read(path))["chapter"] == match["chapter"]
        and (match["threads"] is None or record["threads"] == int(match["threads"]))
        and record["machine"].get("dlkit_isa", "") == isa
    ]
    if not found:
        raise NoResultsError(f"report: no results for table {name!r} in {folder}")
    return max(found, key=lambda record: str(record["date"]))


def render(name: str, folder: Path) -> str:
    """Return the Markdown that goes between the markers of a table."""
    summary = name.endswith("-summary")
    record = find_record(name.removesuffix("-summary"), folder)
    if studies.is_study(record):
        return studies.markdown(record, summary)
    return table.summary(record) if summary else table.markdown(record)


def fill(text: str, folder: Path, missing: list[str] | None = None) -> str:
    """Return a page with every marked table written anew.

    Parameters
    ----------
    text : str
        The page.
    folder : Path
        Where the results are.
    missing : list of str, optional
        Gets the names of tables without results, which stay as they are; without it, one is an error.

    Raises
    ------
    ValueError
        If a marker lacks its other half, or a name is none.
    """
    paired = [match["name"] for match in _MARKED.finditer(text)]
    for match in _ANY_MARKER.finditer(text):
        if match["name"] not in paired:
            other = "end" if match["which"] == "begin" else "begin"
            raise ValueError(
                f"report: table {match['name']!r} has its {match['which']} marker but no {other} marker"
            )

    def written(match: re.Match[str]) -> str:
        try:
            return f"{match['begin']}\n\n{render(match['name'], folder)}\n\n{match['end']}"
        except NoResultsError:
            if missing is None:
                raise
            missing.append(match["name"])
            return match[0]

    return _MARKED.sub(written, text)


def update(root: Path, *, check: bool = False, missing: list[str] | None = None) -> list[Path]:
    """Fill the tables of ``README.md`` and of every page under ``docs``.

    Parameters
    ----------
    root : Path
        The repository.
    check : bool
        Change nothing, only find out.
    missing : list of str, optional
        Gets page and name of tables without results, which stay as they are; without it, one is an error.

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
            absent: list[str] | None = None if missing is None else []
            after = fill(before, root / "bench" / "results", absent)
            if missing is not None and absent:
                missing += [f"{page.relative_to(root)}: {name}" for name in absent]
        except ValueError as error:
            raise type(error)(f"{page.relative_to(root)}: {error}") from error
        if after != before:
            changed.append(page)
            if not check:
                page.write_text(after, encoding="utf-8")
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the tables of a repository's pages."""
    parser = argparse.ArgumentParser(
        prog="python -m dlkit.study report", description="Fill the tables in the docs."
    )
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository (default: here)")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if a table is not up to date"
    )
    chosen = parser.parse_args(arguments)
    missing: list[str] = []
    try:
        changed = update(chosen.root, check=chosen.check, missing=missing)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for name in missing:
        print(f"no results yet: {name}", file=sys.stderr)
    for page in changed:
        print(f"{'out of date' if chosen.check else 'written'}: {page.relative_to(chosen.root)}")
    return 1 if chosen.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
