"""n-gram models beside KenLM: perplexity, memory, processor time of counting and of scoring.

``make compare-ngram`` runs it. Of each text a 5-gram model with modified Kneser-Ney smoothing is made by dlkit and,
where ``--lmplz`` names KenLM's program (https://github.com/kpu/kenlm), by KenLM; the test text is scored by dlkit and
by the package ``kenlm``, as installed (a hash table) and with ``--build-binary`` as a trie, too. Times are processor
seconds on one thread, of all threads for ``lmplz``, medians of alternating rounds. Results go to
``bench/results/ngram.json`` and, as tables, into ``docs/models/ngram.md``. ``--sweep`` measures the perplexity of every
smoothing at every order in place of all that. The texts come from ``DLKIT_DATA``.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pages import MODELS, RESULTS, measured, put_between_markers, with_earlier, write_results

from dlkit import kernels
from dlkit.data import DataError
from dlkit.models import NGramCounts, NGramModel
from dlkit.models.ngram import SMOOTHINGS
from dlkit.recipes import get
from dlkit.recipes.ngram import NGramSettings, _texts
from dlkit.train.environment import environment

PAGE = MODELS / "ngram.md"
TITLES = {"ptb": "Penn Treebank", "wikitext2": "WikiText-2", "text8": "100 MB of Wikipedia"}
ORDER = 5


def own_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of this thread, and what came of it."""
    start = time.thread_time()
    result = work()
    return time.thread_time() - start, result


