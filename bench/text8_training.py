"""What the scripts about training word vectors share: the text, what is trained on it, and what vectors are worth.

text8 (``DLKIT_DATA``): a window of 5, 5 negatives or hierarchical softmax, subsampling at 1e-4, words that occur 5
times. dlkit and gensim are trained by the same settings; gensim reads the text by ``corpus_file``, its fastest way, cut
into sentences of 10,000 words as all take them.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models import KeyedVectors as TheirVectors
from gensim.models import Word2Vec as Theirs
from pages import ROOT, positive

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
WINDOW, MIN_COUNT, NEGATIVE, SAMPLE = 5, 5, 5, 1e-4
SETTINGS = {"window": WINDOW, "min_count": MIN_COUNT, "sample": SAMPLE}
SEEDS = (1, 2, 3)


def text(words: int | None, folder: Path) -> Path:
    """The text, a sentence of 10,000 words a line."""
    found = read_bytes(text8_path(), 1 << 30).split()[:words]
    lines = [b" ".join(found[i : i + SENTENCE]) for i in range(0, len(found), SENTENCE)]
    file = folder / "text.txt"
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


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


def analogy_folder() -> Path:
    """The folder of questions-words and of the similarities.

    Raises
    ------
    SystemExit
        If there is none.
    """
    root = data_folder()
    if root is None:
        raise SystemExit("DLKIT_DATA is not set; expected the folder of data files that has analogy/ in it")
    return root / "analogy"


def similarity(words: list[str], vectors: np.ndarray, name: str) -> float:
    """Spearman's correlation with ``wordsim353.tsv`` or ``simlex999.txt``, by gensim's function."""
    asked = TheirVectors(vectors.shape[1])
    asked.add_vectors(words, vectors)
    return float(asked.evaluate_word_pairs(str(analogy_folder() / name))[1][0])


def worth(words: list[str], vectors: np.ndarray, folder: Path) -> dict[str, float]:
    """The share of analogies among the 30,000 most frequent words, and similarities; all by gensim's functions."""
    questions = folder / "questions.txt"
    questions.write_bytes(read_bytes(analogy_folder() / "questions-words.txt.xz", 1 << 24))
    asked = TheirVectors(vectors.shape[1])
    asked.add_vectors(words, vectors)
    share, _ = asked.evaluate_word_analogies(str(questions), restrict_vocab=30000)
    return {
        "analogies": float(share),
        "wordsim353": similarity(words, vectors, "wordsim353.tsv"),
        "simlex999": similarity(words, vectors, "simlex999.txt"),
    }


def spread(rows: list[dict[str, Any]]) -> list[str]:
    """Cells of a table: the worth of trainings that differ by the seed, means and standard errors."""
    cells = []
    for key, digits in (("analogies", 1), ("wordsim353", 3), ("simlex999", 3)):
        values = [100 * row[key] if key == "analogies" else row[key] for row in rows]
        error = statistics.stdev(values) / len(values) ** 0.5
        unit = " %" if key == "analogies" else ""
        cells.append(f"{statistics.fmean(values):.{digits}f}{unit} ± {error:.{digits}f}")
    return cells


def described() -> dict[str, Any]:
    """The environment; files of this machine by their names alone."""
    found = environment()
    return {
        **found,
        "command": [part.rpartition("/")[2] if part[:1] == "/" else part for part in found["command"]],
    }


def numbers(given: str) -> list[int]:
    """Read whole numbers with commas between them from a command line."""
    return [positive(each) for each in given.split(",")]
