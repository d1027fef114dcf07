"""Run ``dlkit train bag-of-words`` on every set, and write its tables.

    python bench/reproduce_bags.py [--data topics,trec] [--keep DIR] [--dry-run]

Results go into ``bench/results/reproduce-bags.json``, tables into ``docs/models/bag-of-words.md``. With ``--keep`` the
run folders are kept there, and those that are finished are not run again. Sets that are not asked for keep their rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pages import MODELS, RESULTS, measured, put_between_markers, with_earlier, write_results

from dlkit.recipes import get
from dlkit.recipes.bag_of_words import size_of

DATA = ("topics", "mr", "subj", "cr", "trec", "sst2", "sst5", "text8")
RESULT = RESULTS / "reproduce-bags.json"
PAGE = MODELS / "bag-of-words.md"
NAMES = {
    "topics": "Python's documentation, by chapter",
    "mr": "MR: film reviews, positive or negative",
    "subj": "SUBJ: subjective or objective",
    "cr": "CR: customer reviews, positive or negative",
    "trec": "TREC: what a question asks for",
    "sst2": "SST-2: sentences of film reviews, 2 classes",
    "sst5": "SST-5: the same, 5 classes",
}
MEMORY = {
    "one_hot_with_zeros": "one-hot vectors with their zeros, $V^2$ numbers",
    "one_hot_as_numbers": "one-hot vectors as the place of the one, $V$ numbers",
    "word_vectors": "word vectors, $100\\,V$ numbers",
    "bags_with_zeros": "bags with their zeros, $N V$ numbers",
    "bags_sparse": "bags, sparse",
    "mean_vectors": "mean vectors, $100\\,N$ numbers",
}


def measure(data: str, folder: Path) -> dict[str, Any]:
    """Run the recipe, unless the folder has a finished run."""
    if not (folder / "result.json").is_file():
        get("bag-of-words").run(run_dir=folder, data=data, overwrite=folder.is_dir(), progress=False)
    values, environment = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("result", "environment")
    )
    start = environment["starts"][-1]
    where = {key: start[key] for key in ("cpu", "threads", "python", "time")}
    where["kernels"] = {"isa": start["kernels"]["isa"]}
    where["versions"] = {name: start["versions"][name] for name in ("dlkit", "numpy")}
    kept = ("words", "documents", "pairs", "memory", "accuracy", "test_samples")
    return {"data": data, "environment": where, **{k: values[k] for k in kept if k in values}}


def accuracies(rows: list[dict[str, Any]]) -> str:
    """The table of the classifiers."""
    lines = [
        "| sentences | words | test sentences | tf-idf | counts | mean of word vectors |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        if "accuracy" in row:
            shares = [f"{row['accuracy'][name]:.2%}" for name in ("tf-idf", "counts", "mean of vectors")]
            lines.append(
                f"| {NAMES[row['data']]} | {row['words']:,} | {row['test_samples']:,} | {' | '.join(shares)} |"
            )
    return "\n".join(
        [*lines, "", f"One seed. {measured(rows[0]['environment'])}; `python bench/reproduce_bags.py`"]
    )


def memories(rows: dict[str, dict[str, Any]]) -> str:
    """The table of what representations take."""
    both = [rows["topics"], rows["text8"]]
    lines = ["| | Python's documentation | text8 |", "| --- | ---: | ---: |"]
    lines.append(f"| words, $V$ | {' | '.join(format(row['words'], ',') for row in both)} |")
    lines.append(
        f"| documents, $N$: sentences; 1,000 words | {' | '.join(format(row['documents'], ',') for row in both)} |"
    )
    for key, name in MEMORY.items():
        lines.append(f"| {name} | {' | '.join(size_of(row['memory'][key]) for row in both)} |")
    return "\n".join(lines)


def likeness(row: dict[str, Any]) -> str:
    """The table of the cosines of words."""
    lines = ["| words | one-hot vectors | word vectors |", "| --- | ---: | ---: |"]
    for pair in row["pairs"]:
        lines.append(f"| {', '.join(pair['words'])} | {pair['one_hot']:.0f} | {pair['vectors']:.2f} |")
    return "\n".join(lines)


def main() -> int:
    """Run, write, fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default=",".join(DATA), help="sets, separated by commas")
    parser.add_argument("--keep", type=Path, help="keep the run folders here (default: a temporary folder)")
    parser.add_argument("--dry-run", action="store_true", help="write nothing but the run folders")
    chosen = parser.parse_args()
    wanted = chosen.data.split(",")
    unknown = [data for data in wanted if data not in DATA]
    if unknown:
        parser.error(f"--data has {unknown[0]!r}, expected some of {', '.join(DATA)}")
    rows = []
    with tempfile.TemporaryDirectory(prefix="dlkit-bags-") as temporary:
        for data in wanted:
            print(data, file=sys.stderr, flush=True)
            rows.append(measure(data, (chosen.keep or Path(temporary)) / data))
    rows = with_earlier(rows, RESULT, "data", DATA)
    by_data = {row["data"]: row for row in rows}
    texts = {"bags": accuracies(rows)}
    if {"topics", "text8"} <= set(by_data):
        texts.update({"bags-memory": memories(by_data), "bags-words": likeness(by_data["text8"])})
    if chosen.dry_run:
        print("\n\n".join(texts.values()))
        return 0
    write_results(RESULT, {"rows": rows})
    for name, text in texts.items():
        put_between_markers(PAGE, name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
