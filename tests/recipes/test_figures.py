from __future__ import annotations

import numpy as np
import pytest

from dlkit.recipes.figures import Contender, Descent, boundaries, class_weights, descents

pytest.importorskip("matplotlib")


def picture(path):
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 200
    return pixels


def test_class_weights_shows_signs_in_two_colours(tmp_path):
    weight = np.zeros((3, 16), np.float32)
    weight[0], weight[1] = 1, -1
    path = class_weights(weight, tmp_path / "w.png", classes=["a", "b", "c"], image_shape=(4, 4))
    pixels = picture(path).reshape(-1, 3)
    bluish = (pixels[:, 2] - pixels[:, 0] > 0.2).mean()
    reddish = (pixels[:, 0] - pixels[:, 2] > 0.2).mean()
    assert bluish > 0.1
    assert reddish > 0.1


def test_boundaries_draws_every_contender(tmp_path):
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    left = Contender("left", lambda p: (p[:, 0] > 0.5).astype(int), [2, 2])
    right = Contender(
        "right",
        lambda p: ((p[:, 0] > 0.5) != (p[:, 1] > 0.5)).astype(int),
        [2, 0],
        lines=[(1, 0, -0.5), (0, 1, -0.5)],
    )
    one = picture(boundaries([left], x, y, tmp_path / "one.png"))
    two = picture(boundaries([left, right], x, y, tmp_path / "two.png"))
    assert two.shape[1] > 1.5 * one.shape[1]


def test_descents(tmp_path):
    points = np.arange(1, 20, dtype=np.float64)
    runs = [Descent(f"run {i}", points, points / 100, np.exp(-points / (i + 3))) for i in range(3)]
    picture(descents(runs, tmp_path / "d.png", title="three"))
