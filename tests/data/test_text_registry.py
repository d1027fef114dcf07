import pytest

from dlkit.data import load_text, text_names


def test_names():
    assert text_names() == ["topics", "mr", "trec", "subj", "cr", "sst2", "sst5"]
    assert load_text("Topics ").name == "topics"


def test_unknown():
    with pytest.raises(ValueError, match=r"unknown set of sentences 'trek'.*did you mean 'trec'"):
        load_text("trek")


def test_a_treebank_with_and_without_phrases(data_folder):
    assert len(load_text("sst2", phrases=False)) == 9613
