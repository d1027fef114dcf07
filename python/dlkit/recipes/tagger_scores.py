"""How good tags are: share of tokens, F1 of words, entities or chunks, each class by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data import iob, segmentation
from dlkit.data.tagged_set import SPANS, TaggedSentence

#: The number by which each task is judged.
JUDGED_BY = {"tokens": "accuracy", "segmentation": "f1", "entities": "f1", "chunks": "f1"}


def f_score(right: int, said: int, there: int) -> tuple[float, float, float]:
    """Precision, recall, and their harmonic mean; 0 where there is nothing to divide by."""
    precision = right / said if said else 0.0
    recall = right / there if there else 0.0
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def scores_of(
    task: str, sentences: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Score predicted tags.

    Parameters
    ----------
    task
        One of `dlkit.data.tagged_set.TASKS`.
    sentences
        With their true tags.
    predicted
        The tags said to be theirs.

    Returns
    -------
    dict
        ``accuracy``, the share of tokens; for words, entities and chunks also ``precision``, ``recall`` and ``f1`` of
        whole spans. Where words have kinds, ``f1`` is of the words alone, and ``joint_f1`` of words and their kinds.
    """
    pairs = list(zip(sentences, predicted, strict=True))
    tokens = sum(len(sentence.tags) for sentence, _ in pairs)
    hits = sum(a == b for sentence, tags in pairs for a, b in zip(sentence.tags, tags, strict=True))
    scores = {"accuracy": hits / tokens if tokens else 0.0}
    if task == "tokens":
        return scores
    right = said = there = 0
    for sentence, tags in pairs:
        true, found = _spans(task, sentence.tokens, sentence.tags), _spans(task, sentence.tokens, tags)
        right, said, there = right + len(true & found), said + len(found), there + len(true)
    scores["precision"], scores["recall"], scores["f1"] = f_score(right, said, there)
    if task == "segmentation" and segmentation.has_kinds(sentences[0].tags):
        right = sum(
            len(_words(s.tokens, s.tags).items() & _words(s.tokens, tags).items()) for s, tags in pairs
        )
        scores["joint_f1"] = f_score(right, said, there)[2]
    return scores


def _words(tokens: Sequence[str], tags: Sequence[str]) -> dict[tuple[int, int], str]:
    # Where words lie, and of which kind each is.
    words = segmentation.words_from(tokens, tags)
    return dict(zip(segmentation.spans_of(words), segmentation.kinds_from(tags), strict=True))


def _spans(task: str, tokens: Sequence[str], tags: Sequence[str]) -> set[Any]:
    if task == "segmentation":
        return set(_words(tokens, tags))
    return set(iob.entities_of(tags))


def allowed_tags(
    task: str, tags: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Which tags may follow each other, [before, after], which may begin and which may end a sentence; None: all."""
    if task == "tokens":
        return None
    follows = segmentation.may_follow if task == "segmentation" else iob.may_follow
    pairs = np.array([[follows(before, after) for after in tags] for before in tags], dtype=bool)
    start = np.array([follows(None, tag) for tag in tags], dtype=bool)
    end = np.array([task != "segmentation" or segmentation.may_end(tag) for tag in tags], dtype=bool)
    return pairs, start, end


def report(
    task: str, sentences: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]
) -> list[tuple[str, float, float, float, int]]:
    """Precision, recall, F1 and how many there are, of each tag, kind of entity or chunk, or of words by length.

    The most frequent first; then, where words have kinds, of words with each of them.
    """
    rows = _rows(task, sentences, predicted)
    if task == "segmentation" and segmentation.has_kinds(sentences[0].tags):
        rows += _rows("kinds", sentences, predicted)
    return rows


def _rows(
    task: str, sentences: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]
) -> list[tuple[str, float, float, float, int]]:
    right: Counter[str] = Counter()
    said: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for sentence, tags in zip(sentences, predicted, strict=True):
        if task == "tokens":
            true: set[Any] = set(enumerate(sentence.tags))
            found: set[Any] = set(enumerate(tags))
        elif task == "kinds":
            true = set(_words(sentence.tokens, sentence.tags).items())
            found = set(_words(sentence.tokens, tags).items())
        else:
            true, found = _spans(task, sentence.tokens, sentence.tags), _spans(task, sentence.tokens, tags)
        for counter, spans in ((right, true & found), (said, found), (there, true)):
            counter.update(_kind(task, span) for span in spans)
    kinds = sorted(there | said, key=lambda kind: (-there[kind], kind))
    return [(kind, *f_score(right[kind], said[kind], there[kind]), there[kind]) for kind in kinds]


def _kind(task: str, span: Any) -> str:
    if task in ("tokens", "kinds"):
        return str(span[1])
    if task in SPANS:
        return str(span.kind)
    length = span[1] - span[0]
    return f"of {length} character{'s' if length > 1 else ''}" if length < 4 else "of 4 and more"


def seqeval_f1(sentences: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]) -> float | None:
    """The F1 of entities or chunks as the package seqeval counts it, or None where it is not installed."""
    try:
        from seqeval.metrics import f1_score
    except ImportError:
        return None
    return float(f1_score([s.tags for s in sentences], [list(tags) for tags in predicted]))
