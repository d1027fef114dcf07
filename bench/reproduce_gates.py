"""Reproduce what gates are for: gradients over time in every cell, long memories, LSTM against GRU.

``make reproduce-gates`` runs it. It trains every cell on digits read pixel by pixel and draws their gradients; a ReLU
network that begins with the identity on the adding problem (Le et al. 2015); an LSTM on MNIST, row by row and pixel by
pixel, and on copying; and LSTM and GRU with as many parameters each, several seeds in pairs, on two tasks. Figures go
to ``bench/results/reproduce-gates.json``, as tables into ``docs/models/vanishing-gradients.md`` between its markers, as
pictures into ``docs/models/images``; with ``--rows`` those rows alone, beside what was measured of the others before.
``--keep`` keeps run folders; a run that is in one already is gone on with, or taken as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log10, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pages import MODELS, RESULTS, measured, put_between_markers, write_results
from rows import settings_of, train

from dlkit import kernels
from dlkit.data import DataError
from dlkit.recipes.vanishing_figures import Contest, contest_panels
from dlkit.train.environment import environment

FILE = RESULTS / "reproduce-gates.json"
PAGE = MODELS / "vanishing-gradients.md"
RECIPE = "vanishing-gradients"
IMAGES = MODELS / "images"
PICTURES = {
    "gradients.png": "vanishing-gradients.png",
    "initialisation.png": "vanishing-init.png",
    "clipping.png": "vanishing-clipping.png",
}
#: First weights are compared on what the identity was proposed for, too.
INIT = {"data": "adding", "compare": "init", "length": 50, "hidden": 64, "epochs": 12, "lr": 5e-4}
CONTEST = "lstm-gru.png"
CELLS = ("lstm", "gru")


@dataclass(frozen=True)
class Reach:
    """A model that must reach something."""

    key: str
    title: str
    metric: str
    text: str
    reached: Callable[[float], bool]
    settings: dict[str, Any]
    pictures: dict[str, str] = field(default_factory=dict)  # as drawn, and in the docs


@dataclass(frozen=True)
class Pair:
    """A task on which LSTM and GRU of as many parameters meet."""

    key: str
    title: str
    metric: str
    settings: dict[str, Any] = field(default_factory=dict)


REACHES = (
    Reach(
        "mnist-rows",
        "LSTM, MNIST row by row: test accuracy",
        "lstm_test_accuracy",
        "98.5%",
        lambda value: value >= 0.985,
        {"data": "mnist-rows", "compare": "none", "cell": "lstm"},
    ),
    Reach(
        "adding",
        "IRNN (ReLU, identity), adding problem of 150 steps: mean squared error",
        "relu_identity_test_loss",
        "at most 0.01 (always answering 1: 0.1667, Le et al. give 0.1767)",
        lambda value: value <= 0.01,
        {"data": "adding", "compare": "none", "cell": "relu", "init": "identity"},
        {"loss.png": "irnn-adding.png"},
    ),
    Reach(
        "copy",
        "LSTM, ten symbols copied after 30 steps: cross entropy",
        "lstm_test_loss",
        "at most 0.4 (always answering at random: 0.416)",
        lambda value: value <= 0.4,
        {"data": "copy", "compare": "none", "cell": "lstm"},
    ),
    Reach(
        "mnist-pixels",
        "LSTM, MNIST pixel by pixel, 784 steps: test accuracy",
        "lstm_test_accuracy",
        "90%",
        lambda value: value >= 0.9,
        {"data": "mnist-pixels", "compare": "none", "cell": "lstm"},
        {"gradients.png": "vanishing-memory.png"},
    ),
)
#: Weights and biases of either side.
BUDGET = 5000
PAIRS = (
    Pair(
        "lstm-gru-digits",
        "digits, pixel by pixel (64 steps)",
        "test_accuracy",
        {"data": "digits-pixels"},
    ),
    Pair(
        "lstm-gru-adding",
        "adding problem, 50 steps",
        "test_loss",
        {"data": "adding", "length": 50, "epochs": 20, "lr": 5e-3, "clip_norm": 1.0, "schedule": "cosine"},
    ),
)
KEYS = ("cells", "init", *(row.key for row in REACHES), *(pair.key for pair in PAIRS))


@dataclass
class Bench:
    """Where runs go, and how they are run."""

    folder: Path
    progress: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def run(self, name: str, **settings: Any) -> Any:
        """Run the recipe in a folder of its own, or go on with what is there."""
        result = train(RECIPE, self.folder / name, self.progress, **{**settings, **self.extra})
        print(f"{name}: {result.lines[0][1]}", file=sys.stderr, flush=True)
        return result


def cells(bench: Bench) -> dict[str, Any]:
    """Train every cell, and what is compared beside them, on digits read pixel by pixel."""
    result = bench.run("cells", data="digits-pixels", compare="all")
    for drawn, wanted in PICTURES.items():
        shutil.copyfile(result.folder / drawn, IMAGES / wanted)
    curves = json.loads((result.folder / "gradients.json").read_text(encoding="utf-8"))
    rows = []
    for name, curve in curves.items():
        key = name.replace("-", "_").replace(".", "_")
        rows.append(
            {
                "model": name,
                "test_accuracy": result.metrics.get(f"{key}_test_accuracy"),
                "diverged": result.metrics[f"{key}_diverged"],
                "largest_gradient": result.metrics[f"{key}_largest_gradient"],
                "bounds": curve["bounds"],
                **{
                    f"{when}{state}_at_{lag}": curve[f"{when}{label}"][curve["lags"].index(lag)]
                    for when in ("before", "after")
                    for state, label in (("", ""), ("_c", "_by_cell_state"))
                    if f"{when}{label}" in curve
                    for lag in (8, 32, 63)
                },
            }
        )
    return {"settings": settings_of(RECIPE, data="digits-pixels"), "models": rows}


def first_weights(bench: Bench) -> dict[str, Any]:
    """Train the same networks from different first weights on the adding problem."""
    result = bench.run("init", **INIT)
    curves = json.loads((result.folder / "gradients.json").read_text(encoding="utf-8"))
    rows = []
    for name, curve in curves.items():
        key = name.replace("-", "_").replace(".", "_")
        rows.append(
            {
                "model": name,
                "test_loss": result.metrics[f"{key}_test_loss"],
                "diverged": result.metrics[f"{key}_diverged"],
                "before_at_50": curve["before"][-1],
                "after_at_50": curve["after"][-1],
            }
        )
    return {"settings": settings_of(RECIPE, **INIT), "baseline": result.metrics["baseline"], "models": rows}


def reach(bench: Bench, row: Reach) -> dict[str, Any]:
    """Train a model that must reach something."""
    result = bench.run(row.key, **row.settings)
    for drawn, wanted in row.pictures.items():
        shutil.copyfile(result.folder / drawn, IMAGES / wanted)
    value = float(result.metrics[row.metric])
    return {
        "title": row.title,
        "value": value,
        "must_reach": row.text,
        "reached": row.reached(value),
        "train_seconds": result.metrics["train_seconds"],
        "samples_per_s": result.metrics["samples_per_s"],
        "gflops": result.metrics["gflops"],
        "settings": settings_of(RECIPE, **row.settings),
    }


def contest(bench: Bench, pair: Pair, seeds: Sequence[int]) -> dict[str, Any]:
    """Train LSTM and GRU with each seed: the same data in the same order, as many parameters."""
    runs: dict[str, list[dict[str, Any]]] = {cell: [] for cell in CELLS}
    for seed in seeds:
        for cell in CELLS:
            result = bench.run(
                f"{pair.key}-{cell}-{seed}",
                **{**pair.settings, "compare": "none", "cell": cell, "parameters": BUDGET, "seed": seed},
            )
            history = [
                json.loads(line)
                for line in (result.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            ]
            what = "val_accuracy" if pair.metric == "test_accuracy" else "val_loss"
            runs[cell].append(
                {
                    "seed": seed,
                    "value": float(result.metrics[f"{cell}_{pair.metric}"]),
                    "curve": [record[what] for record in history],
                    "train_seconds": result.metrics[f"{cell}_train_seconds"],
                    "parameters": result.metrics[f"{cell}_parameters"],
                    "hidden": result.metrics[f"{cell}_hidden"],
                }
            )
    return {
        "title": pair.title,
        "metric": pair.metric,
        "settings": settings_of(RECIPE, **pair.settings),
        "runs": runs,
        "paired": paired([r["value"] for r in runs["lstm"]], [r["value"] for r in runs["gru"]], pair.metric),
    }


def paired(lstm: Sequence[float], gru: Sequence[float], metric: str) -> dict[str, Any]:
    """What the pairs say: the mean difference GRU - LSTM, of losses in decimal logarithms, and its 95% interval.

    The interval is Student's, of the differences; who wins a pair has the higher accuracy or the lower loss.
    """
    from scipy.stats import t

    scale = (lambda value: value) if metric == "test_accuracy" else log10
    sign = 1 if metric == "test_accuracy" else -1
    differences = [scale(g) - scale(b) for b, g in zip(lstm, gru, strict=True)]
    mean, count = fmean(differences), len(differences)
    half = float(t.ppf(0.975, count - 1)) * stdev(differences) / sqrt(count) if count > 1 else float("inf")
    low, high = mean - half, mean + half
    return {
        "of": "accuracy" if metric == "test_accuracy" else "log10 of the loss",
        "mean": mean,
        "low": low,
        "high": high,
        "gru_wins": sum(sign * d > 0 for d in differences),
        "lstm_wins": sum(sign * d < 0 for d in differences),
        "pairs": count,
        "verdict": "no clear winner" if low <= 0 <= high else "GRU" if sign * mean > 0 else "LSTM",
    }


def tables(rows: dict[str, dict[str, Any]]) -> str:
    """All tables of the page."""
    parts = []
    if reaches := [(rows[row.key]) for row in REACHES if row.key in rows]:
        lines = ["| model | measured | must reach | to train | where |", "| --- | ---: | --- | ---: | --- |"]
        for row in reaches:
            value = f"{row['value']:.2%}" if "accuracy" in row["title"] else f"{row['value']:.5f}"
            lines.append(
                f"| {row['title']} | **{value}** | {row['must_reach']} | {row['train_seconds']:.0f} s "
                f"| {measured(row['environment'])} |"
            )
        parts.append("\n".join(lines))
    if "cells" in rows:
        lines = [
            "Digits, pixel by pixel, 64 steps: $\\Vert\\partial h_T/\\partial h_k\\Vert$, median of five "
            f"sequences; {measured(rows['cells']['environment'])}",
            "",
            "| model | test accuracy | 8 steps, before | 32 steps | 63 steps | 8 steps, after | 32 steps | 63 steps "
            "| $\\gamma\\lambda_1$, before and after | largest gradient |",
            "| --- | ---: " + "| ---: " * 8 + "|",
        ]
        for row in rows["cells"]["models"]:
            accuracy = f"{row['test_accuracy']:.1%}" if row["test_accuracy"] is not None else "diverged"
            norms = " | ".join(
                number(row[f"{when}_at_{lag}"]) for when in ("before", "after") for lag in (8, 32, 63)
            )
            bounds = ", ".join(number(b) for b in row["bounds"]) if row["bounds"] else ""
            lines.append(
                f"| {row['model']} | {accuracy} | {norms} | {bounds} | {number(row['largest_gradient'])} |"
            )
            if "before_c_at_8" in row:
                norms = " | ".join(
                    number(row[f"{when}_c_at_{lag}"]) for when in ("before", "after") for lag in (8, 32, 63)
                )
                lines.append(f"| {row['model']}, by its cell state | | {norms} | | |")
        parts.append("\n".join(lines))
    if "init" in rows:
        row = rows["init"]
        lines = [
            f"First weights, adding problem of 50 steps, {row['settings']['epochs'] * row['settings']['batches']:,} "
            f"updates; always answering 1: {row['baseline']:.4f}; {measured(row['environment'])}",
            "",
            "| model | mean squared error | norm over all 50 steps, before | after |",
            "| --- | ---: | ---: | ---: |",
        ]
        for each in row["models"]:
            error = "diverged" if each["test_loss"] is None else f"{each['test_loss']:.4f}"
            lines.append(
                f"| {each['model']} | {error} | {number(each['before_at_50'])} | {number(each['after_at_50'])} |"
            )
        parts.append("\n".join(lines))
    if contests := [rows[pair.key] for pair in PAIRS if pair.key in rows]:
        lines = [
            f"LSTM against GRU, about {BUDGET:,} parameters each, the same seeds:",
            "",
            "| task | LSTM, mean ± deviation | GRU, mean ± deviation | GRU - LSTM, 95% interval | pairs won | verdict "
            "| where |",
            "| --- | ---: | ---: | ---: | ---: | --- | --- |",
        ]
        for row in contests:
            cells_of = []
            for cell in CELLS:
                values = [run["value"] for run in row["runs"][cell]]
                spread = stdev(values) if len(values) > 1 else 0.0
                units = row["runs"][cell][0]["hidden"]
                text = (
                    f"{fmean(values):.2%} ± {spread:.2%}"
                    if row["metric"] == "test_accuracy"
                    else f"{fmean(values):.2g} ± {spread:.2g}"
                )
                cells_of.append(f"{text} ({units} units)")
            p = row["paired"]
            interval = (
                f"{p['mean']:+.2%} ({p['low']:+.2%} … {p['high']:+.2%})"
                if row["metric"] == "test_accuracy"
                else f"{p['mean']:+.2f} ({p['low']:+.2f} … {p['high']:+.2f}) decades of the error"
            )
            lines.append(
                f"| {row['title']} | {' | '.join(cells_of)} | {interval} | GRU {p['gru_wins']}, LSTM {p['lstm_wins']} "
                f"of {p['pairs']} | {p['verdict']} | {measured(row['environment'])} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def number(value: float | None) -> str:
    """A norm in a table; what is not finite has overflowed."""
    if value is None:
        return "∞"
    return f"{value:.3g}" if 1e-3 <= value < 1e4 else f"{value:.0e}" if value else "0"


def draw_contests(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the pairs, as far as they were measured."""
    contests = [
        Contest(
            rows[pair.key]["title"],
            "test accuracy" if pair.metric == "test_accuracy" else "mean squared error",
            {cell.upper(): [run["curve"] for run in rows[pair.key]["runs"][cell]] for cell in CELLS},
            {cell.upper(): [run["value"] for run in rows[pair.key]["runs"][cell]] for cell in CELLS},
            log=pair.metric == "test_loss",
        )
        for pair in PAIRS
        if pair.key in rows
    ]
    if contests:
        contest_panels(contests, path, title=f"LSTM against GRU, about {BUDGET:,} parameters each")


