"""Words drawn from what a language model says of the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit.autograd.base import as_array
from dlkit.kernels.backend import to_host


def checked_tokens(tokens: ArrayLike, operation: str, argument: str, least: int) -> NDArray[np.int64]:
    """Return token numbers as an array of the host.

    Raises
    ------
    TypeError
        They are no integers.
    ValueError
        They have not one dimension, or are fewer than `least`.
    """
    array: NDArray[Any] = to_host(as_array(tokens, operation, argument))
    if array.ndim != 1 or len(array) < least:
        expected = f"at least {least} tokens" if least > 1 else "at least one token"
        raise ValueError(f"{operation}: {argument} is {array.shape}; expected one dimension of {expected}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{operation}: {argument} has dtype {array.dtype}; expected integers")
    return array.astype(np.int64, copy=False)


def check_sample(start: ArrayLike, count: int, temperature: float) -> NDArray[np.int64]:
    """Return the tokens to begin with; raise TypeError or ValueError where they cannot be gone on with like this."""
    tokens = checked_tokens(start, "sample", "start", 1)
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"sample: count is a {type(count).__name__}; expected an integer")
    if count < 0 or not 0 <= temperature < np.inf:
        raise ValueError(
            f"sample: count is {count} and temperature {temperature}; expected 0 or more of each"
        )
    return tokens


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

    Raises
    ------
    ValueError
        All tokens are forbidden or impossible, or a score is no number.
    """
    scores[list(forbidden)] = -np.inf
    largest = scores.max()
    if not np.isfinite(largest):
        raise ValueError(
            f"sample: the largest score is {largest} without the {len(forbidden)} forbidden tokens; expected a finite "
            f"one of a token that can be drawn"
        )
    if temperature == 0:
        return int(scores.argmax())
    chances = np.exp((scores - largest) / temperature)
    return int(rng.choice(len(chances), p=chances / chances.sum()))


def sample_from(
    after: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    start: ArrayLike,
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
    text = check_sample(start, count, temperature).tolist()
    begun = len(text)
    rng = rng or np.random.default_rng()
    for _ in range(count):
        scores = after(np.array(text[-seen:], dtype=np.int64))
        text.append(draw_token(scores, temperature, rng, forbidden))
    return np.array(text[begun:], dtype=np.int64)
