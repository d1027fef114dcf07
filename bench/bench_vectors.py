"""The nearest words among a million, exactly: dlkit beside NumPy and faiss, in one process, alternating.

    python bench/bench_vectors.py [--rows 1000000] [--threads 1] [--json FILE]

Top 10 of 1,000 queries over 1,000,000 vectors of 300 dimensions, by cosine. All hold the vectors at length 1. NumPy: a
product in blocks of rows, ``argpartition``, and a merge, since the whole product would have 4 GB; the block is the
fastest of several. faiss: ``IndexFlatIP``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=300)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DLKIT_NUM_THREADS"):
        os.environ[name] = str(args.threads)  # before NumPy is imported

    import numpy as np

    import dlkit.kernels as K

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((args.rows, args.dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((args.queries, args.dimensions), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    def with_numpy(block: int) -> Any:
        best_scores = np.full((len(queries), args.k), -np.inf, np.float32)
        best_rows = np.full((len(queries), args.k), -1)
        for begin in range(0, args.rows, block):
            scores = queries @ vectors[begin : begin + block].T
            k = min(args.k, scores.shape[1])
            rows = np.argpartition(scores, -k, axis=1)[:, -k:]
            both = np.concatenate([best_scores, np.take_along_axis(scores, rows, 1)], 1)
            order = np.argsort(-both, axis=1)[:, : args.k]
            best_rows = np.take_along_axis(np.concatenate([best_rows, rows + begin], 1), order, 1)
            best_scores = np.take_along_axis(both, order, 1)
        return best_rows, best_scores

    runs: dict[str, Callable[[], Any]] = {
        "dlkit": lambda: K.nearest(queries, vectors, args.k),
        "NumPy, blocks of 16384": lambda: with_numpy(16384),
        "NumPy, blocks of 131072": lambda: with_numpy(131072),
    }
    try:
        import faiss

        faiss.omp_set_num_threads(args.threads)
        index = faiss.IndexFlatIP(args.dimensions)
        index.add(vectors)
        runs["faiss"] = lambda: index.search(queries, args.k)[::-1]
    except ImportError:
        print("faiss is not installed: left out", file=sys.stderr)

    times: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, Any] = {}
    for _ in range(args.rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            found[name] = run()
            times[name].append(time.perf_counter() - begin)
    peak = K.measure_peak(threads=args.threads) if "threads" in K.measure_peak.__code__.co_varnames else None
    flops = 2.0 * args.rows * args.queries * args.dimensions
    ours = statistics.median(times["dlkit"])
    rows = []
    for name, each in times.items():
        median = statistics.median(each)
        agree = float((found[name][0] == found["dlkit"][0]).mean())
        rows.append(
            {
                "name": name,
                "seconds": median,
                "gflops": flops / median / 1e9,
                "ratio": median / ours,
                "agree": agree,
            }
        )
        print(
            f"{name:<26} {median:8.2f} s  {flops / median / 1e9:7.1f} GFLOP/s  {median / ours:5.2f} x dlkit's time  "
            f"{agree:.2%} of the neighbours the same"
        )
    if args.json:
        report = {
            "settings": {**vars(args), "json": None},
            "peak": peak,
            "rows": rows,
            "numpy": np.__version__,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
