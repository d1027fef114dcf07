"""The map that a recipe leaves in its run folder."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.models import KeyedVectors
from dlkit.recipes import word_map
from dlkit.recipes.settings import SettingsError
from dlkit.recipes.word_map import check_map, leave_map
from dlkit.train import RunFolder

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("words", [1, 3, 60])
@pytest.mark.parametrize("how", ["auto", "pca", "tsne"])
def test_a_map_of_few_words_or_many(tmp_path, rng, words, how):
    pytest.importorskip("sklearn")
    run = RunFolder(tmp_path / "run", {})
    vectors = KeyedVectors([f"w{i}" for i in range(words)], rng.standard_normal((words, 5)))
    leave_map(vectors, run, how, title="Words", seed=2**40)
    assert run.path("map.png").read_bytes().startswith(b"\x89PNG")
    page = run.path("map.html").read_text()
    assert ("t-SNE" in page) == (words == 60 and how != "pca")


def test_none(tmp_path):
    run = RunFolder(tmp_path / "run", {})
    leave_map(KeyedVectors(["a"], np.ones((1, 2))), run, "none", title="Words")
    assert not run.path("map.png").exists()
    assert not run.path("map.html").exists()


def test_t_sne_without_scikit_learn_is_an_error_before_any_work(monkeypatch):
    check_map("tsne")
    monkeypatch.setattr(word_map, "find_spec", lambda name: None)
    check_map("auto")
    with pytest.raises(SettingsError, match="map is tsne, which needs scikit-learn"):
        check_map("tsne")