def child_seconds(command: list[str], text: Path) -> float:
    """Processor seconds of a program that reads a text."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(text, "rb") as stream:
        done = subprocess.run(command, stdin=stream, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(data: str, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the models of a text, score its test part, measure both."""
    texts = _texts(NGramSettings(data=data))
    # lmplz refuses <unk> in its text, and has sentences without words as we do.
    kept = [[line.replace("<unk>", "<UNK>") for line in part] for part in (texts.train, texts.test)]
    if data == "text8":
        # The package looks for words in a text of one line again and again: lines of 1000 words for both.
        words = kept[1][0].split()
        kept[1] = [" ".join(words[i : i + 1000]) for i in range(0, len(words), 1000)]
    train, test = kept
    text, arpa, other = folder / "train.txt", folder / "dlkit.arpa", folder / "lmplz.arpa"
    text.write_text("\n".join(train) + "\n", encoding="utf-8")
    row: dict[str, Any] = {"data": data, "title": TITLES[data]}
    times: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        times.setdefault(name, []).append(seconds)

    rounds = 1 if data == "text8" else asked.rounds
    for _ in range(rounds):
        seconds, counts = own_seconds(lambda: NGramCounts(text, ORDER, keep_empty=True))
        note("count", seconds)
        seconds, model = own_seconds(lambda counts=counts: NGramModel(ORDER, keep_empty=True).fit(counts))
        note("estimate", seconds)
        note("write", own_seconds(lambda model=model: model.save_arpa(arpa))[0])
        if asked.lmplz:
            command = [asked.lmplz, "-o", str(ORDER), "-S", "2G", "-T", str(folder), "--arpa", str(other)]
            note("lmplz", child_seconds(command, text))
    row.update(
        tokens=counts.tokens,
        sizes=list(model.sizes),
        model_bytes=model.nbytes,
        count_bytes=counts.nbytes,
    )
    scores = model.score(test)
    row.update(perplexity=scores.perplexity, words=len(scores.words), unknown=scores.unknown)
    row["perplexity_of_known"] = scores.perplexity_of_known
    del counts
    peers = _kenlm_models(arpa, asked, folder)
    for _ in range(2 if data == "text8" else 5 * asked.rounds):
        note("score", own_seconds(lambda: model.score(test))[0])
        for name, peer in peers.items():
            seconds, logs = own_seconds(lambda peer=peer: [peer.score(line) for line in test])
            note(name, seconds)
            row[f"{name}_perplexity"] = 10 ** (-math.fsum(logs) / len(scores.words))
    for file in folder.glob("kenlm.*"):
        row[f"{file.name}_bytes"] = file.stat().st_size
    if asked.lmplz and peers:
        import kenlm

        theirs = kenlm.Model(str(other))
        row["lmplz_perplexity"] = 10 ** (-math.fsum(theirs.score(line) for line in test) / len(scores.words))
    row["seconds"] = {name: median(values) for name, values in times.items()}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def _kenlm_models(arpa: Path, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """KenLM's models of the same ARPA file, none where the package is not installed."""
    try:
        import kenlm
    except ImportError:
        return {}
    if not asked.build_binary:
        return {"kenlm": kenlm.Model(str(arpa))}
    found = {}
    for kind, name in (("probing", "kenlm"), ("trie", "kenlm_trie")):
        file = folder / f"kenlm.{kind}"
        command = [asked.build_binary, "-T", str(folder), kind, str(arpa), str(file)]
        subprocess.run(command, check=True, capture_output=True)
        found[name] = kenlm.Model(str(file))
    return found


def table(record: dict[str, Any]) -> str:
    """The rows as Markdown tables."""
    rows = record["rows"]
    lines = [
        f"{measured(record['environment'])}. Processor seconds on one thread (`lmplz`: of all its threads), medians.",
        "",
        "| text | words | n-grams | perplexity of dlkit | of `lmplz -o 5` | memory | bytes an n-gram "
        "| KenLM's hash | its trie |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]

    def megabytes(value: float | None) -> str:
        return f"{value / 1e6:,.0f} MB" if value else ""

    for row in rows:
        grams = sum(row["sizes"])
        other = f"{row['lmplz_perplexity']:.2f}" if "lmplz_perplexity" in row else ""
        lines.append(
            f"| {row['title']} | {row['tokens']:,} | {grams:,} | **{row['perplexity']:.2f}** | {other} "
            f"| {megabytes(row['model_bytes'])} | {row['model_bytes'] / grams:.1f} "
            f"| {megabytes(row.get('kenlm.probing_bytes'))} | {megabytes(row.get('kenlm.trie_bytes'))} |"
        )
    lines += [
        "",
        "| text | counting | estimation | writing ARPA | all three | `lmplz` | × | scoring, ns a word "
        "| KenLM's hash | × | its trie | × |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        seconds = row["seconds"]
        whole = seconds["count"] + seconds["estimate"] + seconds["write"]
        cells = [f"{seconds[name]:.2f} s" for name in ("count", "estimate", "write")] + [f"{whole:.2f} s"]
        cells += (
            [f"{seconds['lmplz']:.2f} s", f"{seconds['lmplz'] / whole:.2f}"]
            if "lmplz" in seconds
            else ["", ""]
        )
        cells.append(f"{1e9 * seconds['score'] / row['words']:.0f}")
        for name in ("kenlm", "kenlm_trie"):
            there = name in seconds
            cells.append(f"{1e9 * seconds[name] / row['words']:.0f}" if there else "")
            cells.append(f"{seconds[name] / seconds['score']:.2f}" if there else "")
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def sweep(data: str, folder: Path) -> dict[str, Any]:
    """The recipe's perplexities of a text, and the best k of add-k."""
    metrics = (
        get("ngram").run(data=data, run_dir=folder / "run", sweep=True, arpa=False, progress=False).metrics
    )
    return {"data": data, "title": TITLES[data], "sweep": metrics["sweep"]}


def sweep_table(record: dict[str, Any]) -> str:
    """Perplexities, a line for each text and smoothing, a column for each order."""
    lines = [
        f"{measured(record['environment'])}.",
        "",
        "| text | smoothing | " + " | ".join(f"order {n}" for n in range(1, ORDER + 1)) + " |",
        "| --- | --- |" + " ---: |" * ORDER,
    ]
    for row in record["rows"]:
        for smoothing in reversed(SMOOTHINGS):
            found = {each["order"]: each for each in row["sweep"] if each["smoothing"] == smoothing}
            cells = []
            for n in range(1, ORDER + 1):
                value, k = found[n]["test_perplexity"], found[n]["k"]
                shown = f"{value:,.1f}" if value is not None and math.isfinite(value) else "∞"
                cells.append(shown + (f" (k = {k:g})" if k is not None else ""))
            lines.append(f"| {row['title']} | {smoothing} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=",".join(TITLES), help="texts (default: all)")
    parser.add_argument("--lmplz", help="KenLM's lmplz")
    parser.add_argument("--build-binary", help="KenLM's build_binary")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of counting (default: 3)")
    parser.add_argument("--sweep", action="store_true", help="every smoothing at every order instead")
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    asked = parser.parse_args()
    names = asked.data.split(",")
    if unknown := sorted(set(names) - set(TITLES)):
        parser.error(f"--data: unknown {', '.join(unknown)}; known: {', '.join(TITLES)}")
    kernels.set_num_threads(1)
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="dlkit-ngram-") as temporary:
            folder = Path(temporary)
            try:
                rows.append(sweep(name, folder) if asked.sweep else measure(name, asked, folder))
            except DataError as error:
                raise SystemExit(f"compare-ngram: {error}") from error
    described = environment()
    described["command"] = "make compare-ngram"
    record = {"benchmark": "ngram", "environment": described, "rows": rows}
    show = sweep_table if asked.sweep else table
    if not asked.dry_run:
        file = RESULTS / ("ngram-sweep.json" if asked.sweep else "ngram.json")
        record["rows"] = with_earlier(rows, file, "data", TITLES)
        write_results(file, record)
        put_between_markers(PAGE, "sweep-ngram" if asked.sweep else "compare-ngram", show(record))
    print(show(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
