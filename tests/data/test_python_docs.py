import numpy as np
import pytest

from dlkit.data import DataNotFoundError
from dlkit.data import python_docs as module
from dlkit.data.python_docs import load_python_docs, sentences_of


def test_the_set():
    data = load_python_docs()
    split = data.split()
    assert len(data) > 1500
    assert np.bincount(data.labels).min() > 100
    assert not set(split.train) & set(split.test)
    assert 0.18 < len(split.test) / len(data) < 0.21
    assert len({tuple(sentence) for sentence in data.sentences}) == len(data)
    assert min(map(len, data.sentences)) >= 4


def test_only_running_text():
    text = 'Title\n*****\n\nFirst one here. Second\none.\n\n   >>> f(x)\n   3.\n\n   a ::= "b".\n\nNo end'
    assert sentences_of(text) == ["First one here.", "Second one."]


def test_without_documentation(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    with pytest.raises(DataNotFoundError, match=r"without pydoc_data\.topics"):
        load_python_docs()
    assert module._FEWEST == 4
