"""Scores of tags."""

from __future__ import annotations

import random

import pytest

from dlkit.data import TaggedSentence
from dlkit.data.segmentation import characters_of
from dlkit.recipes.tagger_scores import allowed_tags, f_score, report, scores_of, seqeval_f1


def test_tokens():
    sentences = [TaggedSentence(["a", "b"], ["X", "Y"]), TaggedSentence(["c", "d"], ["X", "X"])]
    assert scores_of("tokens", sentences, [["X", "X"], ["X", "X"]]) == {"accuracy": 0.75}
    rows = report("tokens", sentences, [["X", "X"], ["X", "X"]])
    assert rows == [("X", 0.75, 1.0, pytest.approx(6 / 7), 3), ("Y", 0.0, 0.0, 0.0, 1)]


def test_segmentation():
    sentence = TaggedSentence(*characters_of(["ab", "c", "d"]))
    scores = scores_of("segmentation", [sentence], [["B", "E", "B", "E"]])
    assert (scores["precision"], scores["recall"]) == (1 / 2, 1 / 3)
    assert scores["f1"] == pytest.approx(0.4)
    kinds = {row[0]: row[4] for row in report("segmentation", [sentence], [["B", "E", "B", "E"]])}
    assert kinds == {"of 1 character": 2, "of 2 characters": 1}


def test_entities_are_scored_as_seqeval_does():
    pytest.importorskip("seqeval", reason="seqeval is not installed")
    rng = random.Random(1)
    tags = ["O", "O", "B-a", "I-a", "B-b", "I-b"]
    sentences, predicted = [], []
    for _ in range(60):
        length = rng.randint(1, 9)
        true = [rng.choice(tags) for _ in range(length)]
        sentences.append(TaggedSentence(["w"] * length, true))
        predicted.append([t if rng.random() < 0.7 else rng.choice(tags) for t in true])
    scores = scores_of("entities", sentences, predicted)
    assert 0 < scores["f1"] < 1
    assert seqeval_f1(sentences, predicted) == pytest.approx(scores["f1"])


def test_nothing_found():
    assert f_score(0, 0, 0) == (0.0, 0.0, 0.0)
    sentence = TaggedSentence(["w"], ["O"])
    assert scores_of("entities", [sentence], [["O"]])["f1"] == 0


def test_what_is_allowed():
    assert allowed_tags("tokens", ["X"]) is None
    pairs, start, end = allowed_tags("entities", ["O", "B-a", "I-a", "I-b"])
    assert pairs.tolist() == [
        [True, True, False, False],
        *[[True, True, True, False]] * 2,
        [True, True, False, True],
    ]
    assert start.tolist() == [True, True, False, False]
    assert end.all()
    pairs, start, end = allowed_tags("segmentation", ["S", "B", "E", "M"])
    assert start.tolist() == [True, True, False, False]
    assert end.tolist() == [True, False, True, False]
    assert pairs[1].tolist() == [False, False, True, True]


def test_chunks_are_scored_as_entities_are():
    tags = ["B-NP", "I-NP", "B-VP", "O"]
    sentences, said = [TaggedSentence(["a"] * 4, tags)], [["B-NP", "I-NP", "B-PP", "O"]]
    assert scores_of("chunks", sentences, said) == scores_of("entities", sentences, said)
    assert report("chunks", sentences, said)[0] == ("NP", 1.0, 1.0, 1.0, 1)
    pairs, start, _ = allowed_tags("chunks", tags)
    assert not pairs[3, 1]
    assert not start[1]


def test_words_with_their_kinds():
    sentence = TaggedSentence(*characters_of(["ab", "c", "d"], ["N", "V", "P"]))
    said = characters_of(["ab", "c", "d"], ["N", "N", "P"])[1]
    scores = scores_of("segmentation", [sentence], [said])
    assert scores["f1"] == 1.0
    assert scores["joint_f1"] == pytest.approx(2 / 3)
    assert scores["accuracy"] == 3 / 4
    said = characters_of(["a", "b", "c", "d"], ["N", "N", "V", "P"])[1]
    scores = scores_of("segmentation", [sentence], [said])
    assert scores["f1"] == scores["joint_f1"] == pytest.approx(2 * 2 / (4 + 3))
    rows = {row[0]: row[1:] for row in report("segmentation", [sentence], [said])}
    assert rows["of 2 characters"] == (0.0, 0.0, 0.0, 1)
    assert rows["N"] == (0.0, 0.0, 0.0, 1)
    assert rows["V"] == (1.0, 1.0, 1.0, 1)
    assert "joint_f1" not in scores_of("segmentation", [TaggedSentence(["a"], ["S"])], [["S"]])
    pairs, start, end = allowed_tags("segmentation", ["B-N", "E-N", "E-V"])
    assert pairs[0].tolist() == [False, True, False]
    assert start.tolist() == [True, False, False]
    assert end.tolist() == [False, True, True]
