"""Word vectors laid out in the plane, by principal components or t-SNE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

METHODS = ("auto", "pca", "tsne")
_FEWEST_TSNE = 4
_MANY = 50  # words that principal components no longer tell apart


@dataclass(frozen=True)
class EmbeddingMap:
    """Words as points of a plane, and the words that are nearest to each by the cosine of the whole vectors.

    Attributes
    ----------
    words
        Of the points; the most important first, which keep their names where there is no room for all.
    points
        float64, shape (words, 2).
    method
        ``"pca"`` or ``"tsne"``.
    explained
        Of principal components: the share of the variance that each of the two axes has. Else None.
    known
        All words that neighbours may be: `words` first, then those that are no points.
    neighbours
        int64, shape (words, k): places in `known`, the nearest first; -1 where there is none.
    cosines
        float32, shape (words, k).
    dimensions
        Of the vectors.
    counts
        int64, shape (words,): how often each word was in the text; or None.
    asked
        So many words at the beginning were asked for; the others were added because they are near to them.
    """

    words: Sequence[str]
    points: NDArray[np.float64]
    method: str
    explained: tuple[float, float] | None
    known: Sequence[str]
    neighbours: NDArray[np.int64]
    cosines: NDArray[np.float32]
    dimensions: int
    counts: NDArray[np.int64] | None = None
    asked: int = 0

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.words)

    @property
    def how(self) -> str:
        """How the points were found, in words."""
        if self.method == "tsne":
            return "t-SNE"
        if self.explained is None or not sum(self.explained):
            return "principal components"
        return f"principal components with {sum(self.explained):.0%} of the variance"


def chosen_method(words: int) -> str:
    """What ``auto`` means for so many words: t-SNE for 50 or more, where scikit-learn is installed, else PCA."""
    return "tsne" if words >= _MANY and find_spec("sklearn") is not None else "pca"


def principal_components(
    vectors: NDArray[Any], components: int = 2
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Project vectors onto the directions of their largest variance.

    Parameters
    ----------
    vectors
        Shape (N, D), finite.
    components
        How many directions; where there are fewer, the rest of the coordinates are 0.

    Returns
    -------
    points : float64 array of shape (N, components)
        Each column's largest element by magnitude is positive: directions have no sign of their own.
    explained : float64 array of shape (components,)
        The share of the variance along each; 0 where all vectors are the same.

    Notes
    -----
    Pearson 1901. Singular values of the centred vectors, in float64: 4 N D min(N, D) operations, some seconds for
    10,000 vectors of 300 numbers.
    """
    table = np.asarray(vectors, np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(
            f"principal_components: vectors is {table.shape}, expected (N, D), neither of them 0"
        )
    if not np.isfinite(table).all():
        raise ValueError("principal_components: vectors holds NaN or infinity, expected finite numbers")
    table = table - table.mean(axis=0)
    left, singular, _ = np.linalg.svd(table, full_matrices=False)
    # What is left of a variance of 0 is rounding.
    singular[singular <= np.finfo(np.float64).eps * max(table.shape) * max(float(singular[0]), 1e-300)] = 0
    points = np.zeros((len(table), components))
    shares = np.zeros(components)
    count = min(components, len(singular))
    points[:, :count] = left[:, :count] * singular[:count]
    total = float(singular @ singular)
    if total > 0:
        shares[:count] = singular[:count] ** 2 / total
    largest = np.abs(points).argmax(axis=0)
    points *= np.where(points[largest, np.arange(components)] < 0, -1.0, 1.0)
    return points, shares


def t_sne(vectors: NDArray[Any], *, perplexity: float | None = None, seed: int = 0) -> NDArray[np.float64]:
    """Lay vectors out so that what is near stays near, by scikit-learn's t-SNE, begun at the principal components.

    Parameters
    ----------
    vectors
        Shape (N, D), finite, N at least 4.
    perplexity
        About how many neighbours each is held to, above 0 and below N; None: 30, or a third of N if that is less.
    seed
        Of what scikit-learn draws.

    Returns
    -------
    float64 array of shape (N, 2)

    Raises
    ------
    ImportError
        scikit-learn is not installed.
    ValueError
        Fewer than 4 vectors, or a perplexity out of range.

    Notes
    -----
    Van der Maaten & Hinton, "Visualizing data using t-SNE", 2008. Only what is near has a meaning: neither the
    distances between groups nor their sizes do.
    """
    table = np.asarray(vectors)
    if table.ndim != 2 or len(table) < _FEWEST_TSNE:
        raise ValueError(
            f"t-SNE: {len(table)} word{'s' * (len(table) != 1)}, expected at least {_FEWEST_TSNE} (PCA takes fewer)"
        )
    if perplexity is None:
        perplexity = min(30.0, (len(table) - 1) / 3)
    if not 0 < perplexity < len(table):
        raise ValueError(
            f"t-SNE: perplexity is {perplexity:g}, expected above 0 and below {len(table)}, the words"
        )
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError(
            't-SNE needs scikit-learn: pip install "dlkit[cli]" (method pca needs it not)'
        ) from error
    start, _ = principal_components(table)
    spread = float(start[:, 0].std())
    if spread == 0:
        return np.zeros((len(table), 2))  # all the same: nothing to lay out
    layout = TSNE(perplexity=perplexity, init=(start * (1e-4 / spread)).astype(np.float32), random_state=seed)
    return np.asarray(layout.fit_transform(table.astype(np.float32)), np.float64)


__all__ = ["METHODS", "EmbeddingMap", "chosen_method", "principal_components", "t_sne"]
