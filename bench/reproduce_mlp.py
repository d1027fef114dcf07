"""Reproduce the course's rows on MNIST: perceptrons, softmax regression, the naive network, a modern MLP.

``make reproduce-mlp`` runs it. Each model is trained with several seeds; the mean accuracy on the 10000 test
images, the time to train and what the machine did meanwhile go to ``bench/results/reproduce-mlp.json`` and,
as a table, into ``docs/models/mlp.md`` between its markers. MNIST comes from ``DLKIT_DATA`` or is downloaded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from pages import MODELS, RESULTS, measured, put_between_markers, write_results

from dlkit import kernels
from dlkit.data import DataError
from dlkit.recipes import get
from dlkit.train.environment import environment

FILE = RESULTS / "reproduce-mlp.json"
PAGE = MODELS / "mlp.md"


@dataclass(frozen=True)
class Row:
    """One model: its recipe, the settings that differ from it, and what its mean accuracy must reach."""

    key: str
    title: str
    recipe: str
    must_reach: float
    settings: dict[str, Any] = field(default_factory=dict)


ROWS = (
    Row("perceptron", "perceptron", "perceptron", 0.84, {"averaged": False}),
    Row("averaged-perceptron", "averaged perceptron", "perceptron", 0.91, {"averaged": True}),
    Row("softmax", "softmax regression", "softmax", 0.92),
    # Nielsen, "Neural Networks and Deep Learning", chapter 1: 784-100-10, quadratic cost, 30 epochs of
    # mini-batches of 10 at rate 3: 96.59%. The one thing not taken over is his first weights (mean 0,
    # variance 1 whatever the fan-in), with which some of the hidden units start out saturated.
    Row(
        "naive",
        "one hidden layer of 100 sigmoids, quadratic cost, plain SGD",
        "mlp",
        0.9659,
        {
            "hidden": (100,),
            "activation": "sigmoid",
            "loss": "quadratic",
            "optimizer": "sgd",
            "schedule": "constant",
            "dropout": 0.0,
            "input_dropout": 0.0,
            "label_smoothing": 0.0,
            "weight_decay": 0.0,
            "lr": 3.0,
            "batch_size": 10,
            "epochs": 30,
        },
    ),
    Row("mlp", "two hidden layers of ReLU with dropout, AdamW", "mlp", 0.986),
)


def measure(row: Row, seeds: list[int], folder: Path, progress: bool) -> dict[str, Any]:
    """Train a row's model once per seed."""
    runs = []
    for seed in seeds:
        result = get(row.recipe).run(
            data="mnist",
            seed=seed,
            run_dir=folder / f"{row.key}-{seed}",
            progress=progress,
            **row.settings,
        )
        metrics = result.metrics
        runs.append(
            {
                "seed": seed,
                "test_accuracy": metrics["test_accuracy"],
                "train_seconds": metrics["train_seconds"],
                "samples_per_s": metrics["samples_per_s"],
                "gflops": metrics["gflops"],
                "percent_of_peak": metrics["percent_of_peak"],
                "peak_memory": metrics["peak_memory"],
            }
        )
        print(
            f"{row.title}, seed {seed}: {metrics['test_accuracy']:.2%} in {metrics['train_seconds']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    settings = get(row.recipe).settings(data="mnist", **row.settings).as_dict()
    settings.pop("seed")
    accuracies = [run["test_accuracy"] for run in runs]
    mean = fmean(accuracies)
    return {
        "key": row.key,
        "title": row.title,
        "recipe": row.recipe,
        "settings": settings,
        "parameters": metrics["parameters"],
        "epochs": metrics["epochs"],
        "must_reach": row.must_reach,
        "mean_test_accuracy": mean,
        "reached": mean >= row.must_reach,
        "mean_train_seconds": fmean(run["train_seconds"] for run in runs),
        "runs": runs,
    }


def table(record: dict[str, Any]) -> str:
    """The rows as a Markdown table, under a line that says where and how they were measured."""
    seeds = len(record["rows"][0]["runs"])
    lines = [
        f"MNIST, all 60000 training images, {seeds} seed{'s' * (seeds > 1)}; {measured(record['environment'])}. "
        f"Time is that of the training loop.",
        "",
        "| model | test accuracy, mean | least … most | must reach | epochs | time to train | samples/s "
        "| GFLOP/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in record["rows"]:
        accuracies = [run["test_accuracy"] for run in row["runs"]]
        lines.append(
            f"| {row['title']} | **{row['mean_test_accuracy']:.2%}** "
            f"| {min(accuracies):.2%} … {max(accuracies):.2%} "
            f"| {row['must_reach']:.2%} | {row['epochs']} | {row['mean_train_seconds']:.1f} s "
            f"| {fmean(run['samples_per_s'] for run in row['runs']):,.0f} "
            f"| {fmean(run['gflops'] for run in row['runs']):.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Train, write, print; 1 if a row misses what it must reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0,1,2", help="seeds to train with (default: 0,1,2)")
    parser.add_argument("--rows", help=f"some of {','.join(row.key for row in ROWS)} (default: all)")
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all)")
    parser.add_argument("--keep", type=Path, help="keep the run folders here (default: a temporary folder)")
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    parser.add_argument("--progress", action="store_true", help="show the progress of each run")
    chosen = parser.parse_args()

    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    keys = chosen.rows.split(",") if chosen.rows else [row.key for row in ROWS]
    if unknown := sorted(set(keys) - {row.key for row in ROWS}):
        parser.error(f"--rows: unknown {', '.join(unknown)}; known: {', '.join(row.key for row in ROWS)}")
    if len(keys) < len(ROWS) and not chosen.dry_run:
        parser.error("--rows needs --dry-run: what is written must hold all rows")
    if chosen.threads is not None:
        kernels.set_num_threads(chosen.threads)

    with tempfile.TemporaryDirectory(prefix="dlkit-reproduce-") as temporary:
        folder = chosen.keep or Path(temporary)
        try:
            rows = [measure(row, seeds, folder, chosen.progress) for row in ROWS if row.key in keys]
        except DataError as error:
            raise SystemExit(f"reproduce-mlp: {error}") from error
    described = environment()
    described["command"] = "make reproduce-mlp"
    record = {"benchmark": "reproduce-mlp", "data": "mnist", "environment": described, "rows": rows}
    print(table(record))
    if not chosen.dry_run:
        write_results(FILE, record)
        put_between_markers(PAGE, "reproduce-mlp", table(record))
    missed = [row["title"] for row in rows if not row["reached"]]
    for title in missed:
        print(f"missed: {title}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
