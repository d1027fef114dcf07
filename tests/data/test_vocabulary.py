import json

import numpy as np
import pytest

from dlkit.data import DataError, DataNotFoundError, Vocabulary

SENTENCES = [["b", "a", "a"], ["c", "a", "b"], []]


def test_most_frequent_first_then_alphabetical():
    words = Vocabulary.of(SENTENCES)
    assert words.words == ["<pad>", "<unk>", "a", "b", "c"]
    assert list(words) == ["a", "b", "c"]
    assert len(words) == 5
    np.testing.assert_array_equal(words.numbers(["c", "x", "a"]), [4, 1, 2])
    assert words.numbers([]).shape == (0,)
    assert "a" in words
    assert "<pad>" not in words


def test_limits():
    assert list(Vocabulary.of(SENTENCES, min_count=2)) == ["a", "b"]
    assert list(Vocabulary.of(SENTENCES, max_size=1)) == ["a"]
    assert list(Vocabulary.of([["<pad>", "<unk>", "a"]])) == ["a"]
    with pytest.raises(DataError, match="min_count is 0"):
        Vocabulary.of(SENTENCES, min_count=0)


def test_save_and_load(tmp_path):
    words = Vocabulary(["film", "ärger", '"', "\\n"])
    words.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == words


@pytest.mark.parametrize("words", [["a", "a"], [""], [3], ["<unk>"]])
def test_wrong_words(words, tmp_path):
    with pytest.raises(DataError, match="Vocabulary: word"):
        Vocabulary(words)
    (tmp_path / "v.json").write_text(json.dumps({"format": "dlkit-vocabulary-1", "words": words}))
    with pytest.raises(DataError, match=r"v\.json: Vocabulary: word"):
        Vocabulary.load(tmp_path / "v.json")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": "x"}', '{"format": "dlkit-vocabulary-1"}', "[" * 99999]
)
def test_damaged_files(text, tmp_path):
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(DataError, match=r"v\.json"):
        Vocabulary.load(tmp_path / "v.json")
    with pytest.raises(DataNotFoundError, match="no such file"):
        Vocabulary.load(tmp_path / "none.json")