def main() -> int:
    """Train, write, draw; 1 if a row misses what it must reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", help=f"some of {','.join(KEYS)} (default: all)")
    parser.add_argument("--seeds", default="0,1,2,3,4,5", help="of LSTM against GRU (default: 0,1,2,3,4,5)")
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all)")
    parser.add_argument("--keep", type=Path, help="keep the run folders here (default: a temporary folder)")
    parser.add_argument("--dry-run", action="store_true", help="print the tables, write no files")
    parser.add_argument("--progress", action="store_true", help="show the progress of each run")
    chosen = parser.parse_args()
    keys = chosen.rows.split(",") if chosen.rows else list(KEYS)
    if unknown := sorted(set(keys) - set(KEYS)):
        parser.error(f"--rows: unknown {', '.join(unknown)}; known: {', '.join(KEYS)}")
    if chosen.threads is not None:
        kernels.set_num_threads(chosen.threads)
    seeds = [int(seed) for seed in chosen.seeds.split(",")]

    rows: dict[str, dict[str, Any]] = {}
    if FILE.is_file():
        rows = {row.pop("key"): row for row in json.loads(FILE.read_text(encoding="utf-8"))["rows"]}
    described = environment()
    described["command"] = "make reproduce-gates"
    with tempfile.TemporaryDirectory(prefix="dlkit-reproduce-") as temporary:
        bench = Bench(chosen.keep or Path(temporary), chosen.progress)
        try:
            for key in keys:
                if key == "cells":
                    rows[key] = cells(bench)
                elif key == "init":
                    rows[key] = first_weights(bench)
                elif row := next((r for r in REACHES if r.key == key), None):
                    rows[key] = reach(bench, row)
                else:
                    rows[key] = contest(bench, next(p for p in PAIRS if p.key == key), seeds)
                rows[key]["environment"] = described
                if not chosen.dry_run:
                    write(rows)
        except DataError as error:
            raise SystemExit(f"reproduce-gates: {error}") from error
    print(tables({key: rows[key] for key in keys}))
    missed = [rows[key]["title"] for key in keys if not rows[key].get("reached", True)]
    for title in missed:
        print(f"missed: {title}", file=sys.stderr)
    return 1 if missed else 0


def write(rows: dict[str, dict[str, Any]]) -> None:
    """Write results, tables and the picture of the pairs: after every row, for some take long."""
    record = {"benchmark": "reproduce-gates", "rows": [{"key": k, **rows[k]} for k in KEYS if k in rows]}
    write_results(FILE, record)
    put_between_markers(PAGE, "reproduce-gates", tables(rows))
    draw_contests(rows, IMAGES / CONTEST)


if __name__ == "__main__":
    sys.exit(main())
