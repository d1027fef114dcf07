"""The sensitivity analysis of Zhang & Wallace (2015): one setting of the network for sentences at a time.

``make sweep-text`` runs it: filter region size, number of filters, activation, 1-max against k-max pooling, dropout;
each value on several folds (or seeds, where a set has an official split). Accuracies go to
``bench/results/sweep-text-<data>.json``, as a table into ``docs/models/text-cnn.md`` between its markers, and as plots
into ``docs/models/images/text-cnn-sweep.png``. What was stopped goes on where it was. ``--quick`` is a smoke test
on the interpreter's own documentation; it writes the plot where ``--figure`` says, and no result.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pages import MODELS, RESULTS, put_between_markers, write_results

from dlkit import kernels
from dlkit.data import DataError
from dlkit.recipes import get
from dlkit.recipes.text_cnn import DATASETS
from dlkit.recipes.text_figures import Setting, sweep_panels
from dlkit.train.environment import environment

PAGE = MODELS / "text-cnn.md"
FIGURE = MODELS / "images" / "text-cnn-sweep.png"


@dataclass(frozen=True)
class Axis:
    """One setting, its name in the recipe, and the values tried; all else is as the paper's baseline."""

    title: str
    name: str
    values: Sequence[Any]
    baseline: Any
    ordered: bool = True


# Baseline: regions 3, 4, 5 with 100 filters each, ReLU, 1-max pooling, dropout 0.5 (Kim 2014).
AXES = (
    Axis(
        "filter region size (one size)", "regions", [(1,), (3,), (5,), (7,), (10,), (15,), (20,)], (3, 4, 5)
    ),
    Axis(
        "filter region sizes (together)",
        "regions",
        [(3, 4, 5), (2, 3, 4, 5), (7, 7, 7), (5, 6, 7), (7, 8, 9), (10, 10, 10)],
        (3, 4, 5),
        ordered=False,
    ),
    Axis("filters of each size", "filters", [10, 50, 100, 200, 400], 100),
    Axis("activation", "activation", ["relu", "tanh", "softplus", "identity"], "relu", ordered=False),
    Axis("k of k-max pooling", "k", [1, 2, 5, 10], 1),
    Axis("dropout", "dropout", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9], 0.5),
)
_QUICK = {"epochs": 3, "dimensions": 16, "optimizer": "adam", "lr": 0.01}
_QUICK_AXES = (
    Axis("filter region size (one size)", "regions", [(1,), (3,)], (3, 4, 5)),
    Axis("activation", "activation", ["relu", "tanh"], "relu"),
    Axis("k of k-max pooling", "k", [1, 2], 1),
)


class Measured:
    """Accuracies that are known; after each training also in a file, so that what was stopped goes on from there."""

    def __init__(self, data: str, kept: Path | None) -> None:
        self.data, self.kept = data, kept
        self.official = data in ("topics", "trec", "sst2", "sst5")
        self.known: dict[str, dict[str, float]] = {}
        if kept is not None and kept.is_file():
            self.known = json.loads(kept.read_text(encoding="utf-8"))

    def accuracies(self, settings: dict[str, Any], repeats: int) -> list[float]:
        """Of some settings, on so many folds or with so many seeds."""
        known = self.known.setdefault(json.dumps(settings, sort_keys=True), {})
        trained = False
        for number in range(repeats):
            if str(number) in known:
                continue
            which = {"seed": number} if self.official else {"fold": number}
            with tempfile.TemporaryDirectory(prefix="dlkit-sweep-") as folder:
                result = get("text-cnn").run(
                    data=self.data,
                    run_dir=Path(folder) / "run",
                    progress=False,
                    pictures=False,
                    **which,
                    **settings,
                )
            known[str(number)] = float(result.metrics["test_accuracy"])
            trained = True
            if self.kept is not None:
                self.kept.parent.mkdir(parents=True, exist_ok=True)
                fresh = self.kept.with_suffix(".new")
                fresh.write_text(json.dumps(self.known, indent=1) + "\n", encoding="utf-8")
                fresh.replace(self.kept)
        found = [known[str(number)] for number in range(repeats)]
        if trained:
            print(f"{settings}: {fmean(found):.2%}", file=sys.stderr, flush=True)
        return found


