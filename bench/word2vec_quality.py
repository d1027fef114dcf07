"""What word vectors are worth that dlkit and gensim train by the same settings.

    python bench/word2vec_quality.py [--workers 2] [--trainers dlkit,gensim] [--modes MODE …] [--dry-run]
    python bench/word2vec_quality.py --shared-negatives [--words 1500000] [--rounds 3] [--dry-run]

Both are trained on the whole of text8 for 5 epochs with 100 dimensions and three seeds, and asked for analogies and
similarities by gensim's functions. Into ``bench/results/word2vec-quality.json`` and, as a table, into
``docs/word2vec.md``. ``--trainers gensim`` and ``--modes`` do a part of it, and keep the rest of what that file holds;
each row says where and when it was made. gensim's part takes about half an hour.

``--shared-negatives`` asks the same of dlkit's CBOW with 1 to 4 words in succession that share their negatives, with
raw words of the text a second on its first words, one worker, medians of alternating rounds: into
``word2vec-shared.json`` and a table of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import gensim
from pages import RESULTS, measured, positive, put_between_markers, write_results
from text8_training import (
    MODES,
    PAGE,
    SEEDS,
    analogy_folder,
    described,
    spread,
    text,
    train_dlkit,
    train_gensim,
    worth,
)

import dlkit as dl

SHARED = (1, 2, 3, 4)
DIMENSIONS = (100, 300)
CBOW = "CBOW, negative sampling"


def quality(workers: int, chosen: list[str], modes: list[str], results: Path) -> dict[str, Any]:
    """Train on the whole text, with three seeds, and ask all the same questions, by gensim's functions."""
    analogy_folder()
    where = {**described(), "gensim": gensim.__version__}
    record: dict[str, Any] = {"benchmark": "word2vec-quality", "environment": where, "rows": []}
    if results.is_file():
        kept = json.loads(results.read_text(encoding="utf-8"))["rows"]
        record["rows"] = [row for row in kept if row["trainer"] not in chosen or row["name"] not in modes]
    with tempfile.TemporaryDirectory() as folder:
        file = text(None, Path(folder))
        for name in modes:
            for seed in SEEDS:
                for trainer in chosen:
                    train = train_dlkit if trainer == "dlkit" else train_gensim
                    seconds, vectors = train(file, MODES[name], workers, 100, seed, 5)
                    found = worth(vectors.index_to_key, vectors.vectors, Path(folder))
                    made = {"workers": workers, "where": measured(where)}
                    row = {
                        "name": name,
                        "trainer": trainer,
                        "seed": seed,
                        **found,
                        "seconds": seconds,
                        **made,
                    }
                    record["rows"].append(row)
                    print(row, file=sys.stderr, flush=True)
    return record


def shared(workers: int, words: int, rounds: int) -> dict[str, Any]:
    """Train CBOW with 1 to 4 words that share negatives: the worth of vectors, and the speed of one worker."""
    analogy_folder()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = text(words, Path(folder))
        rates: dict[tuple[int, int], list[float]] = {(n, dim): [] for n in SHARED for dim in DIMENSIONS}
        dl.set_num_threads(1)
        for _ in range(rounds):
            for (count, dim), found in rates.items():
                seconds, _ = train_dlkit(file, {**MODES[CBOW], "shared_negatives": count}, 1, dim)
                found.append(words / seconds)
        dl.set_num_threads(workers)
        file = text(None, Path(folder))
        for count in SHARED:
            mode = {**MODES[CBOW], "shared_negatives": count}
            rate = {f"words_per_second_{dim}": statistics.median(rates[count, dim]) for dim in DIMENSIONS}
            for seed in SEEDS:
                _, vectors = train_dlkit(file, mode, workers, 100, seed, 5)
                found = worth(vectors.index_to_key, vectors.vectors, Path(folder))
                rows.append({"shared": count, "seed": seed, **rate, **found})
                print(rows[-1], file=sys.stderr, flush=True)
    return {
        "benchmark": "word2vec-shared",
        "workers": workers,
        "words": words,
        "environment": described(),
        "rows": rows,
    }


