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
from dlkit.study.recurrent_workloads import ODD_SHAPES

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
    """Print a line for each cell, pass and peer, of each record; without layer normalisation, which few have.

    Sizes beside the named ones have lines of their own: whether there is a cliff.

    What would be reached at the peak is what the peer itself leaves: all of the time without a multiplication is gone.
    """
    odd = {shape.name for shape in ODD_SHAPES}
    for record, rows in records("recurrent"):
        groups: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
        for row in rows:
            name = row["workload"]["name"]
            if "layer norm" in name:
                continue
            cell, which = name.split(" ")[0], "training" if "backward" in name else "forward"
            sizes = "odd sizes" if name.split(":")[0] in odd else "named sizes"
            for peer, times in row["peers"].items():
                if peer != "dlkit" and "ratio" in times:
                    pair = float(times["ratio"]), float(row["percent_of_ceiling"]) / 100
                    groups.setdefault((sizes, cell, which, peer), []).append(pair)
        for (sizes, cell, which, peer), pairs in sorted(groups.items()):
            ratios, at_peak = [value for value, _ in pairs], [value / share for value, share in pairs]
            print(
                f"{record}, {sizes}, {cell}, {which}, {peer}: {geometric_mean(ratios):.2f} ({min(ratios):.2f} to "
                f"{max(ratios):.2f}); at the peak {geometric_mean(at_peak):.2f} (from {min(at_peak):.2f})"
            )


if __name__ == "__main__":
    conv()
    recurrent()
