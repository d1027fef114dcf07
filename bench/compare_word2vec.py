"""Training word vectors: dlkit beside gensim, the original C program and fastText, in one run, alternating.

    python bench/compare_word2vec.py [--word2vec PATH] [--fasttext PATH] [--workers 1,2] [--dims 100,300]
        [--words 2000000 | --whole] [--rounds 3] [--dry-run]

Raw words of the text a second, of the training phase alone, on the first words of text8 (``DLKIT_DATA``): skip-gram
and CBOW, each with 5 negatives and with hierarchical softmax, a window of 5, subsampling at 1e-4, words that occur 5
times; and the building of the vocabulary. gensim reads the text by ``corpus_file``, its fastest way, cut into sentences
of 10,000 words as all take them. dlkit and gensim tell when training begins; of the two programs a run that does all
but train (``word2vec`` on a text of 100 bytes with the vocabulary of the whole, ``fasttext`` with 0 epochs) is timed
beside the whole one, and the difference counts. The report goes into ``bench/results/word2vec.json`` and, as a table,
into ``docs/word2vec.md``; with ``--whole``, all words of the text, as ``word2vec-whole.json`` and another table. With
``DLKIT_ISA=avx2`` names and tables are others again (``word2vec-whole-avx2``). ``--modes`` measures some rows and keeps
what was measured of others before.

gensim comes with ``pip install '.[compare]'``. The programs are built from their own sources, and left out where no
path is given::

    git clone https://github.com/tmikolov/word2vec     # cc -O3 -march=native -pthread word2vec.c -o word2vec -lm
    git clone https://github.com/facebookresearch/fastText     # make

fastText is asked for words alone (``-maxn 0``): with its pieces of words it is another model, and slower.

What the vectors are worth is the matter of ``word2vec_quality.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gensim
from gensim.models import Word2Vec as Theirs
from pages import RESULTS, measured, positive, put_between_markers, write_results
from text8_training import (
    MIN_COUNT,
    MODES,
    NEGATIVE,
    PAGE,
    SAMPLE,
    SETTINGS,
    WINDOW,
    described,
    numbers,
    text,
    train_dlkit,
    train_gensim,
)

import dlkit as dl
from dlkit.train.environment import environment

#: A table of its own for an instruction set that was asked for.
_ISA = f"-{os.environ['DLKIT_ISA']}" if os.environ.get("DLKIT_ISA") else ""
SPEED = RESULTS / f"word2vec{_ISA}.json"
WHOLE = RESULTS / f"word2vec-whole{_ISA}.json"
TITLES = {"dlkit": "dlkit", "gensim": "gensim", "word2vec": "word2vec.c", "fasttext": "fastText"}


def vocabularies(file: Path, workers: int) -> dict[str, float]:
    """Seconds of counting the words."""
    start = time.perf_counter()
    with dl.data.WordCorpus.build(file, MIN_COUNT, workers=workers) as corpus:
        # Counting alone is a part of this: the text is encoded, too.
        ours = len(corpus.words)
    middle = time.perf_counter()
    model = Theirs(**SETTINGS)
    model.build_vocab(corpus_file=str(file))
    end = time.perf_counter()
    assert ours == len(model.wv)
    return {"dlkit": middle - start, "gensim": end - middle}


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def train_word2vec(program: str, file: Path, mode: dict[str, Any], workers: int, dim: int) -> float:
    """Seconds of an epoch of the original program, without its vocabulary and the table that negatives come from."""
    vocabulary, start = file.with_suffix(".vocab"), file.with_suffix(".start")
    subprocess.run(
        [
            program,
            "-train",
            str(file),
            "-save-vocab",
            str(vocabulary),
            "-min-count",
            str(MIN_COUNT),
            "-debug",
            "0",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    start.write_bytes(file.read_bytes()[:100])
    settings = {
        "-read-vocab": vocabulary,
        "-output": file.with_suffix(".bin"),
        "-binary": 1,
        "-cbow": 1 - mode["sg"],
        "-hs": mode.get("hs", 0),
        "-negative": mode.get("negative", NEGATIVE),
        "-size": dim,
        "-window": WINDOW,
        "-sample": SAMPLE,
        "-threads": workers,
        "-iter": 1,
        "-debug": 0,
    }
    command = [program, *(str(each) for pair in settings.items() for each in pair)]
    before = _timed([*command, "-train", str(start)])
    return _timed([*command, "-train", str(file)]) - before


def train_fasttext(program: str, file: Path, mode: dict[str, Any], workers: int, dim: int) -> float:
    """Seconds of an epoch of fastText on whole words."""
    settings = {
        "-input": file,
        "-output": file.with_suffix(".fasttext"),
        "-loss": "hs" if mode.get("hs") else "ns",
        "-neg": NEGATIVE,
        "-dim": dim,
        "-ws": WINDOW,
        "-t": SAMPLE,
        "-minCount": MIN_COUNT,
        "-maxn": 0,
        "-thread": workers,
        "-verbose": 0,
    }
    command = [program, "skipgram" if mode["sg"] else "cbow"]
    command += [str(each) for pair in settings.items() for each in pair]
    vocabulary = _timed([*command, "-epoch", "0"])
    return _timed([*command, "-epoch", "1"]) - vocabulary


def trainers(word2vec: str | None, fasttext: str | None) -> dict[str, Callable[..., float]]:
    """What is measured: each takes the file, a mode, the workers and the dimensions, and returns seconds."""
    found: dict[str, Callable[..., float]] = {
        "dlkit": lambda *given: train_dlkit(*given)[0],
        "gensim": lambda *given: train_gensim(*given)[0],
    }
    if word2vec:
        found["word2vec"] = lambda *given: train_word2vec(word2vec, *given)
    if fasttext:
        found["fasttext"] = lambda *given: train_fasttext(fasttext, *given)
    return found


def speed(
    measure: dict[str, Callable[..., float]],
    workers: list[int],
    dims: list[int],
    modes: list[str] | None,
    asked: int | None,
    rounds: int,
) -> dict[str, Any]:
    """Measure, alternating: all, vocabularies too, or some modes beside what was measured of the others before.

    On the first words that are asked for; None: on all.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = text(asked, Path(folder))
        content = file.read_bytes()  # each word with a space or an end of line behind it
        words = content.count(b" ") + content.count(b"\n")
        del content
        for count in workers:
            dl.set_num_threads(count)
            if modes is None:
                counted = [vocabularies(file, count) for _ in range(rounds)]
                rates = {n: [words / e[n] for e in counted] for n in ("dlkit", "gensim")}
                rows.append(_row("vocabulary", None, count, rates))
            for dim in dims:
                for name in modes or MODES:
                    found: dict[str, list[float]] = {trainer: [] for trainer in measure}
                    for _ in range(rounds):
                        for trainer, seconds in measure.items():
                            found[trainer].append(words / seconds(file, MODES[name], count, dim))
                    rows.append(_row(name, dim, count, found))
    where = {**described(), "gensim": gensim.__version__}
    record = {
        "benchmark": "word2vec",
        "words": words,
        "environment": where,
        "rows": rows,
    }
    return record if modes is None else _among_earlier(record, WHOLE if asked is None else SPEED)


