from __future__ import annotations

import pytest

from dlkit.data import DataError
from dlkit.recipes import Target, get
from dlkit.recipes.settings import SettingsError
from dlkit.train import RunFolderError


def test_defaults_follow_the_data_set():
    recipe = get("mlp")
    digits, mnist = recipe.settings(), recipe.settings(data="mnist")
    assert digits.data == "digits"
    assert digits.batch_size != mnist.batch_size
    assert recipe.settings(data="mnist", batch_size=7).batch_size == 7


def test_errors_name_the_recipe():
    with pytest.raises(
        SettingsError, match=r"mlp: data is 'mnsit', expected one of .* \(did you mean 'mnist'\?\)"
    ):
        get("mlp").settings(data="mnsit")
    with pytest.raises(SettingsError, match=r"softmax: unknown setting 'hiden'"):
        get("softmax").settings(hiden=3)
    with pytest.raises(SettingsError, match=r"mlp: momentum is 0\.9 but optimizer is adam"):
        get("mlp").settings(momentum=0.9)


def test_resume_needs_a_folder(tmp_path):
    with pytest.raises(SettingsError, match="resume needs run_dir"):
        get("xor").run(resume=True)
    with pytest.raises(SettingsError, match="resume and overwrite"):
        get("xor").run(run_dir=tmp_path, resume=True, overwrite=True)


def test_a_data_set_and_a_text_of_ones_own(tmp_path):
    text = tmp_path / "mine.txt"
    text.write_text("a b\n" * 40, encoding="utf-8")
    with pytest.raises(
        SettingsError, match=r"^ngram: data and corpus are both given, expected one of them at most"
    ):
        get("ngram").run(data="topics", corpus=str(text), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_on_its_input_leaves_nothing(tmp_path):
    text, folder = tmp_path / "mine.txt", tmp_path / "run"
    text.write_text("", encoding="utf-8")
    for _ in range(2):  # the second is not told that the first is in its way
        with pytest.raises(DataError, match="mine"):
            get("word2vec").run(corpus=str(text), run_dir=folder)
        assert not folder.exists()
    folder.mkdir()  # one that was there stays
    with pytest.raises(DataError, match="mine"):
        get("word2vec").run(corpus=str(text), run_dir=folder)
    assert not any(folder.iterdir())
    text.write_text("a b c d\n" * 40, encoding="utf-8")
    get("word2vec").run(corpus=str(text), run_dir=folder, min_count=1, epochs=1, map="none")
    before = sorted(entry.name for entry in folder.iterdir())
    with pytest.raises(RunFolderError, match="holds a run already"):
        get("word2vec").run(corpus=str(text), run_dir=folder)
    assert sorted(entry.name for entry in folder.iterdir()) == before


def test_target():
    target = Target("at least 90%", "test_accuracy", 0.9)
    assert target.reached({"test_accuracy": 0.9})
    assert not target.reached({"test_accuracy": 0.89})
    assert not target.reached({})
