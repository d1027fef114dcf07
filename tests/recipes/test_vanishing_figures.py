"""Pictures of contests; the others are drawn by the recipe's own tests."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.recipes.vanishing_figures import Contest, _limits, _middle, _smooth, contest_panels


def test_contests(tmp_path):
    curves = {"LSTM": [[0.5, 0.7], [0.4, 0.8]], "GRU": [[0.3, 0.6], [0.5, 0.9]]}
    finals = {"LSTM": [0.7, 0.8], "GRU": [0.6, 0.9]}
    path = contest_panels(
        [Contest("a", "test accuracy", curves, finals), Contest("b", "error", curves, finals, log=True)],
        tmp_path / "x.png",
        title="t",
    )
    assert path.read_bytes().startswith(b"\x89PNG")


def test_middle_is_the_median_and_says_nothing_of_zeros():
    norms = np.array([[0, 0, 1], [1, 100, 7], [1e-4, 1e-2, 0]])
    np.testing.assert_allclose(_middle(norms), [np.nan, 7, 1e-4])


def test_limits_hold_the_data_and_the_bounds():
    low, high = _limits([np.array([[1e-3, 1e-3], [1, 1]]), None], [((1.5, 2.0), np.array([0, 10]))])
    assert low < 1e-3
    assert high == pytest.approx(3 * 2.0**10)
    assert _limits([np.array([[1e-200], [1e200]])], []) == (1e-10, 1e6)


def test_smooth_is_a_running_median():
    values = np.ones(200)
    values[50] = 1e6
    np.testing.assert_array_equal(_smooth(values), 1)
    assert _smooth(np.zeros(0)).shape == (0,)
