import numpy as np
import pytest

from dlkit.recipes.text_figures import (
    Explained,
    FilterView,
    Setting,
    fold_accuracies,
    ngram_table,
    saliency_lines,
    sweep_panels,
)
from dlkit.recipes.text_predictor import Ngram

Image = pytest.importorskip("PIL.Image")


def colours(path):
    with Image.open(path) as image:
        return len(image.convert("RGB").getcolors(1 << 24))


def test_pictures(tmp_path):
    ngrams = [Ngram(("a", "$x_1$"), 2.0, 0), Ngram(("word" * 30,), 1.0, 1)]
    views = [
        FilterView(3, 7, "good", ngrams),
        FilterView(5, 1, "bad", []),
        FilterView(5, 2, "bad", ngrams[:1]),
    ]
    assert colours(ngram_table(views, tmp_path / "n.png", title="t")) > 50
    sentences = [
        Explained(["a", "$good$", "film"] * 20, np.linspace(-1, 1, 60), "good", "bad"),
        Explained([], np.zeros(0), "bad", "bad"),
        Explained(["x"], np.zeros(1), "bad", "bad"),
    ]
    assert colours(saliency_lines(sentences, tmp_path / "s.png", title="t")) > 50
    assert colours(fold_accuracies([0.7, 0.8], tmp_path / "f.png", title="t")) > 20
    settings = [
        Setting("k", ["1", "2"], [[0.7, 0.75], [0.6]]),
        Setting("d", ["0"], [[0.5]]),
        Setting("activation", ["relu", "tanh"], [[0.7], [0.6]], joined=False),
    ]
    assert colours(sweep_panels(settings, tmp_path / "w.png", baseline=0.7, title="t")) > 20
