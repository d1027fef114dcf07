"""The nearest words among a million, exactly: dlkit beside NumPy and faiss, in one process, alternating.

    python bench/compare_vectors.py [--threads 1] [--rows 1000000] [--rounds 3] [--dry-run]

The top 10 of 1,000 queries over 1,000,000 vectors of 300 dimensions, all at length 1. NumPy: a product in blocks of
rows, whose whole would have 4 GB, ``argpartition``, and a merge. faiss (``pip install faiss-cpu``): ``IndexFlatIP``.
Both as they are by default, and in a second process with ``OPENBLAS_CORETYPE=SkylakeX``: on AMD processors the OpenBLAS
that they bring picks AVX2 kernels. The report goes into ``bench/results/vectors-1t.json`` and, as a table, into
``docs/models/word2vec.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

DIMENSIONS, QUERIES, K = 300, 1000, 10
CONFIGURATIONS: dict[str, dict[str, str]] = {"default": {}, "best": {"OPENBLAS_CORETYPE": "SkylakeX"}}
BLOCKS = (4096,)  # the fastest of 1024, 4096, 16384 and 131072


def measure(rows: int, rounds: int, threads: int) -> dict[str, Any]:
    """Measure in this process."""
    import numpy as np

    import dlkit.kernels as kernels
    from dlkit.train.environment import environment

    kernels.set_num_threads(threads)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((rows, DIMENSIONS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((QUERIES, DIMENSIONS), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    def with_numpy(block: int) -> Any:
        best_scores = np.full((QUERIES, K), -np.inf, np.float32)
        best_rows = np.full((QUERIES, K), -1)
        for begin in range(0, rows, block):
            scores = queries @ vectors[begin : begin + block].T
            k = min(K, scores.shape[1])
            places = np.argpartition(scores, -k, axis=1)[:, -k:]
            both = np.concatenate([best_scores, np.take_along_axis(scores, places, 1)], 1)
            order = np.argsort(-both, axis=1)[:, :K]
            best_rows = np.take_along_axis(np.concatenate([best_rows, places + begin], 1), order, 1)
            best_scores = np.take_along_axis(both, order, 1)
        return best_rows

    runs: dict[str, Callable[[], Any]] = {"dlkit": lambda: kernels.nearest(queries, vectors, K)[0]}
    for block in BLOCKS:
        runs[f"NumPy, blocks of {block}"] = lambda block=block: with_numpy(block)  # type: ignore[misc]
    version = None
    try:
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatIP(DIMENSIONS)
        index.add(vectors)
        runs["faiss"] = lambda: index.search(queries, K)[1]
        version = faiss.__version__
    except ImportError:
        print("compare_vectors: faiss is not installed, left out", file=sys.stderr)
    times: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, Any] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            found[name] = run()
            times[name].append(time.perf_counter() - begin)
    return {
        "environment": {**environment(), "faiss": version, "command": f"compare_vectors --threads {threads}"},
        "peak": kernels.measure_peak(threads=threads),
        "seconds": {name: statistics.median(each) for name, each in times.items()},
        "agree": {name: float((rows == found["dlkit"]).mean()) for name, rows in found.items()},
    }


def table(record: dict[str, Any]) -> str:
    """Put a report into Markdown."""
    from pages import measured

    default = record["runs"]["default"]
    flops = 2.0 * record["rows"] * QUERIES * DIMENSIONS
    lines = [
        f"{measured(default['environment'])}, faiss {default['environment']['faiss']}; FMA peak "
        f"{default['peak'] / 1e9:.0f} GFLOP/s; medians of {record['rounds']} alternating rounds; "
        f"`python bench/compare_vectors.py --threads {record['threads']}`",
        "",
        f"| top {K} of {QUERIES:,} queries over {record['rows']:,} × {DIMENSIONS} | configuration | seconds | GFLOP/s "
        "| time / dlkit's |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for configuration, run in record["runs"].items():
        ours = run["seconds"]["dlkit"]
        for name, seconds in run["seconds"].items():
            lines.append(
                f"| {name} | {configuration} | {seconds:.2f} | {flops / seconds / 1e9:.1f} | {seconds / ours:.2f} |"
            )
    return "\n".join(lines)


def main() -> int:
    """Measure, write, print."""
    from pages import comparison_parser

    parser = comparison_parser(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(measure(asked.rows, asked.rounds, asked.threads)))
        return 0
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(asked.threads))
    record: dict[str, Any] = {
        "benchmark": "vectors",
        "rows": asked.rows,
        "rounds": asked.rounds,
        "threads": asked.threads,
        "runs": {},
    }
    for configuration, variables in CONFIGURATIONS.items():
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--here"],
            env={**os.environ, **threads, **variables},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        record["runs"][configuration] = json.loads(done.stdout)
    if not asked.dry_run:
        from pages import MODELS, RESULTS, put_between_markers, write_results

        name = f"vectors-{asked.threads}t"
        write_results(RESULTS / f"{name}.json", record)
        if asked.threads == 1:
            put_between_markers(MODELS / "word2vec.md", name, table(record))
    print(table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
