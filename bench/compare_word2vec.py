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

``--quality`` trains dlkit and gensim on the whole text for 5 epochs with 100 dimensions and three seeds instead:
analogies and similarities, into ``bench/results/word2vec-quality.json``. ``--trainers gensim`` and ``--modes`` do a
part of it, and keep the rest of what that file holds. gensim's part takes about half an hour. ``--engine`` measures the
rungs of dlkit's engine, with what their vectors are worth.
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
import numpy as np
from gensim.models import KeyedVectors as TheirVectors
from gensim.models import Word2Vec as Theirs
from pages import RESULTS, ROOT, measured, positive, put_between_markers, write_results

import dlkit as dl
from dlkit.data.fetch import data_folder
from dlkit.data.text_file import read_bytes
from dlkit.data.wikipedia import text8_path
from dlkit.models.word2vec_trainer import Word2VecTrainer
from dlkit.train.environment import environment

PAGE = ROOT / "docs" / "word2vec.md"
#: A table of its own for an instruction set that was asked for.
_ISA = f"-{os.environ['DLKIT_ISA']}" if os.environ.get("DLKIT_ISA") else ""
SPEED = RESULTS / f"word2vec{_ISA}.json"
WHOLE = RESULTS / f"word2vec-whole{_ISA}.json"
ENGINE = RESULTS / "word2vec-engine.json"
SENTENCE = 10000
MODES = {
    "skip-gram, negative sampling": {"sg": 1},
    "CBOW, negative sampling": {"sg": 0},
    "skip-gram, hierarchical softmax": {"sg": 1, "hs": 1, "negative": 0},
    "CBOW, hierarchical softmax": {"sg": 0, "hs": 1, "negative": 0},
}
WINDOW, MIN_COUNT, NEGATIVE, SAMPLE = 5, 5, 5, 1e-4
SETTINGS = {"window": WINDOW, "min_count": MIN_COUNT, "sample": SAMPLE}
TITLES = {"dlkit": "dlkit", "gensim": "gensim", "word2vec": "word2vec.c", "fasttext": "fastText"}
SEEDS = (1, 2, 3)


def text(words: int | None, folder: Path) -> Path:
    """The text, a sentence of 10,000 words a line."""
    found = read_bytes(text8_path(), 1 << 30).split()[:words]
    lines = [b" ".join(found[i : i + SENTENCE]) for i in range(0, len(found), SENTENCE)]
    file = folder / "text.txt"
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


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


def train_dlkit(
    file: Path, mode: dict[str, Any], workers: int, dim: int, seed: int = 1, epochs: int = 1
) -> tuple[float, Any]:
    """Seconds of training, and the vectors."""
    model = dl.Word2Vec(**SETTINGS, **mode, vector_size=dim, workers=workers, seed=seed, epochs=epochs)
    model.build_vocab(file)
    return sum(report.seconds for report in model.train()), model.wv


