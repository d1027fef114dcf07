"""Reproduce the course's MNIST table, and what maxout, stochastic pooling and dropout are worth in a CNN.

``make reproduce-mnist`` runs it. Three parts, each with a table of its own in ``docs/models/cnn.md``:

course
    The naive network, the SVM with scikit-learn's defaults and the tuned SVM, the CNN and the strong CNN, alone and as
    a committee: accuracy on the 10000 test images beside the course's figure, and as a bar chart.
fashion
    The CNN on Fashion-MNIST.
pairs
    Maxout, stochastic pooling and dropout, each against the same network without it, trained alike: the mean of
    several seeds.

Results go to ``bench/results/reproduce-mnist.json``. Each network has a run folder below ``--runs``: what was stopped
goes on where it was, and what is finished is not trained again. MNIST comes from ``DLKIT_DATA`` or is downloaded.
``--quick`` does the same on scikit-learn's small digits in about a minute, and writes nothing into the repository.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from pages import MODELS, RESULTS, put_between_markers, write_results
from reproduce_mlp import ROWS as MLP_ROWS

from dlkit import kernels
from dlkit.data import DataError, load
from dlkit.recipes import get, load_committee
from dlkit.recipes.folders import stored_settings
from dlkit.train import RunFolderError
from dlkit.train.environment import environment

FILE = RESULTS / "reproduce-mnist.json"
PAGE = MODELS / "cnn.md"
CHART = MODELS / "images" / "mnist-table.png"
PARTS = ("course", "fashion", "pairs")

NAIVE = next(row for row in MLP_ROWS if row.key == "naive")
#: What the strong networks of a committee differ in.
MEMBERS = 5


@dataclass(frozen=True)
class Pair:
    """An idea, and the network that goes without it."""

    key: str
    title: str
    with_it: dict[str, Any]
    without: dict[str, Any]
    source: str


#: What the networks of all pairs have in common: no distortions, no other regularisation than what is compared.
ALIKE: dict[str, Any] = {
    "filters": (20, 50),
    "kernels": (5,),
    "pools": (2,),
    "hidden": (500,),
    "epochs": 20,
    "batch_size": 64,
    "lr": 1e-3,
    "schedule": "cosine",
    "dropout": 0.0,
    "shift": 0,
    "rotation": 0,
    "scale": 0,
}
SMALL: dict[str, Any] = {"filters": (10, 20), "hidden": (100,), "dropout": 0.5}
PAIRS = (
    Pair(
        "dropout",
        "dropout of half the hidden units",
        {"dropout": 0.5},
        {},
        "Srivastava et al., JMLR 2014",
    ),
    # Maxout is meant for dropout (Goodfellow et al., section 2), so that both have it. Of a network of few filters: of
    # that of the other pairs, it wins nothing (docs/models/cnn.md). Chosen on a sixth of the training images, held out.
    Pair(
        "maxout",
        "maxout of 2 pieces; against ReLU, both with dropout, 10-20-100",
        {**SMALL, "activation": "maxout", "pieces": 2},
        SMALL,
        "Goodfellow et al., ICML 2013",
    ),
    Pair(
        "stochastic",
        "stochastic pooling; against max-pooling",
        {"pooling": "stochastic"},
        {},
        "Zeiler & Fergus, ICLR 2013",
    ),
)


@dataclass
class Row:
    """A line of the course's table."""

    key: str
    title: str
    how: str
    course: float | None
    accuracy: float
    seconds: float
    runs: list[dict[str, Any]] = field(default_factory=list)
    must_reach: float | None = None

    @property
    def reached(self) -> bool:
        return self.must_reach is None or self.accuracy >= self.must_reach


