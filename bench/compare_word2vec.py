"""Training word vectors: dlkit beside gensim, in one process, alternating.

    python bench/compare_word2vec.py [--workers 1,2] [--words 3000000] [--rounds 3] [--dry-run]

Words a second of the training loop, raw words counted, on the first words of text8 (``DLKIT_DATA``): skip-gram and
CBOW, each with 5 negatives and with hierarchical softmax, 100 dimensions, a window of 5, subsampling at 1e-4, words
that occur 5 times; and the building of the vocabulary. gensim reads the text by ``corpus_file``, its fastest way, cut
into sentences of 10,000 words as both take them. The report goes into ``bench/results/word2vec.json`` and, as a table,
into ``docs/word2vec.md``.

``--quality`` trains both on the whole text for 5 epochs, with three seeds, instead: analogies and similarities, into
``bench/results/word2vec-quality.json``. That takes about half an hour.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gensim
from gensim.models import KeyedVectors as TheirVectors
from gensim.models import Word2Vec as Theirs
from pages import RESULTS, ROOT, measured, put_between_markers, write_results

import dlkit as dl
from dlkit.data.fetch import data_folder
from dlkit.data.text_file import read_bytes
from dlkit.data.wikipedia import text8_path
from dlkit.train.environment import environment

PAGE = ROOT / "docs" / "word2vec.md"
SENTENCE = 10000
MODES = {
    "skip-gram, negative sampling": {"sg": 1},
    "CBOW, negative sampling": {"sg": 0},
    "skip-gram, hierarchical softmax": {"sg": 1, "hs": 1, "negative": 0},
    "CBOW, hierarchical softmax": {"sg": 0, "hs": 1, "negative": 0},
}
SETTINGS = {"vector_size": 100, "window": 5, "min_count": 5, "sample": 1e-4}


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
    with dl.data.WordCorpus.build(file, 5, workers=workers) as corpus:
        # Counting alone is a part of this: the text is encoded, too.
        ours = len(corpus.words)
    middle = time.perf_counter()
    model = Theirs(**SETTINGS)
    model.build_vocab(corpus_file=str(file))
    end = time.perf_counter()
    assert ours == len(model.wv)
    return {"dlkit": middle - start, "gensim": end - middle}


def rates(file: Path, mode: dict[str, Any], workers: int, seed: int = 1, epochs: int = 1) -> dict[str, Any]:
    """Words a second of both, and their vectors."""
    ours = dl.Word2Vec(**SETTINGS, **mode, workers=workers, seed=seed, epochs=epochs)
    ours.build_vocab(file)
    reports = ours.train()
    theirs = Theirs(**SETTINGS, **mode, workers=workers, seed=seed, epochs=epochs)
    theirs.build_vocab(corpus_file=str(file))
    start = time.perf_counter()
    theirs.train(
        corpus_file=str(file),
        total_examples=theirs.corpus_count,
        total_words=theirs.corpus_total_words,
        epochs=epochs,
    )
    seconds = time.perf_counter() - start
    # Both count the raw words of the text: ours reports those that the vocabulary has.
    total = theirs.corpus_total_words * epochs
    return {
        "dlkit": total / sum(report.seconds for report in reports),
        "gensim": total / seconds,
        "vectors": {"dlkit": ours.wv, "gensim": theirs.wv},
    }


def speed(workers: list[int], words: int, rounds: int) -> dict[str, Any]:
    """Measure both, alternating."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = text(words, Path(folder))
        for count in workers:
            dl.set_num_threads(count)
            counted = [vocabularies(file, count) for _ in range(rounds)]
            rows.append(
                _row("vocabulary", count, {n: [words / e[n] for e in counted] for n in ("dlkit", "gensim")})
            )
            for name, mode in MODES.items():
                found = [rates(file, mode, count) for _ in range(rounds)]
                rows.append(_row(name, count, {n: [each[n] for each in found] for n in ("dlkit", "gensim")}))
    described = {**environment(), "gensim": gensim.__version__}
    return {"benchmark": "word2vec", "words": words, "rounds": rounds, "environment": described, "rows": rows}


def _row(name: str, workers: int, rates_of: dict[str, list[float]]) -> dict[str, Any]:
    row = {"name": name, "workers": workers, **{n: statistics.median(each) for n, each in rates_of.items()}}
    print(
        f"{name}, {workers}: {row['dlkit']:,.0f} and {row['gensim']:,.0f} words/s",
        file=sys.stderr,
        flush=True,
    )
    return row