def train_gensim(
    file: Path, mode: dict[str, Any], workers: int, dim: int, seed: int = 1, epochs: int = 1
) -> tuple[float, Any]:
    """The same of gensim."""
    model = Theirs(**SETTINGS, **mode, vector_size=dim, workers=workers, seed=seed, epochs=epochs)
    model.build_vocab(corpus_file=str(file))
    start = time.perf_counter()
    model.train(
        corpus_file=str(file),
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=epochs,
    )
    return time.perf_counter() - start, model.wv


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
    described = {**_described(), "gensim": gensim.__version__}
    record = {
        "benchmark": "word2vec",
        "words": words,
        "environment": described,
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


def _described() -> dict[str, Any]:
    """The environment; files of this machine by their names alone."""
    found = environment()
    return {
        **found,
        "command": [part.rpartition("/")[2] if part[:1] == "/" else part for part in found["command"]],
    }


def _row(name: str, dim: int | None, workers: int, rates_of: dict[str, list[float]]) -> dict[str, Any]:
    medians = {n: statistics.median(each) for n, each in rates_of.items()}
    shown = ", ".join(f"{n} {rate:,.0f}" for n, rate in medians.items())
    print(f"{name}, {dim}, {workers}: {shown} words/s", file=sys.stderr, flush=True)
    rounds = len(next(iter(rates_of.values())))
    row = {"name": name, "dim": dim, "workers": workers, "rounds": rounds, "time": environment()["time"]}
    return {**row, **medians}


def quality(workers: int, chosen: list[str], modes: list[str], results: Path) -> dict[str, Any]:
    """Train on the whole text, with three seeds, and ask all the same questions, by gensim's functions."""
    root = data_folder()
    if root is None:
        raise SystemExit("compare_word2vec: DLKIT_DATA is not set: there are no analogies to ask")
    described = {**_described(), "gensim": gensim.__version__}
    record: dict[str, Any] = {
        "benchmark": "word2vec-quality",
        "workers": workers,
        "environment": described,
        "rows": [],
    }
    if results.is_file():
        kept = json.loads(results.read_text(encoding="utf-8"))["rows"]
        record["rows"] = [row for row in kept if row["trainer"] not in chosen or row["name"] not in modes]
    with tempfile.TemporaryDirectory() as folder:
        file = text(None, Path(folder))
        questions = Path(folder) / "questions.txt"
        questions.write_bytes(read_bytes(root / "analogy" / "questions-words.txt.xz", 1 << 24))
        for name in modes:
            for seed in SEEDS:
                for trainer in chosen:
                    train = train_dlkit if trainer == "dlkit" else train_gensim
                    seconds, vectors = train(file, MODES[name], workers, 100, seed, 5)
                    if trainer == "dlkit":
                        ours, vectors = vectors, TheirVectors(100)
                        vectors.add_vectors(ours.index_to_key, ours.vectors)
                    share, _ = vectors.evaluate_word_analogies(str(questions), restrict_vocab=30000)
                    pairs = {
                        pair: float(vectors.evaluate_word_pairs(str(root / "analogy" / file_name))[1][0])
                        for pair, file_name in (
                            ("wordsim353", "wordsim353.tsv"),
                            ("simlex999", "simlex999.txt"),
                        )
                    }
                    row = {"name": name, "trainer": trainer, "seed": seed, "analogies": float(share)}
                    record["rows"].append({**row, **pairs, "seconds": seconds})
                    print(record["rows"][-1], file=sys.stderr, flush=True)
    return record


# The engine's ladder: each has what the one before has, but where it says so.
RUNGS: dict[str, dict[str, Any]] = {
    "naive": {"variant": "naive", "prefetch": False, "hot_rows": 0},
    "exp_table": {"variant": "exp_table", "prefetch": False, "hot_rows": 0},
    "registers": {"variant": "registers", "prefetch": False, "hot_rows": 0},
    "matrix": {"variant": "matrix", "prefetch": False, "hot_rows": 0},
    "matrix, rows fetched ahead": {"hot_rows": 0},
    "the same, the window's rows kept": {"hot_rows": 0, "reuse_window": True},
    "fetched ahead, two words share negatives": {"hot_rows": 0, "shared_negatives": 2},
    "fetched ahead, three words share negatives": {"hot_rows": 0, "shared_negatives": 3},
    "fetched ahead, four words share negatives": {"hot_rows": 0, "shared_negatives": 4},
    "fetched ahead, 64 hot rows a worker": {"hot_rows": 64},
}


def _trainer(corpus: Any, mode: dict[str, Any], **options: Any) -> Word2VecTrainer:
    return Word2VecTrainer(
        corpus.counts.tolist(),
        **{"sg": bool(mode["sg"]), "hs": bool(mode.get("hs")), "negative": mode.get("negative", NEGATIVE)},
        **{"sample": SAMPLE, "window": WINDOW, **options},
    )


def engine(
    workers: list[int], dims: list[int], words: int, epochs: int, rungs: list[str] | None
) -> dict[str, Any]:
    """Train with each rung of the engine: nanoseconds of a kept word, the loss, and WordSim-353.

    Or with some rungs, beside what was measured of the others before.
    """
    root = data_folder()
    if root is None:
        raise SystemExit("compare_word2vec: DLKIT_DATA is not set: there are no similarities to ask")
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        dl.data.WordCorpus.build(text(words, Path(folder)), MIN_COUNT) as corpus,
    ):
        for rung in rungs or RUNGS:
            options = RUNGS[rung]
            for count in workers:
                if count == 1 and options["hot_rows"]:
                    continue  # one worker has no copies
                for name, mode in MODES.items():
                    if "hs" in mode and "shared_negatives" in options:
                        continue  # which has none
                    trainer = _trainer(corpus, mode, **{"shared_negatives": 1, **options})
                    reports, nanoseconds = _processor_time(trainer, corpus, epochs, count)
                    vectors = TheirVectors(100)
                    vectors.add_vectors(corpus.words, trainer.vectors.copy())
                    pairs = vectors.evaluate_word_pairs(str(root / "analogy" / "wordsim353.tsv"))
                    row = {"rung": rung, "workers": count, "name": name, "loss": reports[-1].loss}
                    row["nanoseconds"] = nanoseconds
                    rows.append({**row, "wordsim353": float(pairs[1][0])})
                    print(rows[-1], file=sys.stderr, flush=True)
        bounds = [_bound(corpus, name, dim, epochs) for dim in dims for name in MODES]
        vocabulary = len(corpus.words)
    if rungs:
        earlier = json.loads(ENGINE.read_text(encoding="utf-8"))
        if (earlier["words"], earlier["epochs"]) != (words, epochs):
            raise SystemExit(
                f"compare_word2vec: earlier rungs are of {earlier['words']} words and {earlier['epochs']} epochs; "
                f"expected these of as many"
            )
        rows += [row for row in earlier["rows"] if row["rung"] not in rungs]
    return {
        "benchmark": "word2vec-engine",
        "words": words,
        "epochs": epochs,
        "environment": _described(),
        "ceilings": {
            "peak": dl.kernels.measure_peak(1),
            "second_level": _in_place(1 << 19),
            "third_level": _in_place(vocabulary * 448),
        },
        "rows": rows,
        "bounds": bounds,
    }


