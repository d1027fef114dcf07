"""Recipes: data, model, settings and what they must reach, one file per ``dlkit train NAME``.

Examples
--------
>>> import dlkit as dl
>>> dl.recipes.names()
['perceptron', 'softmax', 'mlp', 'cnn', 'text-cnn', 'vanishing-gradients', 'lm', 'xor', 'gradient-descent', 'graph']
>>> result = dl.recipes.get("mlp").run(data="digits", run_dir="runs/mine")  # doctest: +SKIP
>>> result.metrics["test_accuracy"]  # doctest: +SKIP
0.98
"""

from __future__ import annotations

from .committee import Committee, load_committee
from .predictor import Predictor, PredictorError, load_predictor
from .recipe import Recipe, Result, RunOptions, Target
from .registry import get, names, recipes
from .settings import Settings, SettingsError

__all__ = [
    "Committee",
    "Predictor",
    "PredictorError",
    "Recipe",
    "Result",
    "RunOptions",
    "Settings",
    "SettingsError",
    "Target",
    "get",
    "load_committee",
    "load_predictor",
    "names",
    "recipes",
]
