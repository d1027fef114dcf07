"""dlkit.data.phrases, against gensim and against the formula."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from dlkit.data import ENGLISH_CONNECTOR_WORDS, DataError, DataNotFoundError, Phrases


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


@pytest.mark.parametrize(("scoring", "threshold"), [("default", 0.3), ("npmi", 0.2)])
def test_gensim_finds_the_same_with_connectors(
    rng: np.random.Generator, tmp_path: Path, scoring: Literal["default", "npmi"], threshold: float
) -> None:
    gensim = pytest.importorskip("gensim.models.phrases")
    sentences = []
    for _ in range(500):
        words = [f"w{i}" for i in rng.zipf(1.4, 9) % 40]
        for at in rng.integers(0, 10, 2):
            words[at:at] = [
                ["state", "of", "the", "art"],
                ["bread", "and", "butter"],
                ["new", "york"],
                ["of", "the"],
                ["the"] * 3,
                ["york", "in"],
            ][rng.integers(6)]
        sentences.append(words)
    how: Any = {"min_count": 3, "threshold": threshold, "scoring": scoring}
    theirs = gensim.Phrases(sentences, connector_words=gensim.ENGLISH_CONNECTOR_WORDS, **how)
    ours = Phrases(sentences, connector_words=ENGLISH_CONNECTOR_WORDS, **how)
    assert gensim.ENGLISH_CONNECTOR_WORDS == ENGLISH_CONNECTOR_WORDS
    found = theirs.export_phrases()
    assert {"_".join(phrase): score for phrase, score in ours.scores.items()} == pytest.approx(
        found, rel=1e-12
    )
    assert ("state", "of", "the", "art") in ours.scores
    assert ("bread", "and", "butter") in ours.scores
    want = [theirs[sentence] for sentence in sentences]
    assert [ours[sentence] for sentence in sentences] == want
    for piece, workers in ((50, 2), (1 << 20, 1)):
        joined = ours.apply(sentences, tmp_path / "joined.txt", workers=workers, piece=piece)
        assert [line.split() for line in (tmp_path / "joined.txt").read_text().splitlines()] == want
    assert joined == sum("_" in word for sentence in want for word in sentence)


def test_phrases_in_a_file(sentences: list[list[str]], tmp_path: Path) -> None:
    many = [["state", "of", "the", "art"], ["a", "state"]] * 50
    ours = Phrases(sentences + many, 3, 0.5, connector_words=ENGLISH_CONNECTOR_WORDS, delimiter="~")
    same = Phrases.load(ours.save(tmp_path / "phrases.json"))
    assert vars(same) == vars(ours)
    assert same[["the", "state", "of", "the", "art"]] == ["the", "state~of~the~art"]
    ours.apply(sentences, tmp_path / "a")
    same.apply(sentences, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "phrases.json"]
    values = json.loads((tmp_path / "phrases.json").read_text())
    wrong: list[dict[str, Any]] = [
        {"format": "x"},
        {"delimiter": " "},
        {"scoring": "pmi"},
        {"threshold": "1"},
        {"min_count": 0},
        {"connector_words": "of"},
        {"phrases": {}},
        *(
            {"phrases": [row]}
            for row in (
                3,
                [],
                [["a"], 1, 1.0],
                [["w1", "w2"], 0, 1.0],
                [["w1", "w2"], 1, None],
                [["w1", "w 2"], 1, 1.0],
                [["w1", 2], 1, 1.0],
                [["of", "w2"], 1, 1.0],
                [["w1", "w2", "w3"], 1, 1.0],
                [["w1", *["of"] * 9, "w2"], 1, 1.0],
            )
        ),
    ]
    for change in wrong:
        (tmp_path / "x").write_text(json.dumps({**values, **change}))
        with pytest.raises(DataError, match="x"):
            Phrases.load(tmp_path / "x")
    with pytest.raises(DataNotFoundError, match="no such file"):
        Phrases.load(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be written"):
        ours.save(tmp_path / "none" / "x")


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


def test_sentences_as_gensim_takes_them(sentences: list[list[str]]) -> None:
    gensim = pytest.importorskip("gensim.models.phrases")
    theirs = gensim.Phrases(sentences=sentences, min_count=3, threshold=1.0)
    ours = Phrases(sentences=sentences, min_count=3, threshold=1.0)
    assert ours.export_phrases() == pytest.approx(theirs.export_phrases(), rel=1e-12)
    assert list(ours.export_phrases().values()) == sorted(ours.scores.values(), reverse=True)
    assert ours.freeze()[sentences[0]] == theirs.freeze()[sentences[0]]
    want = list(theirs[sentences])
    joined = ours[sentences]
    for _ in range(2):  # as often as the sentences themselves
        assert list(joined) == want
    generator: Any = (sentence for sentence in sentences)
    once = ours[generator]
    assert list(once) == want
    assert list(once) == []
    assert list(ours[iter(sentences)]) == want
    assert list(ours[tuple(map(tuple, sentences))]) == want
    assert list(ours[[iter(sentence) for sentence in sentences]]) == want
    words: Any = iter(sentences[0])
    assert ours[words] == want[0]
    assert ours[tuple(sentences[0])] == want[0]
    nothing: Any = iter([])
    assert ours[[]] == ours[()] == ours[nothing] == []
    assert list(ours[[[], sentences[0]]]) == [[], want[0]]
    # Phrases of three words: of sentences that are joined as they are read.
    longer = Phrases(joined, 3, 1.0)
    assert longer.scores == Phrases(want, 3, 1.0).scores
    assert list(longer[joined]) == [longer[sentence] for sentence in want]


def test_arguments_that_are_not_there(tmp_path: Path) -> None:
    text = [["a", "b"]]
    wrong: list[tuple[dict[str, Any], str]] = [
        (
            {"progress_per": 100},
            r"^Phrases: there is no argument 'progress_per' \(did you mean 'progress'\?\)$",
        ),
        ({"treshold": 1}, r"^Phrases: there is no argument 'treshold' \(did you mean 'threshold'\?\)$"),
        ({"zzz": 1}, "^Phrases: there is no argument 'zzz'$"),
        ({"sentences": text}, "^Phrases: both source and sentences are given, expected one text$"),
    ]
    for arguments, message in wrong:
        with pytest.raises(TypeError, match=message):
            Phrases(text, **arguments)
    with pytest.raises(
        TypeError, match=r"^Phrases: neither source nor sentences is given, expected one text$"
    ):
        Phrases()
    ours = Phrases(text * 9, 1, 0.0)
    with pytest.raises(
        TypeError, match=r"^apply: there is no argument 'worker' \(did you mean 'workers'\?\)$"
    ):
        ours.apply(text, tmp_path / "out", worker=1)


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
        ({"connector_words": "of the"}, "connector_words is a text"),
        ({"connector_words": [3]}, "connector_words holds something that is no word"),
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
    wrong: Any
    for wrong in ("a b", 3, None):
        with pytest.raises(DataError, match=r"expected a list of words, or of sentences"):
            ours[wrong]
    for wrong in (["a"], "b c"), (["a"], 3):
        with pytest.raises(DataError, match=r"a sentence is of type (str|int), expected a list of words"):
            list(ours[wrong])
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
