"""Analogies as a test of word vectors: all questions of a file answered together."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlkit.data.errors import DataError
from dlkit.data.text_file import lines_of, read_bytes
from dlkit.kernels.matmul import matmul
from dlkit.kernels.nearest import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .word_table import WordTable

EPSILON = 0.000001  # of 3CosMul, as in the paper
_BLOCK = 1 << 22  # elements of intermediate results


def answer_analogies(
    wv: WordTable,
    analogies: str | os.PathLike[str],
    end: int,
    case_insensitive: bool,
    dummy4unknown: bool,
    similarity_function: Literal["most_similar", "most_similar_cosmul"],
) -> tuple[float, list[dict[str, Any]]]:
    """Answer the questions of a file from the first `end` words: `KeyedVectors.evaluate_word_analogies`."""
    known, same = folded(wv, end, case_insensitive)
    sections: list[dict[str, Any]] = []
    asked: list[tuple[list[Any], list[Any], tuple[str, ...]]] = []
    rows: list[list[int]] = []
    name = os.fspath(analogies)
    for number, line in enumerate(lines_of(read_bytes(analogies), name), start=1):
        if line.startswith(": "):
            sections.append({"section": line.lstrip(": ").strip(), "correct": [], "incorrect": []})
            continue
        if not line.strip():
            continue
        if not sections:
            raise DataError(f"{name}: line {number} comes before the first section, expected ': name' first")
        words = tuple((line.upper() if case_insensitive else line).split())
        if len(words) != 4:
            continue
        found = [known.get(word, -1) for word in words]
        section = sections[-1]
        if min(found) < 0:
            if dummy4unknown:
                section["incorrect"].append(words)
            continue
        rows.append(found)
        asked.append((section["correct"], section["incorrect"], words))
    if rows:
        questions = np.array(rows, np.int64)
        solve = _cos_add if similarity_function == "most_similar" else _cos_mul
        answers = solve(wv, questions, end, same)
        right = (answers >= 0) & (same[answers] == questions[:, 3])
        for (correct, incorrect, words), is_right in zip(asked, right.tolist(), strict=True):
            (correct if is_right else incorrect).append(words)
    total: dict[str, Any] = {
        "section": "Total accuracy",
        "correct": list(chain.from_iterable(section["correct"] for section in sections)),
        "incorrect": list(chain.from_iterable(section["incorrect"] for section in sections)),
    }
    sections.append(total)
    answered = len(total["correct"]) + len(total["incorrect"])
    return len(total["correct"]) / answered if answered else 0.0, sections


def folded(wv: WordTable, end: int, case_insensitive: bool) -> tuple[dict[str, int], NDArray[np.int64]]:
    """The rows of the first `end` words by what they are in upper case, and of each the first that is the same."""
    if not case_insensitive:
        known = wv.key_to_index if end == len(wv) else {k: i for i, k in enumerate(wv.index_to_key[:end])}
        return known, np.arange(end)
    first: dict[str, int] = {}
    same = np.fromiter(
        (first.setdefault(word.upper(), row) for row, word in enumerate(wv.index_to_key[:end])),
        np.int64,
        end,
    )
    return first, same


def _cos_add(
    wv: WordTable, questions: NDArray[np.int64], end: int, same: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The answer to each question: of the five nearest that are not a, b or c the first not the same as these."""
    answers = np.empty(len(questions), np.int64)
    k = min(8, end)
    for begin in range(0, len(questions), 4096):
        part = questions[begin : begin + 4096, :3]
        a, b, c = (wv.vectors[part[:, i]] * wv.scale[part[:, i], None] for i in range(3))
        rows, _ = nearest(b + c - a, wv.vectors[:end], k, scale=wv.scale[:end])
        others = (rows[:, :, None] != part[:, None, :]).all(axis=2) & (rows >= 0)
        allowed = others & (np.cumsum(others, axis=1) <= 5)
        allowed &= (same[rows][:, :, None] != part[:, None, :]).all(axis=2)
        found = rows[np.arange(len(rows)), allowed.argmax(axis=1)]
        answers[begin : begin + len(part)] = np.where(allowed.any(axis=1), found, -1)
    return answers


def _cos_mul(
    wv: WordTable, questions: NDArray[np.int64], end: int, same: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The answer to each question: the best by 3CosMul that is not the same as a, b or c."""
    words, at = np.unique(questions[:, :3], return_inverse=True)
    a, b, c = at.reshape(len(questions), 3).T
    terms = wv.vectors[words] * wv.scale[words, None]
    best = np.zeros(len(questions), np.float32)
    answers = np.full(len(questions), -1, np.int64)
    columns = max(1, min(4096, _BLOCK // len(words)))
    some = max(1, _BLOCK // (4 * columns))
    alike = np.flatnonzero(np.isin(same[:end], words))  # words that are the same as one in a question
    alike_term = np.searchsorted(words, same[alike])
    for begin in range(0, end, columns):
        stop = min(begin + columns, end)
        similar = (1 + matmul(terms, wv.vectors[begin:stop], trans_b=True) * wv.scale[begin:stop]) / 2
        under = 1 / (similar + np.float32(EPSILON))
        # Nothing is the answer to a question that it stands in: its product is 0, all others are above.
        inside = (alike >= begin) & (alike < stop)
        for table in (similar, under):
            table[alike_term[inside], alike[inside] - begin] = 0
        for first in range(0, len(questions), some):
            part = slice(first, first + some)
            scores = similar[b[part]]
            scores *= similar[c[part]]
            scores *= under[a[part]]
            winners = scores.argmax(axis=1)
            values = scores[np.arange(len(scores)), winners]
            better = values > best[part]
            best[part][better] = values[better]
            answers[part][better] = winners[better] + begin
    return answers
