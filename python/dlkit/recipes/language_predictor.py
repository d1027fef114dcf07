"""A trained language model taken from its run folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.corpora import END, UNITS, UNKNOWN
from dlkit.kernels.backend import resolve_device
from dlkit.models import FeedForwardLanguageModel, MixtureLanguageModel, RecurrentLanguageModel
from dlkit.models.language_model import count_weights

from .card import FILE, CardError, read_format
from .predictor import PredictorError, find_card, trained_weights, with_weights

FORMAT = "dlkit-language-model-1"
_ARGUMENTS = {
    "words",
    "dimensions",
    "hidden",
    "layers",
    "cell",
    "dropout",
    "recurrent_dropout",
    "tied",
    "spread",
}
_LATER = {"softmax", "cutoffs", "samples", "div_value"}  # that cards of former versions do not have


@dataclass(frozen=True)
class Surprise:
    """What each token of a text cost.

    Attributes
    ----------
    tokens
        Of the text, and the end of the line.
    known
        Whether the model knows each of them.
    bits
        Minus the binary logarithm of each one's probability after those before it, shape (tokens,).
    """

    tokens: list[str]
    known: list[bool]
    bits: NDArray[np.float64]

    @property
    def perplexity(self) -> float:
        """Two to the mean surprise."""
        return float(2 ** self.bits.mean())


class LanguagePredictor:
    """A language model in evaluation mode, with its words.

    Parameters
    ----------
    model
        The trained model.
    words
        What its numbers stand for.
    units
        "words" or "characters".
    device
        Where to compute.
    """

    def __init__(
        self,
        model: RecurrentLanguageModel | FeedForwardLanguageModel | MixtureLanguageModel,
        words: list[str],
        units: str,
        device: str = "cpu",
    ) -> None:
        self.device = resolve_device(device, "predict")
        self.model = model.eval().to(self.device)
        self.words, self.units = words, units
        self._number = {word: i for i, word in enumerate(words)}
        self._end = "\n" if units == "characters" else END

    def _tokens(self, text: str) -> list[str]:
        return list(text) if self.units == "characters" else text.split()

    def _numbers(self, tokens: list[str]) -> NDArray[np.int64]:
        unknown = self._number.get(UNKNOWN)
        numbers = [self._number.get(token, unknown) for token in tokens]
        if None in numbers:
            token = tokens[numbers.index(None)]
            raise PredictorError(f"the model does not know {token!r}, and has no {UNKNOWN} in its place")
        return np.array(numbers, dtype=np.int64)

    def surprise(self, text: str) -> Surprise:
        """How surprising a line of text is, beginning after the end of another line."""
        tokens = self._tokens(text)
        line = [*tokens, self._end]
        numbers = self._numbers([self._end, *line])
        bits = self.model.surprises(numbers) / log(2)
        return Surprise(line, [token in self._number for token in line], bits)

    def go_on(self, text: str, count: int, temperature: float = 0.8, seed: int = 0) -> str:
        """Go on with a text: `count` tokens, drawn; ``<unk>`` is never drawn."""
        numbers = self._numbers([self._end, *self._tokens(text)])
        forbidden = (self._number[UNKNOWN],) if UNKNOWN in self._number else ()
        drawn = self.model.sample(
            numbers, count, temperature=temperature, rng=np.random.default_rng(seed), forbidden=forbidden
        )
        words = [self.words[i] for i in drawn]
        if self.units == "characters":
            return "".join(words)
        return " ".join("\n" if word == END else word for word in words).replace(" \n ", "\n")


def load_language_model(folder: str | os.PathLike[str], device: str = "cpu") -> LanguagePredictor:
    """Load the language model of a run folder.

    Raises
    ------
    CardError
        Its card is damaged.
    PredictorError
        There is no trained model, or its weights do not fit the card.
    """
    path = Path(folder)
    card = read_format(find_card(path), FORMAT, "a card of a language model")
    arguments, units = card.get("arguments"), card.get("units")
    if not isinstance(arguments, dict) or not _ARGUMENTS <= set(arguments) <= _ARGUMENTS | _LATER:
        raise CardError(f"{path / FILE}: arguments are not those of a language model")
    if units not in UNITS:
        raise CardError(f"{path / FILE}: units {units!r} do not fit, expected one of {', '.join(UNITS)}")
    words = words_of(card, arguments, path)
    model = with_weights(
        path,
        trained_weights(path),
        lambda: count_weights(**arguments),
        lambda: RecurrentLanguageModel(**arguments),
    )
    return LanguagePredictor(model, words, units, device)


def words_of(card: dict[str, Any], arguments: dict[str, Any], path: Path) -> list[str]:
    """The words of a language model's card.

    Raises
    ------
    CardError
        They are no texts, repeat themselves, or are not as many as its arguments say.
    """
    words = card.get("words")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise CardError(f"{path / FILE}: words is no list of texts")
    if len(words) != arguments["words"] or len(set(words)) != len(words):
        raise CardError(f"{path / FILE}: {len(words)} words do not fit arguments or repeat themselves")
    return words