class Bench:
    """Trains what is not trained yet.

    Parameters
    ----------
    data
        The data set of the course's table and of the pairs.
    folder
        Where the run folders are.
    quick
        Settings for a smoke test.
    progress
        Show the progress of each run.
    """

    def __init__(self, data: str, folder: Path, quick: bool, progress: bool) -> None:
        self.data, self.folder, self.quick, self.progress = data, folder, quick, progress

    def train(self, name: str, recipe: str, seed: int, **settings: Any) -> dict[str, Any]:
        """Train a network, or read what its folder says it came to."""
        settings = {"data": self.data, **settings}
        if self.quick:
            settings["epochs"] = 2
            settings.pop("kernels", None)  # those of 8×8 images
        run = self.folder / f"{name}-{seed}"
        finished = run / "result.json"
        wanted = get(recipe).settings(**settings, seed=seed)
        there = (run / "settings.json").is_file()
        if there:
            stored = stored_settings(run)[1]
            changed = [key for key, value in wanted.as_dict().items() if stored.get(key) != value]
            if changed:
                raise SystemExit(
                    f"reproduce-mnist: {run} was trained with other settings ({', '.join(changed)}): "
                    f"remove it, or name another folder with --runs"
                )
        if not finished.is_file():
            get(recipe).run(**settings, seed=seed, run_dir=run, resume=there, progress=self.progress)
        metrics = json.loads(finished.read_text(encoding="utf-8"))
        say(f"{name}, seed {seed}: {metrics['test_accuracy']:.2%} in {metrics['train_seconds']:.1f} s")
        return {
            "seed": seed,
            "folder": str(run),
            "epochs": metrics["epochs"],
            "parameters": metrics["parameters"],
            "test_accuracy": metrics["test_accuracy"],
            "train_seconds": metrics["train_seconds"],
            "samples_per_s": metrics["samples_per_s"],
            "gflops": metrics["gflops"],
        }

    def svm(self, name: str, **settings: Any) -> tuple[float, float]:
        """Accuracy of scikit-learn's SVC, and seconds to train it and to ask it; kept in a file once known."""
        kept = self.folder / f"{name}.json"
        if kept.is_file():
            known = json.loads(kept.read_text(encoding="utf-8"))
            if known["settings"] == settings and known["data"] == self.data:
                return known["accuracy"], known["seconds"]
        from sklearn.svm import SVC

        dataset = load(self.data)
        start = time.perf_counter()
        machine = SVC(cache_size=2000, **settings).fit(*dataset.train)
        accuracy = float(machine.score(*dataset.test))
        seconds = time.perf_counter() - start
        kept.parent.mkdir(parents=True, exist_ok=True)
        known = {"data": self.data, "settings": settings, "accuracy": accuracy, "seconds": seconds}
        kept.write_text(json.dumps(known) + "\n", encoding="utf-8")
        say(f"{name}: {accuracy:.2%} in {seconds:.1f} s")
        return accuracy, seconds


def course(bench: Bench, seeds: Sequence[int], members: int) -> list[Row]:
    """The course's table."""
    naive = [bench.train("naive", "mlp", seed, **NAIVE.settings) for seed in seeds]
    rows = [
        mean_row(
            "naive", "naive network", "784-100-10 sigmoids, quadratic cost, plain SGD", 0.9659, naive, 0.9659
        )
    ]
    for key, title, figure, settings in (
        # The default of the course's time; it is "scale" since scikit-learn 0.22, which divides by the variance, too.
        ("svm-2013", "SVM, scikit-learn's defaults of 2013", 0.9435, {"gamma": "auto"}),
        ("svm-today", "SVM, scikit-learn's defaults of today", None, {}),
        ("svm-tuned", "SVM, tuned", 0.9856, {"C": 5.0, "gamma": 0.05}),
    ):
        accuracy, seconds = bench.svm(key, **settings)
        shown = ", ".join(f"{k}={v!r}" for k, v in settings.items())
        rows.append(Row(key, title, f"`SVC({shown})`", figure, accuracy, seconds))
    quick = [bench.train("cnn", "cnn", seed) for seed in seeds]
    rows.append(mean_row("cnn", "CNN, small and quick", "20-50-500, shifts and turns", None, quick, 0.993))
    strong = [bench.train("strong", "cnn", seed, preset="strong") for seed in range(members)]
    rows.append(
        mean_row("strong", "strong CNN, alone", "`--preset strong`, elastic distortions", None, strong, 0.997)
    )
    dataset = load(bench.data)
    committee = load_committee([run["folder"] for run in strong])
    votes = committee.probabilities(dataset.x_test)
    accuracy = float((votes.argmax(axis=1) == dataset.y_test).mean())
    rows.append(
        Row(
            "committee",
            "strong CNN, committee",
            f"the mean of {len(strong)} networks that differ in their seeds",
            0.9979,
            accuracy,
            sum(run["train_seconds"] for run in strong),
            must_reach=0.9979,
        )
    )
    return rows


