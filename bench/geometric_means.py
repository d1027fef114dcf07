"""Geometric means of the committed convolution results: how many times as fast as the better of PyTorch's layouts.

``python bench/geometric_means.py`` reads ``bench/results/conv-*.json`` and prints the figures of docs/conv.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from dlkit.study.conv_workloads import PARTS, POOL_KINDS, SHAPES


def ratio(row: dict[str, Any]) -> float:
    """Return dlkit's speed over that of the fastest PyTorch."""
    return min(float(peer["ratio"]) for name, peer in row["peers"].items() if name.startswith("torch"))


def main() -> None:
    """Print a line for each group of rows, of each record."""
    for path in sorted((Path(__file__).parent / "results").glob("conv-*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        named, count = rows[: len(SHAPES) * len(PARTS)], len(SHAPES) * len(PARTS)
        pools = [row for row in rows if row["workload"]["kind"] in POOL_KINDS]
        groups = {"named shapes": named, "odd shapes": rows[count : len(rows) - len(pools)], "pooling": pools}
        for name, group in groups.items():
            ratios = [ratio(row) for row in group]
            behind = sum(value < 1 for value in ratios)
            print(
                f"{path.stem}, {name}: {geometric_mean(ratios):.2f} over {len(ratios)} rows, {behind} below 1"
            )


if __name__ == "__main__":
    main()
