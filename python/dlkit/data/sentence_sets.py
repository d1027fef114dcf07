"""Sets of labelled sentences on which classifiers are compared: MR, SUBJ, CR, TREC, SST.

- MR: Pang & Lee, *Seeing stars*, ACL 2005: snippets of film reviews, positive or negative.
- SUBJ: Pang & Lee, *A sentimental education*, ACL 2004: subjective or objective.
- CR: Hu & Liu, *Mining and summarizing customer reviews*, KDD 2004: reviews of products, positive or negative.
- TREC: Li & Roth, *Learning question classifiers*, COLING 2002: what a question asks for.
- SST: Socher et al., *Recursive deep models for semantic compositionality over a sentiment treebank*, EMNLP 2013:
  MR with labels for every phrase, five classes (sst5) or two, the neutral ones left out (sst2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .errors import DataError
from .sentence_files import QUESTIONS, Phrase, read_questions, read_sentences, read_trees
from .text_dataset import Split, TextDataset
from .text_file import Address, TextFile, find_text
from .tokens import treebank_words, words_of

_PANG_AND_LEE = "https://www.cs.cornell.edu/people/pabo/movie-review-data/"
_KIM = "https://raw.githubusercontent.com/yoonkim/CNN_sentence/master/"
_HARVARD = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/raw/"
_COGCOMP = "https://cogcomp.seas.upenn.edu/Data/QA/QC/"
_STANFORD = Address("https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip")


def _file(folder: str, name: str, sha256: str, *addresses: tuple[str, str]) -> TextFile:
    return TextFile(folder, name, sha256, [Address(url, member) for url, member in addresses])


_POLARITY = {
    "mr": (
        _file(
            "mr",
            "rt-polarity.neg",
            "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca",
            (_PANG_AND_LEE + "rt-polaritydata.tar.gz", "rt-polaritydata/rt-polarity.neg"),
            (_KIM + "rt-polarity.neg", ""),
        ),
        _file(
            "mr",
            "rt-polarity.pos",
            "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0",
            (_PANG_AND_LEE + "rt-polaritydata.tar.gz", "rt-polaritydata/rt-polarity.pos"),
            (_KIM + "rt-polarity.pos", ""),
        ),
    ),
    "subj": (
        _file(
            "subj",
            "subj.objective",
            "5ddc9b44dc60d64d651347fcd7bdd489b0c70661e3f768215c16eea36f51204a",
            (_HARVARD + "subj.objective", ""),
            (_PANG_AND_LEE + "rotten_imdb.tar.gz", "plot.tok.gt9.5000"),
        ),
        _file(
            "subj",
            "subj.subjective",
            "73a2dcf8dc3cbcc7f068a70ef9f021c86b2a8e4dac81566b7fd015b3e938f2c5",
            (_HARVARD + "subj.subjective", ""),
            (_PANG_AND_LEE + "rotten_imdb.tar.gz", "quote.tok.gt9.5000"),
        ),
    ),
    "cr": (
        _file(
            "custrev",
            "custrev.neg",
            "8f29d7fa39f9862764b71f36b193f0674e0056287ffc5bf170edf6db42cc8f83",
            (_HARVARD + "custrev.neg", ""),
        ),
        _file(
            "custrev",
            "custrev.pos",
            "15eeb0b9424043bb3755488e2d8ed97bdaeba464a5c230f213bad075125d2192",
            (_HARVARD + "custrev.pos", ""),
        ),
    ),
}
_CLASSES = {
    "mr": ["negative", "positive"],
    "subj": ["objective", "subjective"],
    "cr": ["negative", "positive"],
}
_TREC = {
    "train": _file(
        "trec",
        "train_5500.label",
        "9e4c8bdcaffb96ed61041bd64b564183d52793a8e91d84fc3a8646885f466ec3",
        (_COGCOMP + "train_5500.label", ""),
        (_HARVARD + "TREC.train", ""),
    ),
    "test": _file(
        "trec",
        "TREC_10.label",
        "033f22c028c2bbba9ca682f68ffe204dc1aa6e1cf35dd6207f2d4ca67f0d0e8e",
        (_COGCOMP + "TREC_10.label", ""),
        (_HARVARD + "TREC.test", ""),
    ),
}
_SST = {
    part: _file("sst", f"{part}.txt", sha256, (_STANFORD.url, f"trees/{part}.txt"))
    for part, sha256 in (
        ("train", "e2f3f41b0b1e6d4dddc0effe3bfc2d27ed8928079aa9a03d652311614fc5feb7"),
        ("dev", "0e9336aed6e4730e19f58d00a77b3f0297efdb755f7b5e598c98a05e3f97ea40"),
        ("test", "6e54806dee95cf80cd918e7dfb3f6770f6df24bf826f289a4d1f709e1c8f6761"),
    )
}
_FIVE = ["very negative", "negative", "neutral", "positive", "very positive"]


def load_polarity(name: str) -> TextDataset:
    """Load MR ("mr"), SUBJ ("subj") or CR ("cr"): two classes, no official split.

    Raises
    ------
    DataError, DataNotFoundError, ImportError
        As `dlkit.data.text_file.find_text` and the readers say.
    """
    if name not in _POLARITY:
        raise DataError(f"load_polarity: name is {name!r}, expected one of {', '.join(_POLARITY)}")
    sentences: list[list[str]] = []
    labels: list[int] = []
    # Both are found and verified before one is read: a missing one is told at once.
    found = [find_text(file) for file in _POLARITY[name]]
    for label, (content, path) in enumerate(found):
        part = [words_of(line) for line in read_sentences(content, str(path))]
        sentences += part
        labels += [label] * len(part)
    return TextDataset(name, sentences, np.array(labels, np.int64), _CLASSES[name], str(found[0][1].parent))


def load_trec() -> TextDataset:
    """Load TREC: six classes of questions, official split of 5452 and 500. Its words keep their case.

    Raises
    ------
    DataError, DataNotFoundError, ImportError
        As `dlkit.data.text_file.find_text` and the readers say.
    """
    names = list(QUESTIONS)
    sentences: list[list[str]] = []
    labels: list[int] = []
    found = {part: find_text(file) for part, file in _TREC.items()}
    ends = []
    for content, path in found.values():
        for coarse, question in read_questions(content, str(path)):
            sentences.append(words_of(question, lower=False))
            labels.append(names.index(coarse))
        ends.append(len(sentences))
    return TextDataset(
        "trec",
        sentences,
        np.array(labels, np.int64),
        list(QUESTIONS.values()),
        str(found["train"][1].parent),
        Split(np.arange(ends[0]), np.arange(ends[0], ends[1])),
        lower=False,
    )


def load_sst(classes: int = 5, *, phrases: bool = True) -> TextDataset:
    """Load the Stanford Sentiment Treebank with its official split.

    Parameters
    ----------
    classes
        5, or 2: negative and positive, without the neutral.
    phrases
        Whether every labelled phrase of the training trees is a training sample, as in Kim's experiments, or only
        whole sentences. Validation and test are always whole sentences.

    Raises
    ------
    DataError, DataNotFoundError, ImportError
        As `dlkit.data.text_file.find_text` and the readers say.
    """
    if classes not in (2, 5):
        raise DataError(f"load_sst: classes is {classes!r}, expected 2 or 5")
    found = {part: find_text(file) for part, file in _SST.items()}
    sentences: list[list[str]] = []
    labels: list[int] = []
    ends = [0]
    for part, (content, path) in found.items():
        seen: set[tuple[int, tuple[str, ...]]] = set()
        for tree in read_trees(content, str(path)):
            whole = part != "train" or not phrases
            for phrase in tree[:1] if whole else tree:
                label = _label(phrase, classes)
                words = treebank_words(" ".join(phrase.words))
                key = (phrase.label, phrase.words)
                # A phrase that is in many sentences counts once, one without a word (a full stop) not at all.
                if label is None or (not whole and (key in seen or not words)):
                    continue
                seen.add(key)
                sentences.append(words)
                labels.append(label)
        ends.append(len(sentences))
    train, validation, test = (np.arange(a, b) for a, b in pairwise(ends))
    names: Sequence[str] = _FIVE if classes == 5 else (_FIVE[1], _FIVE[3])
    return TextDataset(
        f"sst{classes}",
        sentences,
        np.array(labels, np.int64),
        list(names),
        str(found["train"][1].parent),
        Split(train, test, validation),
    )


def _label(phrase: Phrase, classes: int) -> int | None:
    if classes == 5:
        return phrase.label
    return None if phrase.label == 2 else int(phrase.label > 2)
