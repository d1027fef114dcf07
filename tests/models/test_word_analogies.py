"""Analogies: against definitions, and against gensim where it is installed."""

from __future__ import annotations

import lzma

import numpy as np
import pytest

from dlkit.models import KeyedVectors

QUESTIONS = """: first
w1 w2 w3 w4
W5 w6 w7 unknown
w8 w9 w10
the w2 w11 w12
: second
w20 w21 w22 w23
w30 w31 w30 w31
"""


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt.xz"
    path.write_bytes(lzma.compress(QUESTIONS.encode()))
    return path


@pytest.mark.parametrize("function", ["most_similar", "most_similar_cosmul"])
def test_analogies_that_hold(questions, function, rng):
    # Vectors in which each right answer lies where the question points, in so many dimensions that no other is near.
    table = rng.standard_normal((40, 300))
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    for a, b, c, d in ((1, 2, 3, 4), (20, 21, 22, 23)):
        table[d] = table[b] + table[c] - table[a]
    vectors = KeyedVectors([f"w{i}" for i in range(39)] + ["the"], table)
    score, sections = vectors.evaluate_word_analogies(questions, similarity_function=function)
    assert [each["section"] for each in sections] == ["first", "second", "Total accuracy"]
    assert sections[0]["correct"] == [("W1", "W2", "W3", "W4")]
    assert sections[0]["incorrect"] == [("THE", "W2", "W11", "W12")]
    assert sections[1]["correct"] == [("W20", "W21", "W22", "W23")]
    assert sections[1]["incorrect"] == [("W30", "W31", "W30", "W31")]  # what is asked is no answer
    assert score == 0.5
    score, sections = vectors.evaluate_word_analogies(
        questions, dummy4unknown=True, similarity_function=function
    )
    assert len(sections[0]["incorrect"]) == 2
    assert score == 0.4
    score, _ = vectors.evaluate_word_analogies(questions, restrict_vocab=2, similarity_function=function)
    assert score == 0


@pytest.fixture
def spelled(data_folder, rng):
    """Vectors of the words of questions-words.txt that follow their letters, so that some answers are right."""
    text = lzma.decompress((data_folder / "analogy" / "questions-words.txt.xz").read_bytes()).decode()
    words = [word for i, word in enumerate(sorted(set(text.split()))) if i % 9]
    words += [word.lower() for word in words[::5] if word.lower() not in words]
    rng.shuffle(words)
    ends = [sum(map(ord, part)) for word in words for part in (word[:3].lower(), word[-2:].lower())]
    known = {end: rng.standard_normal(16) for end in sorted(set(ends))}
    table = [
        known[a] + known[b] + 0.1 * rng.standard_normal(16)
        for a, b in zip(ends[::2], ends[1::2], strict=True)
    ]
    plain = "\n".join(line for i, line in enumerate(text.splitlines()) if i % 20 == 0 or line[0] == ":")
    return words, np.array(table, np.float32), plain


@pytest.mark.parametrize("case_insensitive", [True, False])
def test_analogies_as_gensim(spelled, case_insensitive, tmp_path):
    gensim = pytest.importorskip("gensim.models")
    words, table, text = spelled
    (tmp_path / "questions.txt").write_text(text)
    vectors, theirs = KeyedVectors(words, table), gensim.KeyedVectors(16)
    theirs.add_vectors(words, table)
    row: dict[str, int] = {}
    for i, word in enumerate(words):
        row.setdefault(word.upper() if case_insensitive else word, i)
    unit = table.astype(float) / np.linalg.norm(table.astype(float), axis=1, keepdims=True)
    for limit in (300000, 700):
        options = {"restrict_vocab": limit, "case_insensitive": case_insensitive}
        score, sections = vectors.evaluate_word_analogies(tmp_path / "questions.txt", **options)
        _, others = theirs.evaluate_word_analogies(str(tmp_path / "questions.txt"), **options)
        assert 0 < score < 1
        assert [each["section"] for each in sections] == [each["section"] for each in others]
        for ours, other in zip(sections, others, strict=True):
            assert {*ours["correct"], *ours["incorrect"]} == {*other["correct"], *other["incorrect"]}
            for question in {*ours["correct"]} ^ {*other["correct"]}:  # two answers that rounding tells apart
                asked = [row[word] for word in question[:3]]
                away, start, towards = unit[asked]
                along = unit[:limit] @ (start + towards - away)
                along[asked] = -np.inf
                first, second = np.sort(along)[:-3:-1]
                assert first - second < 1e-6


@pytest.mark.parametrize("case_insensitive", [True, False])
def test_products_as_one_question_at_a_time(spelled, case_insensitive, tmp_path):
    words, table, text = spelled
    some = [line for line in text.splitlines() if line[0] != ":"][-500:]
    (tmp_path / "questions.txt").write_text("\n".join([": the last", *some]))
    vectors = KeyedVectors(words, table)
    score, sections = vectors.evaluate_word_analogies(
        tmp_path / "questions.txt",
        case_insensitive=case_insensitive,
        similarity_function="most_similar_cosmul",
    )
    fold = str.upper if case_insensitive else str
    row = {}
    for word in words:
        row.setdefault(fold(word), word)
    for right, questions in ((True, sections[-1]["correct"]), (False, sections[-1]["incorrect"])):
        for a, b, c, d in questions:
            best = vectors.most_similar_cosmul([row[b], row[c]], [row[a]], topn=8)
            answer = next(word for word, _ in best if fold(word) not in (a, b, c))
            assert (fold(answer) == d) == right
    assert score == len(sections[-1]["correct"]) / sum(
        len(sections[-1][key]) for key in ("correct", "incorrect")
    )
    assert 0 < score < 1