def quality(workers: int) -> dict[str, Any]:
    """Train on the whole text, with three seeds, and ask both the same questions, by gensim's functions."""
    root = data_folder()
    if root is None:
        raise SystemExit("compare_word2vec: DLKIT_DATA is not set: there are no analogies to ask")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = text(None, Path(folder))
        questions = Path(folder) / "questions.txt"
        questions.write_bytes(read_bytes(root / "analogy" / "questions-words.txt.xz", 1 << 24))
        for name, mode in MODES.items():
            for seed in (1, 2, 3):
                found = rates(file, mode, workers, seed, 5)["vectors"]
                for trainer, vectors in found.items():
                    if trainer == "dlkit":
                        kept = TheirVectors(vectors.vector_size)
                        kept.add_vectors(vectors.index_to_key, vectors.vectors)
                        vectors = kept
                    share, _ = vectors.evaluate_word_analogies(str(questions), restrict_vocab=30000)
                    pairs = {
                        pair: vectors.evaluate_word_pairs(str(root / "analogy" / file_name))[1][0]
                        for pair, file_name in (
                            ("wordsim353", "wordsim353.tsv"),
                            ("simlex999", "simlex999.txt"),
                        )
                    }
                    rows.append(
                        {"name": name, "trainer": trainer, "seed": seed, "analogies": float(share)}
                        | {pair: float(value) for pair, value in pairs.items()}
                    )
                    print(rows[-1], file=sys.stderr, flush=True)
    described = {**environment(), "gensim": gensim.__version__}
    return {"benchmark": "word2vec-quality", "workers": workers, "environment": described, "rows": rows}


def table(record: dict[str, Any]) -> str:
    """The report as Markdown."""
    where = record["environment"]
    lines = [
        f"Thousand words a second, medians of {record['rounds']} alternating rounds on {record['words']:,} words of "
        f"text8; {measured(where)}, gensim {where['gensim']}; `python bench/compare_word2vec.py`",
        "",
        "| 100 dimensions, window 5, 5 negatives, sample 1e-4 | workers | dlkit | gensim | × gensim |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['name']} | {row['workers']} | {row['dlkit'] / 1e3:,.0f} | {row['gensim'] / 1e3:,.0f} "
        f"| {row['dlkit'] / row['gensim']:.1f} |"
        for row in record["rows"]
    ]
    return "\n".join(lines)


def quality_table(record: dict[str, Any]) -> str:
    """The report on quality as Markdown: means over the seeds, and their standard errors."""
    where = record["environment"]
    lines = [
        f"text8, 5 epochs, means of three seeds ± standard errors; {measured(where)}, gensim {where['gensim']}; "
        "`python bench/compare_word2vec.py --quality`",
        "",
        "| model | trained by | analogies | WordSim-353 | SimLex-999 |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name in MODES:
        for trainer in ("dlkit", "gensim"):
            rows = [row for row in record["rows"] if row["name"] == name and row["trainer"] == trainer]
            cells = []
            for key, digits in (("analogies", 1), ("wordsim353", 3), ("simlex999", 3)):
                values = [100 * row[key] if key == "analogies" else row[key] for row in rows]
                spread = statistics.stdev(values) / len(values) ** 0.5
                unit = " %" if key == "analogies" else ""
                cells.append(f"{statistics.fmean(values):.{digits}f}{unit} ± {spread:.{digits}f}")
            lines.append(f"| {name} | {trainer} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="1,2", help="numbers of threads (default: 1,2)")
    parser.add_argument("--words", type=int, default=3_000_000, help="of the text (default: 3,000,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quality", action="store_true", help="whole trainings, and what they are good for")
    parser.add_argument("--dry-run", action="store_true", help="print the table, write no files")
    asked = parser.parse_args()
    workers = [int(count) for count in asked.workers.split(",")]
    if asked.quality:
        record, name, show = quality(workers[0]), "word2vec-quality", quality_table
    else:
        record, name, show = speed(workers, asked.words, asked.rounds), "word2vec-speed", table
    if not asked.dry_run:
        write_results(RESULTS / f"{record['benchmark']}.json", record)
        put_between_markers(PAGE, name, show(record))
    print(show(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
