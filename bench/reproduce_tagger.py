"""Reproduce the taggers: parts of speech, words of Chinese, named entities.

``make reproduce-tagger`` runs it: each set with several seeds, on the official split. Scores, times and what the
machine did go to ``bench/results/reproduce-tagger.json`` and, as a table, into ``docs/models/tagger.md`` between its
markers; with ``--rows`` those rows alone, beside what was measured of the others before. The sets come from
``DLKIT_DATA`` or are downloaded. ``--quick`` trains one small tagger on the interpreter's own library: a smoke test.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from chinese import jieba_lexicon
from pages import MODELS, RESULTS, measured, put_between_markers, with_earlier, write_results
from rows import settings_of, train

from dlkit import kernels
from dlkit.data import DataError
from dlkit.train.environment import environment

FILE = RESULTS / "reproduce-tagger.json"
PAGE = MODELS / "tagger.md"


@dataclass(frozen=True)
class Row:
    """One set of sentences, what is counted, and what must be reached."""

    name: str
    data: str
    title: str
    metric: str
    must_reach: float = 0.0  # 0: nothing is asked
    settings: dict[str, Any] = field(default_factory=dict)
    # Begins with word vectors of Wikipedia's text, which are trained first, by this recipe with these settings.
    vectors: dict[str, Any] | None = None
    vectors_recipe: str = "word2vec"
    recipe: str = "tagger"
    # Reads where the words of jieba's dictionary lie, too, in this script ("simplified" or "traditional").
    lexicon: str | None = None


#: Words of the same part of speech are near in vectors of narrow windows (Levy & Goldberg, 2014).
_WORD2VEC: dict[str, Any] = {"data": "text8", "window": 2, "vector_size": 200, "epochs": 10}
ROWS = (
    Row("ewt", "ewt", "UD English EWT: 17 parts of speech", "test_accuracy", 0.95),
    Row(
        "ewt-vectors",
        "ewt",
        "the same, with vectors of 100 MB of Wikipedia",
        "test_accuracy",
        0.955,
        vectors=_WORD2VEC,
    ),
    Row("gsd", "gsd-segmentation", "UD Chinese GSD: words", "test_f1", 0.95),
    Row(
        "gsd-lexicon",
        "gsd-segmentation",
        "the same, with the words of jieba's dictionary",
        "test_f1",
        0.95,
        lexicon="traditional",
    ),
    Row("gsdsimp", "gsdsimp-segmentation", "UD Chinese GSD, simplified: words", "test_f1", 0.95),
    Row(
        "gsdsimp-lexicon",
        "gsdsimp-segmentation",
        "the same, with the words of jieba's dictionary",
        "test_f1",
        0.95,
        lexicon="simplified",
    ),
    Row("wnut17", "wnut17", "WNUT 2017: 6 kinds of entities", "seqeval_f1"),
    Row(
        "wnut17-vectors",
        "wnut17",
        "the same, with those vectors, 40 epochs",
        "seqeval_f1",
        0.25,
        {"epochs": 40},
        vectors=_WORD2VEC,
    ),
    Row("python", "python", "the interpreter's library: 12 kinds of tokens", "test_accuracy", 0.97),
)
_COUNTS = {"test_accuracy": "accuracy", "test_f1": "F1", "seqeval_f1": "F1 by seqeval"}
_KEPT = (
    *(
        "test_accuracy",
        "test_f1",
        "test_joint_f1",
        "val_f1",
        "seqeval_f1",
        "test_unknown_accuracy",
        "train_seconds",
        "samples_per_s",
        "gflops",
    ),
    *("epochs", "peak_memory", "words", "parameters"),
)
QUICK = Row(
    *("quick", "python", "smoke test", "test_accuracy", 0.3),
    {"epochs": 1, "dimensions": 8, "hidden": 8, "batch_size": 256},
)


def _vectors(row: Row, folder: Path, progress: bool) -> dict[str, Any]:
    """Train the word vectors, once for all seeds and rows."""
    if row.vectors is None:
        return {}
    settings = (f"{name}-{value}" for name, value in row.vectors.items())
    run_dir = folder / "-".join([row.vectors_recipe, *settings])
    if not (run_dir / "result.json").is_file():
        train(row.vectors_recipe, run_dir, progress, **row.vectors)
    return {"vectors": str(run_dir)}


def measure(row: Row, seeds: list[int], folder: Path, progress: bool) -> dict[str, Any]:
    """Train on a set once per seed."""
    runs = []
    further = _vectors(row, folder, progress)
    if row.lexicon is not None:
        further["lexicon"] = str(jieba_lexicon(row.lexicon, folder))
    for seed in seeds:
        run_dir = folder / f"{row.name}-{seed}"
        settings = {**row.settings, **further}
        metrics = train(row.recipe, run_dir, progress, data=row.data, seed=seed, **settings).metrics
        if row.metric == "seqeval_f1" and metrics.get("seqeval_f1") is None:
            raise SystemExit("seqeval is not installed (pip install 'dlkit[text]')")
        runs.append({"seed": seed, **{name: metrics.get(name) for name in _KEPT}})
        print(
            f"{row.title}, seed {seed}: {metrics[row.metric]:.2%} in {metrics['train_seconds']:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    mean = fmean(run[row.metric] for run in runs)
    return {
        "name": row.name,
        "data": row.data,
        "title": row.title,
        "metric": row.metric,
        "must_reach": row.must_reach,
        "mean": mean,
        "reached": mean >= row.must_reach,
        "settings": settings_of(row.recipe, data=row.data, **row.settings),
        "recipe": row.recipe,
        "vectors": row.vectors,
        "vectors_recipe": row.vectors_recipe,
        "lexicon": row.lexicon,
        "runs": runs,
    }


def table(record: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "Vectors of words, characters and pairs begin at random and learn from the training sentences alone, if "
        "nothing else is said. Time is that of the training loop, on a machine that had other work.",
        "",
        "| sentences | counted | test | least … most | must reach | to train | measured |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in record["rows"]:
        runs = row["runs"]
        each = [run[row["metric"]] for run in runs]
        counted = f"{_COUNTS[row['metric']]}, {len(runs)} seed{'s' * (len(runs) > 1)}"
        joint = [run["test_joint_f1"] for run in runs if run.get("test_joint_f1") is not None]
        if joint:
            counted += f"; {fmean(joint):.2%} with their parts of speech"
        asked = f"{100 * row['must_reach']:.3g}%" if row["must_reach"] else ""
        lines.append(
            f"| {row['title']} | {counted} | **{row['mean']:.2%}** | {min(each):.2%} … {max(each):.2%} "
            f"| {asked} | {fmean(run['train_seconds'] for run in runs):.0f} s | {measured(row['environment'])} |"
        )
    return "\n".join(lines)


def main(
    arguments: list[str] | None = None,
    *,
    rows: Sequence[Row] = ROWS,
    quick: Row = QUICK,
    name: str = "reproduce-tagger",
    file: Path | None = None,
    page: Path | None = None,
) -> int:
    """Train, write the results and the table; 1 if a row misses what it must reach."""
    file, page = file or FILE, page or PAGE
    parser = argparse.ArgumentParser(description="Reproduce the rows of taggers.")
    parser.add_argument("--rows", help=f"only these, separated by commas: {', '.join(r.name for r in rows)}")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas (default 0,1,2)")
    parser.add_argument("--threads", type=int, default=1, help="threads of kernels (default 1)")
    parser.add_argument(
        "--keep", type=Path, help="keep the run folders here, and go on with those that are there"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test: nothing is written")
    parser.add_argument("--table", action="store_true", help="only write the table of what was measured")
    given = parser.parse_args(arguments)
    kernels.set_num_threads(given.threads)
    if given.table:
        put_between_markers(page, name, table(json.loads(file.read_text(encoding="utf-8"))))
        return 0
    seeds = [int(seed) for seed in given.seeds.split(",")]
    if given.quick:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(quick, seeds[:1], Path(folder), False)
        print(f"smoke test: {row['mean']:.2%}")
        return 0 if row["reached"] else 1
    wanted = given.rows.split(",") if given.rows else [row.name for row in rows]
    if unknown := sorted(set(wanted) - {row.name for row in rows}):
        parser.error(f"unknown rows {', '.join(unknown)}; there are {', '.join(row.name for row in rows)}")
    missed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        for row in rows:
            if row.name not in wanted:
                continue
            try:
                found = measure(row, seeds, folder, progress=sys.stderr.isatty())
            except DataError as error:
                raise SystemExit(f"{name}: {error}") from error
            found["environment"] = {**environment(), "command": f"make {name}"}
            missed |= not found["reached"]
            every = with_earlier([found], file, "name", [row.name for row in rows])
            record = {"benchmark": name, "rows": every}
            write_results(file, record)
            put_between_markers(page, name, table(record))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
