"""Words drawn from scores."""

from __future__ import annotations

import numpy as np
import pytest

from dlkit.models.sampling import draw_token, sample_from


def test_frequencies_are_the_probabilities():
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.2])
    drawn = np.bincount([draw_token(np.log(p), 1.0, rng) for _ in range(4000)], minlength=3) / 4000
    np.testing.assert_allclose(drawn, p, atol=0.04)
    halved = np.bincount([draw_token(np.log(p), 0.5, rng) for _ in range(4000)], minlength=3) / 4000
    np.testing.assert_allclose(halved, p**2 / (p**2).sum(), atol=0.04)
    without = [draw_token(np.log(p), 1.0, rng, (0,)) for _ in range(50)]
    assert set(without) == {1, 2}
    assert draw_token(np.log(p), 0, rng) == 0


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("scores", [[1.0, 2.0, -np.inf], [np.nan, 0.0, 1.0], [np.inf, 0.0, 1.0]])
def test_there_must_be_a_token_to_draw(temperature, scores):
    forbidden = (0, 1) if scores[2] < 0 else ()
    with pytest.raises(ValueError, match=f"without the {len(forbidden)} forbidden tokens"):
        draw_token(np.array(scores), temperature, np.random.default_rng(0), forbidden)


def test_a_model_is_given_no_more_than_it_sees():
    given = []

    def after(tokens):
        given.append(tokens.tolist())
        return np.log(np.eye(9)[(tokens[-1] + 1) % 9] + 1e-9)

    assert sample_from(after, np.array([1, 2]), 4, 3, temperature=0).tolist() == [3, 4, 5, 6]
    assert given == [[1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    with pytest.raises(ValueError, match="start"):
        sample_from(after, np.zeros((1, 1), int), 1, 3)