def _among_earlier(record: dict[str, Any], file: Path) -> dict[str, Any]:
    """Put rows among those that were measured alike before."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        mode = list(MODES).index(row["name"]) if row["name"] in MODES else -1
        return row["workers"], row["dim"] or 0, mode

    earlier = json.loads(file.read_text(encoding="utf-8"))
    alike = [
        [found["words"], found["environment"]["cpu"], found["environment"]["kernels"]["isa"]]
        for found in (record, earlier)
    ]
    if alike[0] != alike[1]:
        raise SystemExit(
            f"compare_word2vec: earlier rows are of {alike[1]}, these of {alike[0]}; expected the same"
        )
    rows = {key(row): {"rounds": earlier.get("rounds"), **row} for row in earlier["rows"]}
    rows |= {key(row): row for row in record["rows"]}
    return {**record, "rows": [rows[each] for each in sorted(rows)]}


def _row(name: str, dim: int | None, workers: int, rates_of: dict[str, list[float]]) -> dict[str, Any]:
    medians = {n: statistics.median(each) for n, each in rates_of.items()}
    shown = ", ".join(f"{n} {rate:,.0f}" for n, rate in medians.items())
    print(f"{name}, {dim}, {workers}: {shown} words/s", file=sys.stderr, flush=True)
    rounds = len(next(iter(rates_of.values())))
    row = {"name": name, "dim": dim, "workers": workers, "rounds": rounds, "time": environment()["time"]}
    return {**row, **medians}


def table(record: dict[str, Any]) -> str:
    """The report as Markdown."""
    where = record["environment"]
    names = [each for each in TITLES if any(each in row for row in record["rows"])]
    others = [each for each in names if each not in ("dlkit", "gensim")]
    heads = [TITLES[each] for each in names] + ["× gensim"] + ["× the faster other"] * bool(others)
    length = " --whole" if "--whole" in where["command"] else f" --words {record['words']}"
    lines = [
        f"Thousand words a second, medians of alternating rounds on {record['words']:,} words of text8; "
        f"{measured(where)}, gensim {where['gensim']}; "
        f"`{_ISA.replace('-', 'DLKIT_ISA=') + ' ' * bool(_ISA)}python bench/compare_word2vec.py{length}`",
        "",
        f"| window 5, 5 negatives, sample 1e-4 | dimensions | workers | rounds | {' | '.join(heads)} |",
        f"| --- | ---: | ---: | ---: |{' ---: |' * len(heads)}",
    ]
    for row in record["rows"]:
        cells = [f"{row[each] / 1e3:,.0f}" if each in row else "" for each in names]
        cells.append(f"{row['dlkit'] / row['gensim']:.1f}")
        if others:
            rates = [row[each] for each in others if each in row]
            cells.append(f"{row['dlkit'] / max(rates):.1f}" if rates else "")
        rounds = row.get("rounds", record.get("rounds"))
        lines.append(
            f"| {row['name']} | {row['dim'] or ''} | {row['workers']} | {rounds} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def _program(text: str) -> str:
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no program; expected the path of one that is built from its source (see above)"
        )
    return found


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--word2vec", type=_program, help="the original program, built from its source")
    parser.add_argument("--fasttext", type=_program, help="fastText, built from its source")
    parser.add_argument("--workers", type=numbers, default=[1, 2], help="numbers of threads (default: 1,2)")
    parser.add_argument("--dims", type=numbers, default=[100, 300], help="(default: 100,300)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--words", type=positive, default=2_000_000, help="of the text (default: 2,000,000)")
    length.add_argument("--whole", action="store_true", help="all words of the text, in a table of their own")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, help="only these, among what was measured alike before"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    asked = parser.parse_args()
    measure = trainers(asked.word2vec, asked.fasttext)
    words = None if asked.whole else asked.words
    record = speed(measure, asked.workers, asked.dims, asked.modes, words, asked.rounds)
    if not asked.dry_run:
        write_results(WHOLE if asked.whole else SPEED, record)
        put_between_markers(PAGE, f"word2vec-{'whole' if asked.whole else 'speed'}{_ISA}", table(record))
    print(table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