def text_of(value: Any) -> str:
    """A value as plots and tables show it."""
    if isinstance(value, (tuple, list)):
        return ",".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def table(record: dict[str, Any]) -> str:
    """The sweep as a Markdown table."""
    where = record["environment"]
    lines = [
        f"{record['data']}, random word vectors, {record['repeats']} {record['of']} each; {where['cpu']}, "
        f"{where['threads']} threads; {where['time'][:10]}.",
        "",
        "| setting | value | accuracy, mean | least … most | against the baseline |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    baseline = fmean(record["baseline"])
    for axis in record["axes"]:
        for point in axis["points"]:
            each = point["accuracies"]
            lines.append(
                f"| {axis['title']} | {text_of(point['value'])} "
                f"| {fmean(each):.2%} | {min(each):.2%} … {max(each):.2%} | {100 * (fmean(each) - baseline):+.2f} |"
            )
    return "\n".join(lines)


def measure(
    data: str, axes: Sequence[Axis], common: dict[str, Any], repeats: int, kept: Path | None
) -> dict[str, Any]:
    """Train the baseline and every value of every setting; what is in `kept` already is not trained again."""
    measured = Measured(data, kept)
    baseline = measured.accuracies(common, repeats)
    written = []
    for axis in axes:
        points = []
        for value in axis.values:
            settings = common if value == axis.baseline else {**common, axis.name: value}
            points.append({"value": value, "accuracies": measured.accuracies(settings, repeats)})
        written.append({"title": axis.title, "name": axis.name, "ordered": axis.ordered, "points": points})
    described = environment()
    described["command"] = "make sweep-text"
    return {
        "benchmark": "sweep-text",
        "data": data,
        "repeats": repeats,
        "of": "seeds" if measured.official else "folds",
        "common": common,
        "environment": described,
        "baseline": baseline,
        "axes": written,
    }


def draw(record: dict[str, Any], path: Path) -> None:
    """One panel a setting; values without an order are not joined by a line."""
    settings = [
        Setting(
            axis["title"],
            [text_of(point["value"]) for point in axis["points"]],
            [point["accuracies"] for point in axis["points"]],
            axis["ordered"],
        )
        for axis in record["axes"]
    ]
    title = f"text-cnn on {record['data']}: one setting at a time"
    sweep_panels(settings, path, baseline=fmean(record["baseline"]), title=title)


def main() -> int:
    """Train, write, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mr", choices=DATASETS, help="set of sentences (default: mr)")
    parser.add_argument("--repeats", type=int, default=3, help="folds or seeds for each value (default: 3)")
    parser.add_argument("--epochs", type=int, help="epochs at most (default: the recipe's)")
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all)")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="the plot to write")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/sweep-text"), help="folder of what has been measured"
    )
    parser.add_argument("--redraw", action="store_true", help="only draw, from the results in bench/results")
    parser.add_argument("--dry-run", action="store_true", help="print the table and draw, write no results")
    parser.add_argument("--quick", action="store_true", help="a few small networks on topics, in a minute")
    chosen = parser.parse_args()
    if chosen.threads is not None:
        kernels.set_num_threads(chosen.threads)
    if chosen.repeats < 1:
        parser.error(f"--repeats is {chosen.repeats}, expected 1 or more")
    data, axes, repeats = chosen.data, AXES, chosen.repeats
    common: dict[str, Any] = {} if chosen.epochs is None else {"epochs": chosen.epochs}
    if chosen.quick:
        data, axes, common, repeats = "topics", _QUICK_AXES, {**_QUICK, "filters": 10}, 2

    file = RESULTS / f"sweep-text-{data}.json"
    if chosen.redraw:
        draw(json.loads(file.read_text(encoding="utf-8")), chosen.figure)
        return 0
    try:
        record = measure(data, axes, common, repeats, None if chosen.quick else chosen.runs / f"{data}.json")
    except DataError as error:
        raise SystemExit(f"sweep-text: {error}") from error
    print(table(record))
    draw(record, chosen.figure)
    if not chosen.dry_run and not chosen.quick:
        write_results(file, record)
        put_between_markers(PAGE, "sweep-text", table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
