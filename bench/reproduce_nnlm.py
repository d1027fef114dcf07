"""Reproduce the feed-forward language model of Bengio et al. (2003) on the Penn Treebank.

``make reproduce-nnlm`` runs it: networks that see four words, alone and mixed with trigrams. Perplexities, times and
what the machine did go to ``bench/results/reproduce-nnlm.json`` and, as a table, into ``docs/models/nnlm.md`` between
its markers; with ``--rows`` those rows alone, beside what was measured of the others before. ``--keep`` keeps run
folders; a run that is in one already is gone on with, so that hours may be cut into parts. The text comes from
``DLKIT_DATA`` or is downloaded. ``--quick`` trains one small network on the interpreter's own documentation: a smoke
test.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pages import MODELS, RESULTS, measured
from rows import reproduce, trained

FILE = RESULTS / "reproduce-nnlm.json"
PAGE = MODELS / "nnlm.md"


@dataclass(frozen=True)
class Row:
    """One network, and the perplexity that its mixture must reach."""

    name: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)
    at_most: float = 0.0  # 0: nothing is asked
    data: str = "ptb"


ROWS = (
    Row(
        "short",
        "4×60 → 100, 1 epoch",
        {"dimensions": 60, "hidden": 100, "dropout": 0.0, "batch_size": 256, "lr": 3e-3, "epochs": 1},
        140.0,
    ),
    Row(
        "wide",
        "4×100 → 200, 4 epochs, dropout 0.1",
        {"dimensions": 100, "hidden": 200, "dropout": 0.1, "batch_size": 256, "lr": 2e-3, "epochs": 4},
        140.0,
    ),
)
_KEPT = ("test_perplexity", "val_perplexity", "network_test_perplexity", "network_val_perplexity")
_KEPT += ("ngram_test_perplexity", "ngram_val_perplexity", "weight", "epochs", "parameters", "words")
_KEPT += ("train_seconds", "samples_per_s", "gflops", "peak_memory")
_QUICK = Row("quick", "smoke test", {"epochs": 1, "dimensions": 8, "hidden": 8}, 90.0, "topics")


def measure(row: Row, seed: int, folder: Path, progress: bool) -> dict[str, Any]:
    """Train a network, or go on with its training."""
    found = trained("nnlm", row, seed, folder, progress, _KEPT)
    print(
        f"{row.title}: {found['network_test_perplexity']:.2f} alone, {found['test_perplexity']:.2f} mixed, in "
        f"{found['train_seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return found


def table(record: dict[str, Any]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "Penn Treebank, 5-grams, one seed each; trigrams by interpolated, modified Kneser-Ney. *w* is the network's "
        "weight, the best on the validation text. Time is that of the training loop, on a machine that had other work.",
        "",
        "| network | alone | trigrams alone | *w* | mixture | must reach | to train | measured |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in record["rows"]:
        asked = f"{row['at_most']:.0f}" if row["at_most"] else ""
        lines.append(
            f"| {row['title']} | {row['network_test_perplexity']:.1f} | {row['ngram_test_perplexity']:.1f} "
            f"| {row['weight']:.2f} | **{row['test_perplexity']:.1f}** | {asked} | {row['train_seconds'] / 60:.0f} min "
            f"| {measured(row['environment'])} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Train, write the results and the tables; 1 if a row misses what it must reach."""
    return reproduce(arguments, "reproduce-nnlm", __doc__, ROWS, _QUICK, measure, table, FILE, PAGE)


if __name__ == "__main__":
    sys.exit(main())