def _in_place(size: int) -> float:
    """Bytes a second of an array of so many bytes that is changed in place: each is read and written."""
    numbers = np.ones(size // 4, np.float32)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(1 + (1 << 27) // size):
            np.multiply(numbers, np.float32(1), out=numbers)
        taken.append((time.perf_counter() - start) / (1 + (1 << 27) // size))
    return 2 * size / statistics.median(taken)


def _bound(corpus: Any, name: str, dim: int, epochs: int) -> dict[str, Any]:
    """What a word that is kept costs one worker: operations, bytes from beyond the first-level cache, and time."""
    mode = MODES[name]
    trainer = _trainer(corpus, mode, vector_size=dim)
    share = corpus.counts / corpus.counts.sum()
    kept = share * np.minimum(np.sqrt(SAMPLE / share) + SAMPLE / share, 1)
    outputs = 1.0 + NEGATIVE
    near = 1.0 + NEGATIVE / (1 if mode["sg"] else 3)  # three words of CBOW share negatives
    if mode.get("hs"):
        paths = [trainer.path(word)[0] for word in range(len(kept))]
        outputs = float(np.average([len(path) for path in paths], weights=kept))
        # The 32 nodes of the most words are in the first-level cache.
        hot = len(kept) - 1 - 32
        near = float(np.average([sum(node < hot for node in path) for path in paths], weights=kept))
    inputs = WINDOW + 1.0
    flops = 6 * inputs * outputs * dim if mode["sg"] else (6 * outputs + 3 * inputs) * dim
    _, nanoseconds = _processor_time(trainer, corpus, epochs, 1)
    return {
        "name": name,
        "dim": dim,
        "pairs": inputs * outputs if mode["sg"] else outputs,
        "flops": flops,
        # An input enters the window and leaves it; outputs come and go; rows are whole cache lines.
        "bytes": 2 * (1 + near) * (-(-dim // 16) * 64),
        "nanoseconds": nanoseconds,
    }


def _processor_time(trainer: Word2VecTrainer, corpus: Any, epochs: int, workers: int) -> tuple[Any, float]:
    """The reports, and nanoseconds of all workers' processor time for a word that was kept, the median of epochs."""
    clock = [time.process_time()]
    reports = trainer.fit(
        corpus, epochs=epochs, workers=workers, after_epoch=lambda _: clock.append(time.process_time())
    )
    taken = [1e9 * (clock[i + 1] - clock[i]) / report.kept for i, report in enumerate(reports)]
    return reports, statistics.median(taken)


def bound_table(record: dict[str, Any]) -> str:
    """The costs of a word as Markdown."""
    ceilings = record["ceilings"]
    lines = [
        f"Processor time of one worker, {record['words']:,} words of text8; FMA peak "
        f"{ceilings['peak'] / 1e9:.0f} GFLOP/s; an array that is changed in place, read and written: "
        f"{ceilings['second_level'] / 1e9:.0f} GB/s in the second-level cache, "
        f"{ceilings['third_level'] / 1e9:.0f} GB/s where it is as large as a matrix of 100 dimensions; "
        f"{measured(record['environment'])}; `python bench/compare_word2vec.py --engine`",
        "",
        "| a word that is kept | dimensions | pairs | FLOPs a pair | bytes a pair | ns | GFLOP/s | of the peak "
        "| GB/s | of the third level |",
        f"| --- |{' ---: |' * 9}",
    ]
    for row in record["bounds"]:
        flops, rate = row["flops"] / row["nanoseconds"], row["bytes"] / row["nanoseconds"]
        lines.append(
            f"| {row['name']} | {row['dim']} | {row['pairs']:.1f} | {row['flops'] / row['pairs']:,.0f} "
            f"| {row['bytes'] / row['pairs']:,.0f} | {row['nanoseconds']:,.0f} | {flops:.1f} "
            f"| {1e9 * flops / ceilings['peak']:.0%} | {rate:.1f} | {1e9 * rate / ceilings['third_level']:.0%} |"
        )
    return "\n".join(lines)


def engine_table(record: dict[str, Any]) -> str:
    """The report on the engine's ladder as Markdown."""
    lines = [
        "Nanoseconds of processor time, of all workers together, for a word that subsampling keeps; in parentheses the "
        "loss of the last epoch and WordSim-353; "
        f"{record['words']:,} words of text8, {record['epochs']} epochs, 100 dimensions; "
        f"{measured(record['environment'])}; `python bench/compare_word2vec.py --engine`",
        "",
        f"| engine | workers | {' | '.join(MODES)} |",
        f"| --- | ---: |{' ---: |' * len(MODES)}",
    ]
    found = {(row["rung"], row["workers"], row["name"]): row for row in record["rows"]}
    for rung in RUNGS:
        for count in sorted({row["workers"] for row in record["rows"]}):
            rows = [found.get((rung, count, name)) for name in MODES]
            cells = [
                f"{row['nanoseconds']:,.0f} ({row['loss']:.3f}, {row['wordsim353']:.3f})" if row else ""
                for row in rows
            ]
            if any(cells):
                lines.append(f"| {rung} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


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


def quality_table(record: dict[str, Any]) -> str:
    """The report on quality as Markdown: means over the seeds, and their standard errors."""
    where = record["environment"]
    lines = [
        f"text8, 100 dimensions, 5 epochs, means of three seeds ± standard errors; {measured(where)}, "
        f"gensim {where['gensim']}; `python bench/compare_word2vec.py --quality --workers {record['workers']}`",
        "",
        "| model | trained by | analogies | WordSim-353 | SimLex-999 |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name in MODES:
        for trainer in ("dlkit", "gensim"):
            rows = [row for row in record["rows"] if row["name"] == name and row["trainer"] == trainer]
            if len(rows) < 2:
                continue
            cells = []
            for key, digits in (("analogies", 1), ("wordsim353", 3), ("simlex999", 3)):
                values = [100 * row[key] if key == "analogies" else row[key] for row in rows]
                spread = statistics.stdev(values) / len(values) ** 0.5
                unit = " %" if key == "analogies" else ""
                cells.append(f"{statistics.fmean(values):.{digits}f}{unit} ± {spread:.{digits}f}")
            lines.append(f"| {name} | {trainer} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _numbers(given: str) -> list[int]:
    return [positive(each) for each in given.split(",")]


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
    parser.add_argument("--workers", type=_numbers, default=[1, 2], help="numbers of threads (default: 1,2)")
    parser.add_argument("--dims", type=_numbers, default=[100, 300], help="(default: 100,300)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--words", type=positive, default=2_000_000, help="of the text (default: 2,000,000)")
    length.add_argument("--whole", action="store_true", help="all words of the text, in a table of their own")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--quality", action="store_true", help="whole trainings, and what they are good for")
    parser.add_argument("--engine", action="store_true", help="the rungs of dlkit's engine alone")
    parser.add_argument(
        "--rungs",
        nargs="+",
        choices=RUNGS,
        help="of --engine: only these, beside what was measured of the others",
    )
    parser.add_argument("--epochs", type=positive, default=3, help="of --engine (default: 3)")
    parser.add_argument("--trainers", default="dlkit,gensim", help="of --quality (default: dlkit,gensim)")
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, help="only these; of speed, among what was measured alike before"
    )
    parser.add_argument("--results", type=Path, help="of --quality: another file, and no page")
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    asked = parser.parse_args()
    if asked.quality:
        results = asked.results or RESULTS / "word2vec-quality.json"
        record = quality(asked.workers[0], asked.trainers.split(","), asked.modes or list(MODES), results)
        name, show = "word2vec-quality", quality_table
    elif asked.engine:
        record = engine(asked.workers, asked.dims, asked.words, asked.epochs, asked.rungs)
        results, name, show = ENGINE, "word2vec-engine", engine_table
    else:
        measure = trainers(asked.word2vec, asked.fasttext)
        words = None if asked.whole else asked.words
        record = speed(measure, asked.workers, asked.dims, asked.modes, words, asked.rounds)
        results, name, show = (
            (WHOLE, f"word2vec-whole{_ISA}", table)
            if asked.whole
            else (SPEED, f"word2vec-speed{_ISA}", table)
        )
    if not asked.dry_run:
        write_results(results, record)
        if asked.results is None:
            put_between_markers(PAGE, name, show(record))
        if asked.engine:
            put_between_markers(PAGE, "word2vec-bound", bound_table(record))
    print(show(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
