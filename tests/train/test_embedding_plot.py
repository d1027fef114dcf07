"""The picture of a map of words."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.models import KeyedVectors
from dlkit.train import draw_embedding_map, embedding_plot
from dlkit.train.embedding_plot import Taken

pytest.importorskip("matplotlib")


@pytest.fixture
def figure(monkeypatch):
    saved = []
    real = embedding_plot._save

    def save(figure, path):
        saved.append(figure)
        return real(figure, path)

    monkeypatch.setattr(embedding_plot, "_save", save)
    return lambda: saved[-1]


def test_names_do_not_overlap(rng, tmp_path, figure):
    words = [f"word{i}" for i in range(400)]
    points = KeyedVectors(words, rng.standard_normal((400, 10))).map()
    assert draw_embedding_map(points, tmp_path / "map.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    (axes,) = figure().axes
    names = [text.get_text() for text in axes.texts]
    assert "word0" in names  # the most important has one in any case
    assert 30 < len(names) < 400
    assert len(set(names)) == len(names)
    boxes = [text.get_window_extent() for text in axes.texts]
    # What is drawn may differ from what was measured by a pixel: hinting.
    low = np.array([[box.x0, box.y0] for box in boxes]) + 1
    high = np.array([[box.x1, box.y1] for box in boxes]) - 1
    overlap = ((low[:, None] < high[None]) & (high[:, None] > low[None])).all(axis=2)
    assert overlap.sum() == len(boxes)
    frame = axes.get_window_extent()
    assert (low > [frame.x0, frame.y0]).all()
    assert (high < [frame.x1, frame.y1]).all()


def test_words_are_taken_as_they_are(tmp_path, figure):
    words = ["$x^2$", "two\nlines", "a" * 100, "東京", "\\frac", "x"]
    points = KeyedVectors(words, np.eye(6)).map(["$x^2$", "a" * 100, "two\nlines"], near=3)
    draw_embedding_map(points, tmp_path / "map.png", title="100% $\\wrong$ _title_")
    names = [text.get_text() for text in figure().axes[0].texts]
    assert "$x^2$" in names
    assert "two�lines" in names
    assert "a" * 25 + "…" in names
    bold = {text.get_text() for text in figure().axes[0].texts if text.get_fontweight() == "bold"}
    assert bold == {"$x^2$", "a" * 25 + "…", "two�lines"}


def test_one_word(tmp_path, figure):
    draw_embedding_map(KeyedVectors(["alone"], [[1.0, 2.0]]).map(), tmp_path / "map.png")
    assert [text.get_text() for text in figure().axes[0].texts] == ["alone"]
    assert "1 word of 2 dimensions" in figure().get_suptitle()


def test_rectangles(rng):
    taken, kept = Taken(), []
    for left, bottom, width, height in rng.uniform(0, [500, 500, 120, 40], (300, 4)):
        box = (left, bottom, left + width, bottom + height)
        free = all(box[0] >= o[2] or box[2] <= o[0] or box[1] >= o[3] or box[3] <= o[1] for o in kept)
        assert taken.take(box) == free
        if free:
            kept.append(box)
    assert 20 < len(kept) < 280
