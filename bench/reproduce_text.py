"""Reproduce Kim's table for random word vectors: MR, TREC, SUBJ, CR and the Stanford treebank.

``make reproduce-text`` runs it. Sets without an official split are cross-validated in ten folds, the others trained
with several seeds. Accuracies, times and what the machine did go to ``bench/results/reproduce-text.json`` and, as a
table, into ``docs/models/text-cnn.md`` between its markers; with ``--rows`` those rows alone, beside what was measured
of the others before. The sets come from ``DLKIT_DATA`` or are downloaded. ``--quick`` trains one small network on the
interpreter's own documentation, for a smoke test.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from pages import MODELS, RESULTS, measured, put_between_markers, with_earlier, write_results

from dlkit import kernels
from dlkit.data import DataError
from dlkit.recipes import get
from dlkit.train.environment import environment

FILE = RESULTS / "reproduce-text.json"
PAGE = MODELS / "text-cnn.md"


@dataclass(frozen=True)
class Row:
    """One set of sentences: what Kim reports for random vectors, and what must be reached here."""

    data: str
    title: str
    kim: float
    must_reach: float
    folds: int = 0  # of cross-validation; 0: the official split
    settings: dict[str, Any] = field(default_factory=dict)


ROWS = (
    Row("mr", "MR: film reviews, positive or negative", 0.761, 0.76, 10),
    Row("subj", "SUBJ: subjective or objective", 0.896, 0.89, 10),
    Row("cr", "CR: customer reviews, positive or negative", 0.798, 0.79, 10),
    Row("trec", "TREC: what a question asks for, 6 classes", 0.912, 0.91),
    Row("sst2", "SST-2: phrases of film reviews, 2 classes", 0.827, 0.82),
    Row("sst5", "SST-5: the same, 5 classes", 0.450, 0.44),
)
_QUICK = {"epochs": 4, "dimensions": 20, "filters": 10, "optimizer": "adam", "lr": 0.01, "pictures": False}


def measure(row: Row, seeds: list[int], folder: Path, progress: bool) -> dict[str, Any]:
    """Train on a set: in folds with the first seed, or once per seed."""
    runs = []
    settings = {**row.settings, **({"folds": row.folds, "cross_validate": True} if row.folds else {})}
    for seed in seeds[:1] if row.folds else seeds:
        metrics = (
            get("text-cnn")
            .run(
                data=row.data,
                seed=seed,
                run_dir=folder / f"{row.data}-{seed}",
                progress=progress,
                **settings,
            )
            .metrics
        )
        runs.append(
            {
                "seed": seed,
                **{
                    name: metrics.get(name)
                    for name in (
                        *("test_accuracy", "fold_accuracies", "train_seconds", "samples_per_s", "gflops"),
                        *("epochs", "peak_memory", "words", "parameters"),
                    )
                },
            }
        )
        print(
            f"{row.title}, seed {seed}: {metrics['test_accuracy']:.2%} in {metrics['train_seconds']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    mean = fmean(run["test_accuracy"] for run in runs)
    asked = get("text-cnn").settings(data=row.data, **settings).as_dict()
    asked.pop("seed")
    return {
        "data": row.data,
        "title": row.title,
        "folds": row.folds,
        "kim": row.kim,
        "must_reach": row.must_reach,
        "mean_test_accuracy": mean,
        "reached": mean >= row.must_reach,
        "settings": asked,
        "runs": runs,
    }


def table(record: dict[str, Any]) -> str:
    """The rows as a Markdown table, under a line that says where and how they were measured."""
    lines = [
        "Random word vectors. Time is that of the training loops, all folds or one seed.",
        "",
        "| sentences | evaluated by | accuracy | least … most | Kim's CNN-rand | must reach | to train | measured |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in record["rows"]:
        runs = row["runs"]
        each = runs[0]["fold_accuracies"] or [run["test_accuracy"] for run in runs]
        how = f"{row['folds']} folds" if row["folds"] else f"official split, {len(runs)} seeds"
        kim = f"{row['kim']:.1%}" if row["kim"] else ""
        lines.append(
            f"| {row['title']} | {how} | **{row['mean_test_accuracy']:.2%}** | {min(each):.2%} … {max(each):.2%} "
            f"| {kim} | {row['must_reach']:.0%} | {fmean(run['train_seconds'] for run in runs):.0f} s "
            f"| {measured(row['environment'])} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Train, write, print; 1 if a row misses what it must reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds", default="0,1,2", help="seeds where there is an official split (default: 0,1,2)"
    )
    parser.add_argument("--rows", help=f"some of {','.join(row.data for row in ROWS)} (default: all)")
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all)")
    parser.add_argument("--keep", type=Path, help="keep the run folders here (default: a temporary folder)")
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    parser.add_argument("--quick", action="store_true", help="a small network on topics; writes no files")
    parser.add_argument("--progress", action="store_true", help="show the progress of each run")
    chosen = parser.parse_args()

    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    keys = chosen.rows.split(",") if chosen.rows else [row.data for row in ROWS]
    if unknown := sorted(set(keys) - {row.data for row in ROWS}):
        parser.error(f"--rows: unknown {', '.join(unknown)}; known: {', '.join(row.data for row in ROWS)}")
    if chosen.threads is not None:
        kernels.set_num_threads(chosen.threads)
    rows = [row for row in ROWS if row.data in keys]
    if chosen.quick:
        rows, seeds = [Row("topics", "topics: chapters of Python's documentation", 0, 0.5, 0, _QUICK)], [0]

    with tempfile.TemporaryDirectory(prefix="dlkit-reproduce-") as temporary:
        folder = chosen.keep or Path(temporary)
        try:
            measured_rows = [measure(row, seeds, folder, chosen.progress) for row in rows]
        except DataError as error:
            raise SystemExit(f"reproduce-text: {error}") from error
    described = environment()
    described["command"] = "make reproduce-text"
    for row in measured_rows:
        row["environment"] = described
    if not chosen.dry_run and not chosen.quick:
        every = with_earlier(measured_rows, FILE, "data", [row.data for row in ROWS])
        record = {"benchmark": "reproduce-text", "rows": every}
        write_results(FILE, record)
        put_between_markers(PAGE, "reproduce-text", table(record))
    print(table({"rows": measured_rows}))
    missed = [row["title"] for row in measured_rows if not row["reached"]]
    for title in missed:
        print(f"missed: {title}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
