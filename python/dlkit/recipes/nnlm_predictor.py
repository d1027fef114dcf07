"""A trained feed-forward language model taken from its run folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dlkit.models import FeedForwardLanguageModel, MixtureLanguageModel, NGramFileError, NGramModel
from dlkit.models.feed_forward_language_model import count_weights

from .card import FILE, CardError, read_format
from .language_predictor import LanguagePredictor, words_of
from .ngram_predictor import MODEL
from .predictor import PredictorError, find_card, trained_weights, with_weights

FORMAT = "dlkit-feed-forward-language-model-1"
_SIZES = ("words", "order", "dimensions", "hidden", "end")
_ARGUMENTS = {*_SIZES, "direct", "dropout", "spread", "across"}


def load_feed_forward(folder: str | os.PathLike[str], device: str = "cpu") -> LanguagePredictor:
    """Load the network of a run folder, and the n-gram model that it was mixed with, as one model.

    Raises
    ------
    CardError
        Its card is damaged.
    PredictorError
        There is no trained model, or its weights do not fit the card.
    """
    path = Path(folder)
    card = read_format(find_card(path), FORMAT, "a card of a feed-forward language model")
    arguments, weight = card.get("arguments"), card.get("weight")
    if (
        not isinstance(arguments, dict)
        or set(arguments) != _ARGUMENTS
        or not all(type(arguments[name]) is int for name in _SIZES)
    ):
        raise CardError(f"{path / FILE}: arguments are not those of a feed-forward language model")
    words = words_of(card, arguments, path)
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool) and 0 <= weight <= 1
    if weight is not None and not number:
        raise CardError(f"{path / FILE}: weight is {weight!r}, expected a number from 0 to 1, or null")
    network = with_weights(
        path,
        trained_weights(path),
        lambda: count_weights(**arguments),
        lambda: FeedForwardLanguageModel(**arguments),
    )
    model: Any = network
    if weight is not None:
        try:
            model = MixtureLanguageModel(network, NGramModel.load(path / MODEL), words, weight)
        except (NGramFileError, ValueError, OSError) as error:
            raise PredictorError(str(error)) from error
    return LanguagePredictor(model, words, "words", device)
