"""A trained n-gram model taken from its run folder."""

from __future__ import annotations

import os
from math import log
from pathlib import Path

import numpy as np

from dlkit.models import NGramFileError, NGramModel

from .card import CardError, read_format
from .language_predictor import Surprise
from .predictor import PredictorError, find_card, only_on_cpu

FORMAT = "dlkit-ngram-model-1"
MODEL = "model.ngram"


class NGramPredictor:
    """An n-gram model that is asked as a recurrent one is."""

    units = "words"

    def __init__(self, model: NGramModel) -> None:
        self.model = model

    def surprise(self, text: str) -> Surprise:
        """How surprising a sentence is, word by word, and its end."""
        scores = self.model.word_scores(text)
        bits = np.array([-score.log_prob / log(2) for score in scores])
        return Surprise([score.word for score in scores], [score.known for score in scores], bits)

    def go_on(self, text: str, count: int, seed: int = 0) -> str:
        """Go on with a sentence until it ends: `count` words at most, drawn; ``<unk>`` is never drawn."""
        return " ".join(self.model.sample(count, text, seed=seed))


def load_ngram_model(folder: str | os.PathLike[str], device: str = "cpu") -> NGramPredictor:
    """Load the n-gram model of a run folder.

    Raises
    ------
    PredictorError
        There is no finished model, it is damaged, or the device is no CPU.
    """
    only_on_cpu(device, "n-gram models")
    path = Path(folder)
    try:
        read_format(find_card(path), FORMAT, "a card of an n-gram model")
        model = NGramModel.load(path / MODEL)
    except (CardError, NGramFileError) as error:
        raise PredictorError(str(error)) from error
    # An empty line is a sentence of its end alone.
    model.keep_empty = True
    return NGramPredictor(model)
