"""Words drawn from what a language model says of the next one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def check_sample(start: NDArray[np.int64], count: int, temperature: float) -> None:
    """Raise ValueError where a text cannot be gone on with like this."""
    if start.ndim != 1 or not len(start):
        raise ValueError(f"sample: start is {start.shape}; expected one dimension of at least one token")
    if count < 0 or not 0 <= temperature < np.inf:
        raise ValueError(
            f"sample: count is {count} and temperature {temperature}; expected 0 or more of each"
        )


def draw_token(
    scores: NDArray[np.float64], temperature: float, rng: np.random.Generator, forbidden: tuple[int, ...] = ()
) -> int:
    """Draw one token.

    Parameters
    ----------
    scores
        Logits or log-probabilities, shape (words,); those of `forbidden` are lost.
    temperature
        They are divided by it; 0: the largest.
    rng
        Draws.
    forbidden
        Tokens that are not drawn.
    """
    scores[list(forbidden)] = -np.inf
    if temperature == 0:
        return int(scores.argmax())
    chances = np.exp((scores - scores.max()) / temperature)
    return int(rng.choice(len(chances), p=chances / chances.sum()))


def sample_from(
    after: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    start: NDArray[np.int64],
    count: int,
    seen: int,
    *,
    temperature: float = 1.0,
    rng: np.random.Generator | None = None,
    forbidden: tuple[int, ...] = (),
) -> NDArray[np.int64]:
    """Go on with a text by a model that sees some words of it.

    Parameters
    ----------
    after
        Gives the log-probabilities of all words after the last `seen` tokens, or all of a shorter text.
    start
        Token numbers to begin with, shape (N,), N at least 1.
    count
        Tokens to draw.
    seen
        Tokens that `after` is given at most.
    temperature, rng, forbidden
        As `draw_token` takes them; without `rng`, a new generator.

    Returns
    -------
    ndarray of shape (count,)
    """
    check_sample(start, count, temperature)
    rng = rng or np.random.default_rng()
    text = [int(token) for token in start]
    for _ in range(count):
        scores = after(np.array(text[-seen:], dtype=np.int64))
        text.append(draw_token(scores, temperature, rng, forbidden))
    return np.array(text[len(start) :], dtype=np.int64)
