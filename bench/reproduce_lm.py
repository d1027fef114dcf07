"""Reproduce the recurrent language models: the Penn Treebank, and the large vocabulary of WikiText-2.

``make reproduce-lm`` runs it, for many hours: the networks of Zaremba et al. (2014), a simple RNN and a GRU on the Penn
Treebank; on WikiText-2 one network with a full, an adaptive and a sampled softmax, whose perplexities and times are
compared. Perplexities, times and what the machine did go to ``bench/results/reproduce-lm.json`` and, as tables, into
``docs/models/lm.md`` between its markers; with ``--rows`` those rows alone, beside what was measured of the others
before. ``--keep`` keeps run folders; a run that is in one already is gone on with, so that hours may be cut into
parts. The texts come from ``DLKIT_DATA`` or are downloaded. ``--quick`` trains one small network on the interpreter's
own documentation: a smoke test.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pages import MODELS, RESULTS, measured
from rows import reproduce, trained

FILE = RESULTS / "reproduce-lm.json"
PAGE = MODELS / "lm.md"


@dataclass(frozen=True)
class Row:
    """One network on one text, and what must be reached."""

    name: str
    title: str
    data: str
    settings: dict[str, Any] = field(default_factory=dict)
    at_most: float = 0.0  # perplexity; 0: nothing is asked
    published: str = ""


#: Of a simple network, whose steps would leap where its gradients explode: Adam's do not.
_SIMPLE = {
    "cell": "tanh",
    "layers": 1,
    "dimensions": 300,
    "hidden": 300,
    "dropout": 0.4,
    "optimizer": "adam",
    "lr": 2e-3,
    "epochs": 12,
    "flat_epochs": 4,
    "decay": 0.6,
}
#: By the same, since a rate of 20 makes a GRU worse from the third epoch on.
_GRU = {**_SIMPLE, "cell": "gru", "layers": 2, "dimensions": 200, "hidden": 200, "dropout": 0.3}
#: With fewer weights, those of the output being the word vectors, it learns in fewer epochs.
_MEDIUM_TIED = {"preset": "medium", "tied": True, "epochs": 13, "flat_epochs": 7, "decay": 0.55}
_WIKITEXT = {"dropout": 0.2, "epochs": 5, "flat_epochs": 2}
#: Rare words learn from the tokens of their cluster alone, and more slowly; an epoch takes a quarter of the time.
_ADAPTIVE = {**_WIKITEXT, "softmax": "adaptive", "epochs": 8, "flat_epochs": 4}
_WIKITEXT_TIED = {**_WIKITEXT, "tied": True, "epochs": 4}

ROWS = (
    Row("small", "LSTM, 2 layers of 200", "ptb", {"preset": "small"}, 115.0, "114.5 (Zaremba et al., 2014)"),
    Row("rnn", "tanh RNN, 300 units", "ptb", _SIMPLE, 125.0, "124.7 (Mikolov & Zweig, 2012)"),
    Row("gru", "GRU, 2 layers of 200, dropout 0.3", "ptb", _GRU),
    Row("medium", "LSTM, 2 layers of 650, dropout 0.5", "ptb", {"preset": "medium"}, 84.0, "82.7 (the same)"),
    Row("medium-tied", "LSTM, 2 layers of 650, dropout 0.5, tied weights", "ptb", _MEDIUM_TIED, 84.0),
    Row("full", "full softmax", "wikitext2", _WIKITEXT),
    Row("adaptive", "adaptive softmax", "wikitext2", _ADAPTIVE),
    Row("sampled", "sampled softmax", "wikitext2", {**_WIKITEXT, "softmax": "sampled"}),
    Row(
        "adaptive-tied",
        "adaptive softmax, tied weights",
        "wikitext2",
        {**_WIKITEXT_TIED, "softmax": "adaptive"},
    ),
    Row(
        "sampled-tied", "sampled softmax, tied weights", "wikitext2", {**_WIKITEXT_TIED, "softmax": "sampled"}
    ),
)
_KEPT = ("test_perplexity", "val_perplexity", "epochs", "parameters", "words", "peak_memory")
_KEPT += ("train_seconds", "samples_per_s", "gflops")
_QUICK = Row("quick", "smoke test", "topics", {"epochs": 2, "dimensions": 16, "hidden": 16}, 600.0)


def measure(row: Row, seed: int, folder: Path, progress: bool) -> dict[str, Any]:
    """Train a network, or go on with its training."""
    found = trained("lm", row, seed, folder, progress, _KEPT)
    print(
        f"{row.title}: {found['test_perplexity']:.2f} in {found['train_seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return {**found, "published": row.published}


def tables(record: dict[str, Any]) -> str:
    """The rows as Markdown tables."""
    parts = []
    if ptb := [row for row in record["rows"] if row["data"] == "ptb"]:
        lines = [
            "Penn Treebank, one seed each. Time is that of the training loop, on a machine that had other work.",
            "",
            "| network | test perplexity | validation | must reach | published | epochs | to train | measured |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for row in ptb:
            asked = f"{row['at_most']:.0f}" if row["at_most"] else ""
            lines.append(
                f"| {row['title']} | **{row['test_perplexity']:.1f}** | {row['val_perplexity']:.1f} | {asked} "
                f"| {row['published']} | {row['epochs']} | {row['train_seconds'] / 60:.0f} min "
                f"| {measured(row['environment'])} |"
            )
        parts.append("\n".join(lines))
    if wiki := {row["name"]: row for row in record["rows"] if row["data"] == "wikitext2"}:
        full = wiki.get("full")
        lines = [
            "WikiText-2, 33,278 words, two layers of 200 LSTM units; the same settings but for the softmax, the "
            "epochs, and tied weights where it says so. Times are of a machine that had other work, for which "
            "some runs were halted: above is what a step takes.",
            "",
            "| softmax | test perplexity | beside full | validation | epochs | to train | measured |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for row in wiki.values():
            beside = ""
            if full is not None and row is not full:
                beside = f"{row['test_perplexity'] / full['test_perplexity'] - 1:+.1%}"
            lines.append(
                f"| {row['title']} | **{row['test_perplexity']:.1f}** | {beside} | {row['val_perplexity']:.1f} "
                f"| {row['epochs']} | {row['train_seconds'] / 60:.0f} min | {measured(row['environment'])} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Train, write the results and the tables; 1 if a row misses what it must reach."""
    return reproduce(arguments, "reproduce-lm", __doc__, ROWS, _QUICK, measure, tables, FILE, PAGE)


if __name__ == "__main__":
    sys.exit(main())