def quality_table(record: dict[str, Any]) -> str:
    """The report on quality as Markdown: means over the seeds, and their standard errors."""
    lines = [
        "text8, 100 dimensions, 5 epochs, means of three seeds ± standard errors; "
        f"gensim {record['environment']['gensim']}; `python bench/word2vec_quality.py --workers 1`",
        "",
        *(f"- {trainer}: {'; '.join(_where(record['rows'], trainer))}" for trainer in ("dlkit", "gensim")),
        "",
        "| model | trained by | analogies | WordSim-353 | SimLex-999 |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name in MODES:
        for trainer in ("dlkit", "gensim"):
            rows = [row for row in record["rows"] if row["name"] == name and row["trainer"] == trainer]
            if len(rows) > 1:
                lines.append(f"| {name} | {trainer} | {' | '.join(spread(rows))} |")
    return "\n".join(lines)


def _where(rows: list[dict[str, Any]], trainer: str) -> list[str]:
    """Where a trainer's rows were made, and by how many workers where it was more than one."""
    return sorted(
        {
            row["where"] + (f", {row['workers']} workers" if row["workers"] > 1 else "")
            for row in rows
            if row["trainer"] == trainer
        }
    )


def shared_table(record: dict[str, Any]) -> str:
    """The report on shared negatives as Markdown."""
    heads = " | ".join(f"{dim} dimensions" for dim in DIMENSIONS)
    lines = [
        f"Thousand words a second of one worker, {record['words']:,} words of text8; the vectors' worth as below: the "
        f"whole text, 100 dimensions, 5 epochs, means of three seeds ± standard errors; "
        f"{measured(record['environment'])}; `python bench/word2vec_quality.py --shared-negatives`",
        "",
        f"| words that share negatives | {heads} | analogies | WordSim-353 | SimLex-999 |",
        f"| ---: |{' ---: |' * (len(DIMENSIONS) + 3)}",
    ]
    for count in SHARED:
        rows = [row for row in record["rows"] if row["shared"] == count]
        cells = [f"{rows[0][f'words_per_second_{dim}'] / 1e3:,.0f}" for dim in DIMENSIONS]
        lines.append(f"| {count} | {' | '.join(cells + spread(rows))} |")
    return "\n".join(lines)


def _trainers(given: str) -> list[str]:
    chosen = given.split(",")
    if not set(chosen) <= {"dlkit", "gensim"}:
        raise argparse.ArgumentTypeError(f"{given!r}, expected dlkit, gensim or dlkit,gensim")
    return chosen


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workers", type=positive, default=2, help="of trainings on the whole text (default: 2)"
    )
    parser.add_argument("--trainers", type=_trainers, help="(default: dlkit,gensim)")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="only these")
    parser.add_argument("--results", type=Path, help="another file, and no page")
    parser.add_argument("--shared-negatives", action="store_true", help="CBOW with shared negatives instead")
    parser.add_argument(
        "--words", type=positive, default=1_500_000, help="whose speed is measured (default: 1,500,000)"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="of the speed (default: 3)")
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    asked = parser.parse_args()
    if asked.shared_negatives:
        if asked.trainers is not None or asked.modes is not None:
            parser.error(
                "--shared-negatives is of dlkit's CBOW alone; expected neither --trainers nor --modes"
            )
        results = asked.results or RESULTS / "word2vec-shared.json"
        record = shared(asked.workers, asked.words, asked.rounds)
        name, show = "word2vec-shared", shared_table
    else:
        results = asked.results or RESULTS / "word2vec-quality.json"
        record = quality(
            asked.workers, asked.trainers or ["dlkit", "gensim"], asked.modes or list(MODES), results
        )
        name, show = "word2vec-quality", quality_table
    if not asked.dry_run:
        write_results(results, record)
        if asked.results is None:
            put_between_markers(PAGE, name, show(record))
    print(show(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
