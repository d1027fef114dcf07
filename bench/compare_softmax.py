"""Training steps of one language model with a full, an adaptive and a sampled softmax, in one process, alternating.

    python bench/compare_softmax.py [--threads 1] [--rounds 5] [--dry-run]

The network of the WikiText-2 rows of ``reproduce_lm.py``, on that text (``DLKIT_DATA``, or downloaded): 33,278 words,
two layers of 200 LSTM units, 20 sequences of 35 words, plain gradient descent, norms clipped; with weights of the
output's own, and tied to the word vectors. PyTorch (``pip install '.[torch]'``), as it is by default, takes the same
steps with full and adaptive softmaxes; it has no sampled one, and no adaptive one that is tied. The report goes into
``bench/results/softmax-1t.json`` and, as a table, into ``docs/models/lm.md``.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pages import MODELS, RESULTS, comparison_parser, measured, put_between_markers, write_results

import dlkit as dl
from dlkit.data import DataError, load_corpus
from dlkit.data.stream_batches import StreamBatches
from dlkit.train.environment import environment

HIDDEN, LAYERS, STEPS, BATCH, LR, CLIP_NORM = 200, 2, 35, 20, 20.0, 0.25
_ADAPTIVE = {"softmax": "adaptive", "cutoffs": (2000, 10000)}
_SAMPLED = {"softmax": "sampled", "samples": 1000}
#: What a model is told.
SOFTMAXES: dict[str, dict[str, Any]] = {
    "full": {},
    "adaptive": _ADAPTIVE,
    "sampled": _SAMPLED,
    "full, tied": {"tied": True},
    "adaptive, tied": {**_ADAPTIVE, "tied": True},
    "sampled, tied": {**_SAMPLED, "tied": True},
}
#: Those that PyTorch has.
THEIRS = ("full", "adaptive", "full, tied")
#: Steps in a row before another takes its turn.
TURN = 5


def ours(words: int, softmax: str) -> Callable[[Any, Any], float]:
    """A step of dlkit's, which returns the loss."""
    model = dl.models.RecurrentLanguageModel(words, HIDDEN, HIDDEN, LAYERS, spread=0.1, **SOFTMAXES[softmax])
    parameters = list(model.parameters())
    optimizer = dl.optim.SGD(parameters, lr=LR)

    def step(x: Any, y: Any) -> float:
        loss, _ = model.loss(x, y)
        optimizer.zero_grad()
        loss.backward()
        dl.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        return float(loss.item())

    return step


def theirs(words: int, softmax: str) -> Callable[[Any, Any], float]:
    """A step of PyTorch's."""
    import torch

    embedding, recurrent = torch.nn.Embedding(words, HIDDEN), torch.nn.LSTM(HIDDEN, HIDDEN, LAYERS)
    output: Any
    cutoffs = SOFTMAXES[softmax].get("cutoffs")
    if cutoffs:
        output = torch.nn.AdaptiveLogSoftmaxWithLoss(HIDDEN, words, list(cutoffs), head_bias=True)
    else:
        output = torch.nn.Linear(HIDDEN, words)
        if "tied" in SOFTMAXES[softmax]:
            output.weight = embedding.weight
    network = torch.nn.ModuleList([embedding, recurrent, output])
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -0.1, 0.1)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)

    def step(x: Any, y: Any) -> float:
        states, _ = recurrent(embedding(torch.from_numpy(x)))
        rows, follow = states.flatten(0, 1), torch.from_numpy(y).flatten()
        if cutoffs:
            loss = output(rows, follow).loss
        else:
            loss = torch.nn.functional.cross_entropy(output(rows), follow)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        return float(loss.item())

    return step


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Words a second of each, medians of alternating turns."""
    dl.set_num_threads(threads)
    corpus = load_corpus("wikitext2")
    words = len(corpus.words)
    runs = {f"dlkit, {softmax}": ours(words, softmax) for softmax in SOFTMAXES}
    version = None
    try:
        import torch

        torch.set_num_threads(threads)
        version = torch.__version__
        runs.update({f"PyTorch, {name}": theirs(words, name) for name in THEIRS})
    except ImportError:
        print("compare_softmax: PyTorch is not installed, left out", file=sys.stderr)
    batches = [
        (np.ascontiguousarray(x), np.ascontiguousarray(y))
        for x, y in itertools.islice(StreamBatches(corpus.train, BATCH, STEPS), (rounds + 1) * TURN)
    ]
    times: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, float] = {}
    for turn in range(rounds + 1):  # the first is not counted
        for name, step in runs.items():
            begin = time.perf_counter()
            for x, y in batches[turn * TURN : (turn + 1) * TURN]:
                losses[name] = step(x, y)
            if turn:
                times[name].append((time.perf_counter() - begin) / TURN)
    return {
        "benchmark": "softmax",
        "words": words,
        "rounds": rounds,
        "environment": {
            **environment(),
            "torch": version,
            "command": f"compare_softmax --threads {threads} --rounds {rounds}",
        },
        "peak": dl.kernels.measure_peak(threads),
        "rows": [
            {"name": name, "seconds": statistics.median(each), "loss": losses[name]}
            for name, each in times.items()
        ],
    }


def table(record: dict[str, Any]) -> str:
    """Put a report into Markdown."""
    seconds = {row["name"]: row["seconds"] for row in record["rows"]}
    where = record["environment"]
    command = where["command"].replace(" ", ".py ", 1)
    lines = [
        f"A training step on {STEPS}×{BATCH} words of WikiText-2, {record['words']:,} different ones, two layers of "
        f"{HIDDEN} LSTM units; {measured(where)}, PyTorch {where['torch'] or 'left out'}; FMA peak "
        f"{record['peak'] / 1e9:.0f} GFLOP/s; medians of {record['rounds']} alternating rounds; "
        f"`python bench/{command}`",
        "",
        "| softmax | dlkit, ms | words a second | times faster than full | PyTorch, ms | time / dlkit's |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for softmax in SOFTMAXES:
        own, other = seconds[f"dlkit, {softmax}"], seconds.get(f"PyTorch, {softmax}")
        faster = seconds["dlkit, full, tied" if "tied" in SOFTMAXES[softmax] else "dlkit, full"] / own
        beside = f"{1e3 * other:.1f} | {other / own:.2f}" if other else " | "
        lines.append(
            f"| {softmax} | {1e3 * own:.1f} | {STEPS * BATCH / own:,.0f} | {faster:.1f} | {beside} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, write, print."""
    asked = comparison_parser(__doc__, rounds=5).parse_args()
    try:
        record = measure(asked.rounds, asked.threads)
    except DataError as error:
        raise SystemExit(f"compare_softmax: {error}") from error
    if not asked.dry_run:
        name = f"softmax-{asked.threads}t"
        write_results(RESULTS / f"{name}.json", record)
        if asked.threads == 1:
            put_between_markers(MODELS / "lm.md", name, table(record))
    print(table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
