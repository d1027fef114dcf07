"""What scripts share that train a row at a time, for hours: the command line, and results that are kept row by row."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pages import put_between_markers, with_earlier, write_results

from dlkit import kernels
from dlkit.data import DataError
from dlkit.recipes import Result, get
from dlkit.train.environment import environment


class Named(Protocol):
    """One thing to train."""

    @property
    def name(self) -> str:
        """What ``--rows`` calls it."""


class LanguageModel(Named, Protocol):
    """A language model to train on a text, and the perplexity that it must reach."""

    @property
    def title(self) -> str:
        """What the page calls it."""

    @property
    def data(self) -> str:
        """The text."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the recipe."""

    @property
    def at_most(self) -> float:
        """The perplexity; 0: nothing is asked."""


Row = TypeVar("Row", bound=Named)


def reproduce(
    arguments: list[str] | None,
    benchmark: str,
    description: str | None,
    rows: Sequence[Row],
    quick: Row,
    measure: Callable[[Row, int, Path, bool], dict[str, Any]],
    tables: Callable[[dict[str, Any]], str],
    file: Path,
    page: Path,
) -> int:
    """Train the rows that are asked for; write results and tables after each; 1 if one misses what it must reach.

    Parameters
    ----------
    arguments
        Of the command line; None: the process's.
    benchmark
        Its name in results and between the page's markers.
    description
        For ``--help``.
    rows, quick
        What there is to train, and what ``--quick`` trains, for which nothing is written.
    measure
        Trains a row with a seed, in a folder, or goes on with what is there, with or without a progress bar.
    tables
        The page's part, from the whole record.
    file, page
        Where both go.
    """
    names = [row.name for row in rows]
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", help=f"only these, separated by commas: {', '.join(names)}")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout (default 0)")
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all)")
    parser.add_argument(
        "--keep", type=Path, help="keep the run folders here, and go on with those that are there"
    )
    parser.add_argument("--progress", action="store_true", help="show the progress of each run")
    parser.add_argument("--quick", action="store_true", help="a smoke test: nothing is written")
    given = parser.parse_args(arguments)
    if given.threads is not None:
        kernels.set_num_threads(given.threads)
    wanted = given.rows.split(",") if given.rows else names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"--rows: unknown {', '.join(unknown)}; known: {', '.join(names)}")
    missed = False
    with tempfile.TemporaryDirectory(prefix="dlkit-reproduce-") as temporary:
        folder = given.keep or Path(temporary)
        if given.quick:
            return int(not measure(quick, given.seed, folder, given.progress)["reached"])
        for row in rows:
            if row.name not in wanted:
                continue
            try:
                found = measure(row, given.seed, folder, given.progress)
            except DataError as error:
                raise SystemExit(f"{benchmark}: {error}") from error
            missed |= not found["reached"]
            record = {"benchmark": benchmark, "rows": with_earlier([found], file, "name", names)}
            write_results(file, record)
            put_between_markers(page, benchmark, tables(record))
    return int(missed)


def train(recipe: str, run_dir: Path, progress: bool, **settings: Any) -> Result:
    """Train in a folder; what was stopped there goes on."""
    there = (run_dir / "settings.json").is_file()
    return get(recipe).run(run_dir=run_dir, resume=there, progress=progress, **settings)


def settings_of(recipe: str, **given: Any) -> dict[str, Any]:
    """All settings of a run but its seed."""
    settings = get(recipe).settings(**given).as_dict()
    settings.pop("seed")
    return settings


def trained(
    recipe: str, row: LanguageModel, seed: int, folder: Path, progress: bool, kept: Sequence[str]
) -> dict[str, Any]:
    """Train a language model, or go on with its training; what it was asked and the metrics that are kept."""
    run_dir = folder / f"{row.name}-{seed}"
    metrics = train(recipe, run_dir, progress, data=row.data, seed=seed, **row.settings).metrics
    return {
        "name": row.name,
        "title": row.title,
        "data": row.data,
        "seed": seed,
        "at_most": row.at_most,
        "reached": not row.at_most or float(metrics["test_perplexity"]) <= row.at_most,
        "settings": settings_of(recipe, data=row.data, **row.settings),
        **{name: metrics.get(name) for name in kept},
        "environment": {**environment(), "command": f"make reproduce-{recipe}"},
    }