def fashion(bench: Bench, seeds: Sequence[int]) -> list[Row]:
    """The same network on clothes."""
    runs = [
        bench.train("fashion", "cnn", seed, data="digits" if bench.quick else "fashion-mnist")
        for seed in seeds
    ]
    return [mean_row("fashion", "CNN on Fashion-MNIST", "32-64-500, shifts", None, runs, 0.92)]


def pairs(bench: Bench, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Each idea against the network without it, seed by seed."""
    found = []
    for pair in PAIRS:
        sides: dict[str, list[dict[str, Any]]] = {}
        for side, settings in (("with", pair.with_it), ("without", pair.without)):
            settings = {**ALIKE, **settings}
            # Baselines that are the same network are trained once.
            name = "pair-" + "-".join(f"{k}={v}" for k, v in sorted(settings.items()) if ALIKE.get(k) != v)
            sides[side] = [bench.train(name.rstrip("-"), "cnn", seed, **settings) for seed in seeds]
        sides = {side: [without_folder(run) for run in runs] for side, runs in sides.items()}
        means = {side: fmean(run["test_accuracy"] for run in runs) for side, runs in sides.items()}
        found.append(
            {
                "key": pair.key,
                "title": pair.title,
                "source": pair.source,
                "accuracy": means,
                "better": means["with"] > means["without"],
                "runs": sides,
            }
        )
    return found


def without_folder(run: dict[str, Any]) -> dict[str, Any]:
    """What is the same on every machine."""
    return {name: value for name, value in run.items() if name != "folder"}


def mean_row(
    key: str, title: str, how: str, figure: float | None, runs: list[dict[str, Any]], must_reach: float
) -> Row:
    return Row(
        key,
        title,
        how,
        figure,
        fmean(run["test_accuracy"] for run in runs),
        fmean(run["train_seconds"] for run in runs),
        runs,
        must_reach,
    )


def rows_table(rows: list[dict[str, Any]]) -> str:
    """The course's table in Markdown."""
    lines = [
        "| system | how | accuracy here | least … most | the course's | must reach | time to train |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        each = [run["test_accuracy"] for run in row["runs"]]
        spread = f"{min(each):.2%} … {max(each):.2%}" if len(each) > 1 else ""
        figure = "" if row["course"] is None else f"{row['course']:.2%}"
        goal = "" if row["must_reach"] is None else f"{row['must_reach']:.2%}"
        lines.append(
            f"| {row['title']} | {row['how']} | **{row['accuracy']:.2%}** | {spread} | {figure} | {goal} "
            f"| {row['seconds']:,.0f} s |"
        )
    return "\n".join(lines)


def pairs_table(found: list[dict[str, Any]]) -> str:
    """The pairs in Markdown: wrong test images of 10000 are easier to compare than percentages near 100."""
    lines = [
        "| idea | source | with it | without | better by | seeds that agree |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for pair in found:
        with_it, without = (
            [run["test_accuracy"] for run in pair["runs"][side]] for side in ("with", "without")
        )
        agree = sum(a > b for a, b in zip(with_it, without, strict=True))
        spread = [f" ± {stdev(values):.2%}" if len(values) > 1 else "" for values in (with_it, without)]
        lines.append(
            f"| {pair['title']} | {pair['source']} | **{fmean(with_it):.2%}**{spread[0]} "
            f"| {fmean(without):.2%}{spread[1]} | {100 * (fmean(with_it) - fmean(without)):+.2f} points "
            f"| {agree} of {len(with_it)} |"
        )
    return "\n".join(lines)


def header(record: dict[str, Any], part: str) -> str:
    """Where, when and with what it was measured."""
    where = record["environment"]
    threads = where["threads"]
    data = "Fashion-MNIST" if part == "fashion" else record["data"]
    return (
        f"{data}, all training images; {where['cpu']}, {where['kernels']['isa']}, {threads} "
        f"thread{'s' * (threads > 1)}; dlkit {where['versions']['dlkit']}, scikit-learn "
        f"{record['scikit-learn']}, Python {where['python']}; {where['time'][:10]}; `make reproduce-mnist`"
    )


def chart(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the course's table as bars: errors, on a logarithmic scale, since accuracies near 100% look all alike."""
    from dlkit.train.plots import PALETTE, _figure, _save, _tidy

    figure = _figure(9.0, 0.62 * len(rows) + 1.4)
    axes = figure.add_subplot(1, 1, 1)
    places = np.arange(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        error = max(100 * (1 - row["accuracy"]), 5e-3)
        axes.barh(place + 0.19, error, 0.36, color=PALETTE[0], label="here" if place == places[0] else None)
        axes.text(error * 1.04, place + 0.19, f"{row['accuracy']:.2%}", va="center", fontsize=8.5)
        if row["course"] is not None:
            theirs = 100 * (1 - row["course"])
            axes.barh(
                place - 0.19,
                theirs,
                0.36,
                color=PALETTE[3],
                label="the course" if place == places[0] else None,
            )
            axes.text(
                theirs * 1.04,
                place - 0.19,
                f"{row['course']:.2%}",
                va="center",
                fontsize=8.5,
                color="#555555",
            )
    axes.set_yticks(places, labels=[row["title"] for row in rows], fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("test images wrong, in percent (log scale); shorter is better")
    axes.set_title("MNIST: accuracy here and in the course", fontsize=11, loc="left")
    axes.margins(x=0.18)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    _tidy(axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(figure, path)


def write(record: dict[str, Any]) -> None:
    """Write the parts that were measured; those of an earlier run stay."""
    before: dict[str, Any] = {}
    if FILE.is_file():
        before = json.loads(FILE.read_text(encoding="utf-8"))
    write_results(FILE, {**before, **record})
    for part in PARTS:
        if part in record:
            text = f"{header(record, part)}\n\n{TABLES[part](record[part])}"
            if part == "course":
                text += f"\n\n![MNIST: accuracy here and in the course](images/{CHART.name})"
            put_between_markers(PAGE, f"reproduce-mnist-{part}", text)
    if "course" in record:
        chart(record["course"], CHART)


TABLES: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "course": rows_table,
    "fashion": rows_table,
    "pairs": pairs_table,
}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write, print; 1 if something misses what it must reach."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of all but the committee (default: 0,1,2)")
    parser.add_argument("--members", type=int, default=MEMBERS, help=f"of the committee (default: {MEMBERS})")
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all)")
    parser.add_argument("--runs", type=Path, help="folder of the run folders (default: runs/reproduce-mnist)")
    parser.add_argument("--quick", action="store_true", help="small digits, two epochs; writes no results")
    parser.add_argument("--dry-run", action="store_true", help="print the tables, write no results")
    parser.add_argument("--progress", action="store_true", help="show the progress of each run")
    chosen = parser.parse_args(arguments)
    wanted = chosen.parts.split(",")
    if unknown := sorted(set(wanted) - set(PARTS)):
        parser.error(f"--parts: unknown {', '.join(unknown)}; known: {', '.join(PARTS)}")
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    members = chosen.members
    if chosen.quick:
        seeds, members = seeds[:1], min(members, 2)
    if members < 1:
        parser.error(f"--members is {members}; expected at least 1")
    if chosen.threads is not None:
        kernels.set_num_threads(chosen.threads)

    folder = chosen.runs or Path("runs") / ("reproduce-mnist-quick" if chosen.quick else "reproduce-mnist")
    bench = Bench("digits" if chosen.quick else "mnist", folder, chosen.quick, chosen.progress)
    import sklearn

    record: dict[str, Any] = {
        "benchmark": "reproduce-mnist",
        "data": "MNIST" if not chosen.quick else "digits",
        "environment": {**environment(), "command": "make reproduce-mnist"},
        "scikit-learn": sklearn.__version__,
    }
    missed: list[str] = []
    try:
        for part, measure in (
            ("course", lambda: course(bench, seeds, members)),
            ("fashion", lambda: fashion(bench, seeds)),
        ):
            if part in wanted:
                rows = measure()
                record[part] = [
                    {**vars(row), "runs": [without_folder(run) for run in row.runs], "reached": row.reached}
                    for row in rows
                ]
                missed += [row.title for row in rows if not row.reached]
        if "pairs" in wanted:
            record["pairs"] = pairs(bench, seeds)
            missed += [pair["title"] for pair in record["pairs"] if not pair["better"]]
    except (DataError, RunFolderError) as error:
        raise SystemExit(f"reproduce-mnist: {error}") from error
    for part in PARTS:
        if part in record:
            print(TABLES[part](record[part]), end="\n\n")
    if chosen.quick:
        if "course" in record:
            chart(record["course"], folder / "mnist-table.png")
        return 0  # two epochs reach nothing
    if not chosen.dry_run:
        write(record)
    for title in missed:
        say(f"missed: {title}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
