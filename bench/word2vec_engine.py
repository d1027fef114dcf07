"""What a word costs dlkit's engine of word vectors: its rungs, and its bounds.

    python bench/word2vec_engine.py [--workers 1,2] [--dims 100,300] [--words 2000000] [--epochs 3] [--rungs RUNG …]
        [--dry-run]

Nanoseconds of processor time for a word that subsampling keeps, with each rung of the engine, with the loss and what
the vectors are worth; then operations and bytes of a word with the settings of most use, beside what the machine gives.
The report goes into ``bench/results/word2vec-engine.json`` and, as tables, into ``docs/word2vec.md``. ``--rungs``
measures some, and keeps what was measured of the others before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pages import RESULTS, measured, positive, put_between_markers, write_results
from text8_training import (
    MIN_COUNT,
    MODES,
    NEGATIVE,
    PAGE,
    SAMPLE,
    WINDOW,
    analogy_folder,
    described,
    numbers,
    similarity,
    text,
)

import dlkit as dl
from dlkit.models.word2vec_trainer import Word2VecTrainer

ENGINE = RESULTS / "word2vec-engine.json"

# The engine's ladder: each has what the one before has, but where it says so.
RUNGS: dict[str, dict[str, Any]] = {
    "naive": {"variant": "naive", "prefetch": False, "hot_rows": 0},
    "exp_table": {"variant": "exp_table", "prefetch": False, "hot_rows": 0},
    "registers": {"variant": "registers", "prefetch": False, "hot_rows": 0},
    "matrix": {"variant": "matrix", "prefetch": False, "hot_rows": 0},
    "matrix, rows fetched ahead": {"hot_rows": 0},
    "the same, the window's rows kept": {"hot_rows": 0, "reuse_window": True},
    "fetched ahead, two words share negatives": {"hot_rows": 0, "shared_negatives": 2},
    "fetched ahead, three words share negatives": {"hot_rows": 0, "shared_negatives": 3},
    "fetched ahead, four words share negatives": {"hot_rows": 0, "shared_negatives": 4},
    "fetched ahead, 64 hot rows a worker": {"hot_rows": 64},
}


def _trainer(corpus: Any, mode: dict[str, Any], **options: Any) -> Word2VecTrainer:
    return Word2VecTrainer(
        corpus.counts.tolist(),
        **{"sg": bool(mode["sg"]), "hs": bool(mode.get("hs")), "negative": mode.get("negative", NEGATIVE)},
        **{"sample": SAMPLE, "window": WINDOW, **options},
    )


def _earlier_rungs(words: int, epochs: int, rungs: list[str]) -> list[dict[str, Any]]:
    """What was measured before of the other rungs, on the same processor and by the same settings."""
    earlier, here = json.loads(ENGINE.read_text(encoding="utf-8")), described()
    alike = [
        [of_words, of_epochs, where["cpu"], where["kernels"]["isa"]]
        for of_words, of_epochs, where in (
            (earlier["words"], earlier["epochs"], earlier["environment"]),
            (words, epochs, here),
        )
    ]
    if alike[0] != alike[1]:
        raise SystemExit(
            f"word2vec_engine: earlier rungs are of {alike[0]}, these of {alike[1]}; expected the same words, epochs, "
            "processor and instruction set"
        )
    return [row for row in earlier["rows"] if row["rung"] not in rungs]


def engine(
    workers: list[int], dims: list[int], words: int, epochs: int, rungs: list[str] | None
) -> dict[str, Any]:
    """Train with each rung of the engine: nanoseconds of a kept word, the loss, and WordSim-353.

    Or with some rungs, beside what was measured of the others before.
    """
    analogy_folder()
    kept = _earlier_rungs(words, epochs, rungs) if rungs else []
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        dl.data.WordCorpus.build(text(words, Path(folder)), MIN_COUNT) as corpus,
    ):
        for rung in rungs or RUNGS:
            options = RUNGS[rung]
            for count in workers:
                if count == 1 and options["hot_rows"]:
                    continue  # one worker has no copies
                for name, mode in MODES.items():
                    if "hs" in mode and "shared_negatives" in options:
                        continue  # which has none
                    trainer = _trainer(corpus, mode, **{"shared_negatives": 1, **options})
                    reports, nanoseconds = _processor_time(trainer, corpus, epochs, count)
                    row = {"rung": rung, "workers": count, "name": name, "loss": reports[-1].loss}
                    pairs = similarity(corpus.words, trainer.vectors.copy(), "wordsim353.tsv")
                    rows.append({**row, "nanoseconds": nanoseconds, "wordsim353": pairs})
                    print(rows[-1], file=sys.stderr, flush=True)
        bounds = [_bound(corpus, name, dim, epochs) for dim in dims for name in MODES]
        vocabulary = len(corpus.words)
    rows += kept
    return {
        "benchmark": "word2vec-engine",
        "words": words,
        "epochs": epochs,
        "environment": described(),
        "ceilings": {
            "peak": dl.kernels.measure_peak(1),
            "second_level": _in_place(1 << 19),
            "third_level": _in_place(vocabulary * 448),
        },
        "rows": rows,
        "bounds": bounds,
    }


def _in_place(size: int) -> float:
    """Bytes a second of an array of so many bytes that is changed in place: each is read and written."""
    array = np.ones(size // 4, np.float32)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(1 + (1 << 27) // size):
            np.multiply(array, np.float32(1), out=array)
        taken.append((time.perf_counter() - start) / (1 + (1 << 27) // size))
    return 2 * size / statistics.median(taken)


def _bound(corpus: Any, name: str, dim: int, epochs: int) -> dict[str, Any]:
    """What a word that is kept costs one worker: operations, bytes from beyond the first-level cache, and time."""
    mode = MODES[name]
    trainer = _trainer(corpus, mode, vector_size=dim)
    share = corpus.counts / corpus.counts.sum()
    kept = share * np.minimum(np.sqrt(SAMPLE / share) + SAMPLE / share, 1)
    outputs = 1.0 + NEGATIVE
    near = 1.0 + NEGATIVE / (1 if mode["sg"] else 3)  # three words of CBOW share negatives
    if mode.get("hs"):
        paths = [trainer.path(word)[0] for word in range(len(kept))]
        outputs = float(np.average([len(path) for path in paths], weights=kept))
        # The 32 nodes of the most words are in the first-level cache.
        hot = len(kept) - 1 - 32
        near = float(np.average([sum(node < hot for node in path) for path in paths], weights=kept))
    inputs = WINDOW + 1.0
    flops = 6 * inputs * outputs * dim if mode["sg"] else (6 * outputs + 3 * inputs) * dim
    _, nanoseconds = _processor_time(trainer, corpus, epochs, 1)
    return {
        "name": name,
        "dim": dim,
        "pairs": inputs * outputs if mode["sg"] else outputs,
        "flops": flops,
        # An input enters the window and leaves it; outputs come and go; rows are whole cache lines.
        "bytes": 2 * (1 + near) * (-(-dim // 16) * 64),
        "nanoseconds": nanoseconds,
    }


def _processor_time(trainer: Word2VecTrainer, corpus: Any, epochs: int, workers: int) -> tuple[Any, float]:
    """The reports, and nanoseconds of all workers' processor time for a word that was kept, the median of epochs."""
    clock = [time.process_time()]
    reports = trainer.fit(
        corpus, epochs=epochs, workers=workers, after_epoch=lambda _: clock.append(time.process_time())
    )
    taken = [1e9 * (clock[i + 1] - clock[i]) / report.kept for i, report in enumerate(reports)]
    return reports, statistics.median(taken)


