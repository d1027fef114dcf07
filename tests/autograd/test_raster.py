from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import draw

pytest.importorskip("matplotlib")


def pixels(path):
    from matplotlib.image import imread

    return imread(path)


def test_a_picture_with_everything_in_it(tmp_path):
    a = dl.Tensor(2.0, requires_grad=True, name="a")
    b = dl.Tensor(1.0, requires_grad=True, name="b")
    image = pixels(draw((a + b) * (b + 1), tmp_path / "graph.png"))[..., :3]
    height, width = image.shape[:2]
    assert (width, height) > (600, 300)
    # The margin is white; leaves are blue, the result is green, derivatives are red.
    assert (image[:20] == 1).all()
    for colour in ("dbe9f9", "dcf2dc", "eeeeee"):
        wanted = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        assert (np.abs(image - wanted).max(axis=2) < 0.01).mean() > 0.005, colour
    red = (image[..., 0] > 0.6) & (image[..., 1] < 0.4) & (image[..., 2] < 0.4)
    assert red.sum() > 500


def test_a_name_in_the_language_of_formulas(tmp_path):
    # Two dollar signs would start a formula; this one is none that matplotlib could read.
    x = dl.Tensor(2.0, requires_grad=True, name=r"$\nonsense{$")
    draw(x * 3, tmp_path / "graph.png")


def test_a_graph_too_wide_for_matplotlib_at_full_resolution(tmp_path):
    x = dl.tensor(1.0, requires_grad=True)
    for _ in range(250):
        x = x.exp()
    image = pixels(draw(x, tmp_path / "graph.png"))
    assert 20_000 < image.shape[1] < 2**16


def test_nothing_is_left_open(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    x = dl.tensor(1.0, requires_grad=True)
    draw(x * 2, tmp_path / "graph.png")
    assert not pyplot.get_fignums()
