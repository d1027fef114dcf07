"""The recipes by name."""

from __future__ import annotations

import importlib

from .recipe import Recipe
from .settings import SettingsError, nearest

# name -> the module of this package that holds it as `RECIPE`; loaded when asked for.
_MODULES = {
    "perceptron": "perceptron",
    "softmax": "softmax",
    "mlp": "mlp",
    "cnn": "cnn",
    "bag-of-words": "bag_of_words",
    "text-cnn": "text_cnn",
    "vanishing-gradients": "vanishing_gradients",
    "word2vec": "word2vec",
    "ranking-lm": "ranking_lm",
    "ngram": "ngram",
    "nnlm": "nnlm",
    "lm": "lm",
    "window-tagger": "window_tagger",
    "senna": "senna",
    "tagger": "tagger",
    "xor": "xor",
    "gradient-descent": "gradient_descent",
    "graph": "graph",
}


def names() -> list[str]:
    """The names that `get` knows, in the order of the course."""
    return list(_MODULES)


def get(name: str) -> Recipe:
    """Return a recipe.

    Raises
    ------
    SettingsError
        The name is unknown; the message suggests the nearest.
    """
    key = str(name).strip().lower().replace("_", "-")
    if key not in _MODULES:
        raise SettingsError(
            f"unknown recipe {name!r}, expected one of {', '.join(_MODULES)}{nearest(key, _MODULES)}"
        )
    module = importlib.import_module(f"{__package__}.{_MODULES[key]}")
    recipe: Recipe = module.RECIPE
    return recipe


def recipes() -> list[Recipe]:
    """All recipes."""
    return [get(name) for name in _MODULES]
