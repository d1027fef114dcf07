"""The dictionary of jieba as a list of words."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture
def chinese(monkeypatch, tmp_path):
    """The script, with a package jieba of three words."""
    package = tmp_path / "packages" / "jieba"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('not to be imported')\n")
    (package / "dict.txt").write_text("汉字 3 n\n头发 12 n\nC# 3 nz\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "bench"))
    module = importlib.import_module("chinese")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.delitem(sys.modules, "jieba", raising=False)
    return module


def test_simplified(chinese, tmp_path):
    path = chinese.jieba_lexicon("simplified", tmp_path)
    assert path == tmp_path / "packages" / "jieba" / "dict.txt"


def test_traditional(chinese, tmp_path):
    pytest.importorskip("opencc", reason="opencc is not installed")
    path = chinese.jieba_lexicon("traditional", tmp_path / "made")
    assert path.read_text(encoding="utf-8").splitlines() == ["漢字 3", "頭髮 12", "C# 3"]
    path.write_text("as it was")
    assert chinese.jieba_lexicon("traditional", tmp_path / "made").read_text() == "as it was"


def test_what_is_not_installed(chinese, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(SystemExit, match="opencc is not installed"):
        chinese.jieba_lexicon("traditional", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="jieba is not installed"):
        chinese.jieba_lexicon("simplified", tmp_path)
