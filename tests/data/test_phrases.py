"""dlkit.data.phrases, against gensim and against the formula."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from dlkit.data import DataError, Phrases


@pytest.fixture
def sentences(rng: np.random.Generator) -> list[list[str]]:
    made = []
    for _ in range(400):
        words = [f"w{i}" for i in rng.zipf(1.4, 12) % 60]
        for at in rng.integers(0, 10, 2):
            words[at : at + 2] = [("new", "york"), ("ice", "cream"), ("york", "times")][rng.integers(3)]
        made.append(words)
    return made


@pytest.mark.parametrize(("scoring", "threshold"), [("default", 1.0), ("default", 0.5), ("npmi", 0.3)])
def test_gensim_finds_the_same(
    sentences: list[list[str]], tmp_path: Path, scoring: Literal["default", "npmi"], threshold: float
) -> None:
    gensim = pytest.importorskip("gensim.models.phrases")
    theirs = gensim.Phrases(sentences, min_count=3, threshold=threshold, scoring=scoring)
    ours = Phrases(sentences, min_count=3, threshold=threshold, scoring=scoring)
    found = theirs.export_phrases()
    assert len(found) > 1
    assert {"_".join(pair): score for pair, score in ours.scores.items()} == pytest.approx(found, rel=1e-12)
    assert ours.counts == {pair: theirs.vocab["_".join(pair)] for pair in ours.scores}
    path = tmp_path / "joined.txt"
    pairs = ours.apply(sentences, path, workers=2, piece=100)
    want = [theirs[sentence] for sentence in sentences]
    assert [line.split() for line in path.read_text().splitlines()] == want
    assert [ours[sentence] for sentence in sentences] == want
    assert pairs == sum(map(len, sentences)) - sum(map(len, want))


def test_a_file_is_as_good_as_its_sentences(sentences: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(map(" ".join, sentences)))
    ours, same = Phrases(sentences, 3, 1.0), Phrases(path, 3, 1.0, workers=2, piece=77)
    assert ours.scores == same.scores
    assert len(ours) == len(ours.scores) > 1
    ours.apply(sentences, tmp_path / "a")
    # In its own place, and once more, for phrases of three and four words.
    same.apply(path, path)
    assert path.read_text() == (tmp_path / "a").read_text()
    longer = Phrases(path, 3, 1.0)
    assert any("new_york" in pair or "york_times" in pair for pair in longer.scores)
    assert sorted(os.listdir(tmp_path)) == ["a", "text.txt"]


def test_words_thrown_away_part_their_neighbours() -> None:
    sentences = [["a", f"rare{i}", "b"] for i in range(300)] + [["a", "c"]] * 10
    ours = Phrases(sentences, 1, 0.0, max_vocab_size=30, piece=64)
    assert ("a", "b") not in ours.scores
    assert ("a", "c") in ours.scores


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_count": 0}, "Phrases: min_count is 0"),
        ({"threshold": -1.0}, "threshold is -1.0, expected 0 or more"),
        ({"threshold": 2.0, "scoring": "npmi"}, "threshold is 2.0, expected -1 to 1"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"scoring": "pmi"}, "scoring is 'pmi'"),
        ({"delimiter": " "}, "delimiter is ' '"),
        ({"max_vocab_size": 0}, "max_vocab_size is 0"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_settings_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Phrases([["a", "b"]], **arguments)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no words"):
        Phrases([])
    ours = Phrases([["a", "b"]] * 9, 1, 0.0)
    with pytest.raises(DataError, match="expected a list of words"):
        ours["a b"]
    with pytest.raises(DataError, match="sentence 2 has a word with white space"):
        ours.apply([["a"], ["b c"]], tmp_path / "out")
    with pytest.raises(DataError, match="cannot be written"):
        ours.apply([["a"]], tmp_path / "absent" / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        ours.apply([["a"]], tmp_path / "file" / "out")
    (tmp_path / "file").unlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        ours.apply([["a"]], tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
