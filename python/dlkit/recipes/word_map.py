"""The map of its words that a recipe leaves in its run folder."""

from __future__ import annotations

from importlib.util import find_spec

from dlkit.models import KeyedVectors
from dlkit.models.embedding_map import METHODS
from dlkit.train import RunFolder, draw_embedding_map, write_embedding_page

from .settings import SettingsError

#: What a setting `map` may be.
CHOICES = (*METHODS, "none")
PICTURE, PAGE = "map.png", "map.html"
_WORDS = 500


def check_map(how: str) -> None:
    """Raise `SettingsError` before any work where a map needs a package that is not there."""
    if how == "tsne" and find_spec("sklearn") is None:
        raise SettingsError('map is tsne, which needs scikit-learn: pip install "dlkit[cli]", or map pca')


def leave_map(vectors: KeyedVectors, run: RunFolder, how: str, *, title: str, seed: int = 0) -> None:
    """Draw the most frequent words into a run folder, as a picture and as a page.

    Parameters
    ----------
    how
        One of `CHOICES`: as `KeyedVectors.map` has it, or ``none``.
    """
    if how == "none":
        return
    points = vectors.map(topn=_WORDS, method=how, seed=seed % 2**32)
    draw_embedding_map(points, run.path(PICTURE), title=title)
    write_embedding_page(points, run.path(PAGE), title=title)
