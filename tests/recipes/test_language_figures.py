"""Pictures of language models."""

from __future__ import annotations

import numpy as np

from dlkit.recipes.language_figures import mixture_curve


def test_the_curve_of_a_mixture(tmp_path):
    texts = {"one": (np.log([0.5, 0.2]), np.log([0.3, 0.4])), "two": (np.zeros(2), np.array([-1.0, -np.inf]))}
    assert mixture_curve(texts, 0.5, tmp_path / "m.png", title="t").is_file()
