"""Geometric means of the committed results: how many times as fast as its peers dlkit is.

``python bench/geometric_means.py`` reads ``bench/results/conv-*.json`` and ``recurrent-*.json`` and prints the figures
of docs/conv.md and docs/recurrent.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from dlkit.study.conv_workloads import PARTS, POOL_KINDS, SHAPES

Rows = list[dict[str, Any]]
RESULTS = Path(__file__).parent / "results"


def records(chapter: str) -> Iterator[tuple[str, Rows]]:
    """Yield the name and the rows of each of a chapter's records."""
    for path in sorted(RESULTS.glob(f"{chapter}-*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))["rows"]


def ratio(row: dict[str, Any]) -> float:
    """Return dlkit's speed over that of the fastest PyTorch."""
    return min(float(peer["ratio"]) for name, peer in row["peers"].items() if name.startswith("torch"))


def conv() -> None:
    """Print a line for each group of rows, of each record: beside the better of PyTorch's layouts."""
    count = len(SHAPES) * len(PARTS)
    for record, rows in records("conv"):
        pools = [row for row in rows if row["workload"]["kind"] in POOL_KINDS]
        groups = {
            "named shapes": rows[:count],
            "odd shapes": rows[count : len(rows) - len(pools)],
            "pooling": pools,
        }
        for name, group in groups.items():
            ratios = [ratio(row) for row in group]
            behind = sum(value < 1 for value in ratios)
            print(f"{record}, {name}: {geometric_mean(ratios):.2f} over {len(ratios)} rows, {behind} below 1")


def recurrent() -> None:
    """Print a line for each cell, pass and peer, of each record; without layer normalisation, which few have."""
    for record, rows in records("recurrent"):
        groups: dict[tuple[str, str, str], list[float]] = {}
        for row in rows:
            name = row["workload"]["name"]
            if "layer norm" in name:
                continue
            cell, which = name.split(" ")[0], "training" if "backward" in name else "forward"
            for peer, times in row["peers"].items():
                if peer != "dlkit" and "ratio" in times:
                    groups.setdefault((cell, which, peer), []).append(float(times["ratio"]))
        for (cell, which, peer), ratios in sorted(groups.items()):
            mean, least, most = geometric_mean(ratios), min(ratios), max(ratios)
            print(f"{record}, {cell}, {which}, {peer}: {mean:.2f} ({least:.2f} to {most:.2f})")


if __name__ == "__main__":
    conv()
    recurrent()