def bound_table(record: dict[str, Any]) -> str:
    """The costs of a word as Markdown."""
    ceilings = record["ceilings"]
    lines = [
        f"Processor time of one worker, {record['words']:,} words of text8; FMA peak "
        f"{ceilings['peak'] / 1e9:.0f} GFLOP/s; an array that is changed in place, read and written: "
        f"{ceilings['second_level'] / 1e9:.0f} GB/s in the second-level cache, "
        f"{ceilings['third_level'] / 1e9:.0f} GB/s where it is as large as a matrix of 100 dimensions; "
        f"{measured(record['environment'])}; `python bench/word2vec_engine.py`",
        "",
        "| a word that is kept | dimensions | pairs | FLOPs a pair | bytes a pair | ns | GFLOP/s | of the peak "
        "| GB/s | of the third level |",
        f"| --- |{' ---: |' * 9}",
    ]
    for row in record["bounds"]:
        flops, rate = row["flops"] / row["nanoseconds"], row["bytes"] / row["nanoseconds"]
        lines.append(
            f"| {row['name']} | {row['dim']} | {row['pairs']:.1f} | {row['flops'] / row['pairs']:,.0f} "
            f"| {row['bytes'] / row['pairs']:,.0f} | {row['nanoseconds']:,.0f} | {flops:.1f} "
            f"| {1e9 * flops / ceilings['peak']:.0%} | {rate:.1f} | {1e9 * rate / ceilings['third_level']:.0%} |"
        )
    return "\n".join(lines)


def engine_table(record: dict[str, Any]) -> str:
    """The report on the engine's ladder as Markdown."""
    lines = [
        "Nanoseconds of processor time, of all workers together, for a word that subsampling keeps; in parentheses the "
        "loss of the last epoch and WordSim-353; "
        f"{record['words']:,} words of text8, {record['epochs']} epochs, 100 dimensions; "
        f"{measured(record['environment'])}; `python bench/word2vec_engine.py`",
        "",
        f"| engine | workers | {' | '.join(MODES)} |",
        f"| --- | ---: |{' ---: |' * len(MODES)}",
    ]
    found = {(row["rung"], row["workers"], row["name"]): row for row in record["rows"]}
    for rung in RUNGS:
        for count in sorted({row["workers"] for row in record["rows"]}):
            rows = [found.get((rung, count, name)) for name in MODES]
            cells = [
                f"{row['nanoseconds']:,.0f} ({row['loss']:.3f}, {row['wordsim353']:.3f})" if row else ""
                for row in rows
            ]
            if any(cells):
                lines.append(f"| {rung} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=numbers, default=[1, 2], help="numbers of threads (default: 1,2)")
    parser.add_argument("--dims", type=numbers, default=[100, 300], help="of the bounds (default: 100,300)")
    parser.add_argument("--words", type=positive, default=2_000_000, help="of the text (default: 2,000,000)")
    parser.add_argument("--epochs", type=positive, default=3, help="(default: 3)")
    parser.add_argument(
        "--rungs", nargs="+", choices=RUNGS, help="only these, beside what was measured of the others"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    asked = parser.parse_args()
    record = engine(asked.workers, asked.dims, asked.words, asked.epochs, asked.rungs)
    if not asked.dry_run:
        write_results(ENGINE, record)
        put_between_markers(PAGE, "word2vec-engine", engine_table(record))
        put_between_markers(PAGE, "word2vec-bound", bound_table(record))
    print(engine_table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
