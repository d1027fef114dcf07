"""Tagged sentences as numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.data import DataError, DataNotFoundError
from dlkit.data.lexicon import Lexicon
from dlkit.data.tagger_features import LEXICAL, LONGEST_WORD, SpellingTable, TaggerFeatures

SENTENCES = [(["The", "cat", "17"], ["D", "N", "#"]), (["the", "dog"], ["D", "N"])]


def make(**settings):
    return TaggerFeatures.of(SENTENCES, ["D", "N", "#"], **settings)


def test_words_characters_tags():
    features = make(lower=True, digits=True)
    encoded = SpellingTable(features).encode(*SENTENCES[0])
    assert features.words.words[2] == "the"
    assert encoded.words.tolist() == features.words.numbers(["the", "cat", "00"]).tolist()
    assert encoded.tags.tolist() == [0, 1, 2]
    assert encoded.bigrams.shape == (3, 0)
    assert features.normal("Ab12") == "ab00"
    assert SpellingTable(features).encode(["new"], ["?"]).tags.tolist() == [-1]


def test_spellings_are_kept_once():
    features = make()
    table = SpellingTable(features)
    assert table.rows(["cat", "the", "cat"]).tolist() == [0, 1, 0]
    expected = features.characters.numbers("cat").tolist()
    assert table.table[0].tolist() == expected
    assert table.rows(["a" * 3 + "b" * 100 + "c" * 3]).tolist() == [2]
    assert table.table.shape == (3, LONGEST_WORD)
    assert table.table[0].tolist() == [*expected, *[0] * (LONGEST_WORD - 3)]


def test_bigrams():
    features = make(characters=False, bigrams=True, bigram_min_count=1)
    encoded = SpellingTable(features).encode(*SENTENCES[0])
    assert encoded.bigrams.shape == (3, 2)
    assert encoded.bigrams[0, 1] == encoded.bigrams[1, 0]
    assert len(set(encoded.bigrams.ravel().tolist())) == 4
    assert encoded.spellings.size == 0
    assert (SpellingTable(features).encode(["x", "y"]).bigrams == 1).all()


def test_further_words_and_counts():
    features = make(further_words=["zebra", "the", "<unk>"])
    assert "zebra" in features.words
    counts = features.counts(SENTENCES)
    assert counts[features.words.number("the")] == 1
    assert counts[features.words.number("zebra")] == 0
    assert counts.sum() == 5


@pytest.mark.parametrize("settings", [{}, {"characters": False, "bigrams": True, "lower": True}])
def test_there_and_back(tmp_path, settings):
    features = make(**settings)
    found = TaggerFeatures.load(features.save(tmp_path / "features.json"))
    assert found == features


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": "x"}, "holds no features of a tagger"),
        ({"words": "abc"}, "words is missing or of the wrong type"),
        ({"words": ["a", "a"]}, "is there twice"),
        ({"tags": []}, "tags are no list of different texts"),
        ({"tags": ["a", "a"]}, "tags are no list of different texts"),
        ({"tags": [1]}, "tags are no list of different texts"),
        ({"lower": 1}, "lower is missing or of the wrong type"),
    ],
)
def test_damaged_files(tmp_path, change, text):
    path = make().save(tmp_path / "features.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=text):
        TaggerFeatures.load(path)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such file"):
        TaggerFeatures.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(DataError, match="is not JSON"):
        TaggerFeatures.load(tmp_path / "bad.json")


def test_arrays_are_integers():
    for array in SpellingTable(make()).encode(*SENTENCES[1]):
        assert array.dtype == np.int64


def test_discrete_features():
    sentences = [
        (["The", "iPod", "17", "USA"], ["D", "N", "#", "N"], ["DT", "NN", "CD", "NN"]),
        (["running", "Dining"], ["V", "V"], ["VB", "VB"]),
    ]
    features = TaggerFeatures.of(sentences, ["D"], characters=False, discrete=["pos", "suffix-3", "capitals"])
    assert list(features.discrete) == ["capitals", "suffix-3", "pos"]
    assert features.discrete["suffix-3"].words[2:] == ["ing"]  # what is there once is unknown
    table = SpellingTable(features)
    encoded = table.encode(*sentences[0])
    kinds = [features.discrete["capitals"].words[i] for i in encoded.discrete[:, 0]]
    assert kinds == ["first", "mixed", "none", "upper"]
    assert encoded.discrete[:, 1].tolist() == [1, 1, 1, 1]
    assert encoded.discrete[1, 2] == encoded.discrete[3, 2] != encoded.discrete[0, 2]
    assert table.encode(["Going"], None, ["XX"]).discrete.tolist() == [
        [features.discrete["capitals"].number("first"), 2, 1]
    ]
    with pytest.raises(DataError, match="1 tokens and 0 parts of speech"):
        table.encode(["a"])
    with pytest.raises(DataError, match="discrete holds 'suffix-4', expected names from capitals, suffix-2"):
        make(discrete=["suffix-4"])


def test_discrete_features_there_and_back(tmp_path):
    features = make(discrete=["capitals", "suffix-2"])
    path = features.save(tmp_path / "features.json")
    assert TaggerFeatures.load(path) == features
    values = json.loads(path.read_text())
    for wrong in ([], {"suffix-2": [], "capitals": []}, {"shape": []}, {"capitals": 3}):
        path.write_text(json.dumps({**values, "discrete": wrong}))
        with pytest.raises(DataError, match="discrete is no mapping"):
            TaggerFeatures.load(path)
    del values["discrete"]  # as an earlier version wrote it
    path.write_text(json.dumps(values))
    assert TaggerFeatures.load(path).discrete == {}


def test_a_lexicon(tmp_path):
    lexicon = Lexicon({"ab": 3, "bcd": 1, "efghij": 0})
    sentences = [(list("abcd"), list("BEBE")), (list("xefghij"), list("SBMMMME"))]
    features = TaggerFeatures.of(sentences, list("BMES"), characters=False, lexicon=lexicon)
    assert tuple(features.discrete) == LEXICAL
    encoded = SpellingTable(features).encode(*sentences[0])
    shown = [
        [known.words[number] for number in encoded.discrete[:, column]]
        for column, known in enumerate(features.discrete.values())
    ]
    assert shown[0] == ["B", "E", "-", "-"]
    assert shown[1] == ["-", "B", "M", "E"]
    assert shown[4] == lexicon.path(list("abcd"))
    hidden = SpellingTable(features).encode(*sentences[0], hidden={"bcd"})
    assert (hidden.discrete[:, 0] == encoded.discrete[:, 0]).all()
    assert (hidden.discrete[:, 1] == features.discrete["lexicon-3"].number("-")).all()
    path = features.save(tmp_path / "features.json")
    assert TaggerFeatures.load(path) == features
    values = json.loads(path.read_text())
    for change, text in (
        ({"lexicon": 4}, "holds 3 words, but .* says 4"),
        ({"lexicon": None}, "lexicon is None, but the discrete features are lexicon-2"),
        ({"discrete": {}}, "lexicon is 3, but the discrete features are "),
    ):
        path.write_text(json.dumps({**values, **change}))
        with pytest.raises(DataError, match=text):
            TaggerFeatures.load(path)
    path.write_text(json.dumps(values))
    (tmp_path / "lexicon.txt").unlink()
    with pytest.raises(DataNotFoundError, match=r"lexicon\.txt: no such file"):
        TaggerFeatures.load(path)
    with pytest.raises(DataError, match="discrete holds 'lexicon-2', but lexicon is None"):
        make(discrete=["lexicon-2"])
