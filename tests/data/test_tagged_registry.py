"""Tagged sentences by name."""

from __future__ import annotations

import lzma

import pytest

from dlkit.data import DataError, load_tagged, tagged_names
from dlkit.data.segmentation import kinds_from, words_from


@pytest.mark.parametrize(
    ("name", "task", "sentences", "tokens", "tags"),
    [
        ("ewt", "tokens", (12544, 2001, 2077), 25094, 17),
        ("gsd", "tokens", (3997, 500, 500), 12012, 15),
        ("wnut17", "entities", (3394, 1009, 1287), 23394, 13),
        ("gsdsimp-entities", "entities", (3997, 500, 500), 12012, 7),
        ("conll2000", "chunks", (7936, 1000, 2012), 47377, 22),
    ],
)
def test_official_sets(data_folder, name, task, sentences, tokens, tags):
    found = load_tagged(name)
    assert found.task == task
    assert (len(found.train), len(found.validation), len(found.test)) == sentences
    assert sum(len(s.tokens) for s in found.test) == tokens
    assert len(found.tags) == tags
    assert found.has_pos == (name == "conll2000")


@pytest.mark.parametrize("name", ["gsd-segmentation", "gsdsimp-segmentation"])
def test_words_of_chinese(data_folder, name):
    found = load_tagged(name)
    assert found.task == "segmentation"
    assert sum(len(words_from(s.tokens, s.tags)) for s in found.test) == 12012
    assert sorted(found.tags) == ["B", "E", "M", "S"]


def test_words_of_chinese_with_their_kinds(data_folder):
    found, plain = load_tagged("gsd-segmentation", joint=True), load_tagged("gsd-segmentation")
    words = load_tagged("gsd")
    assert found.task == "segmentation"
    for joint, alone, each in zip(found.test, plain.test, words.test, strict=True):
        assert joint.tokens == alone.tokens
        assert [tag[0] for tag in joint.tags] == alone.tags
        assert words_from(joint.tokens, joint.tags) == each.tokens
        assert kinds_from(joint.tags) == each.tags
    with pytest.raises(
        ValueError, match="joint tags need words with parts of speech, which ewt does not have"
    ):
        load_tagged("ewt", joint=True)


def test_kinds_of_simplified_words_are_those_of_traditional_ones(data_folder):
    found, plain = load_tagged("gsdsimp-segmentation", joint=True), load_tagged("gsdsimp-segmentation")
    other = load_tagged("gsd-segmentation", joint=True)
    same = 0
    for part in ("train", "validation", "test"):
        for joint, alone, traditional in zip(*(getattr(s, part) for s in (found, plain, other)), strict=True):
            assert joint.tokens == alone.tokens
            assert [tag[0] for tag in joint.tags] == alone.tags
            same += joint.tags == traditional.tags
    assert same == 3986 + 500 + 499  # the others differ in a border or in what stands for an ellipsis


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown set of tagged sentences 'ewd'.*did you mean 'ewt'"):
        load_tagged("ewd")
    assert tagged_names()[0] == "python"


def test_a_damaged_file_is_not_read(tmp_path, monkeypatch):
    folder = tmp_path / "wnut17"
    folder.mkdir()
    (folder / "wnut17train.conll.xz").write_bytes(lzma.compress(b"word\tO\n"))
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match="SHA-256 of its content is"):
        load_tagged("wnut17")
