"""A trained language model taken from its run folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.corpora import END, UNITS, UNKNOWN
from dlkit.kernels.backend import resolve_device
from dlkit.models import RecurrentLanguageModel
from dlkit.nn import load_safetensors
from dlkit.train import RunFolder

from .card import CardError
from .predictor import PredictorError

#: The name that every model's card has; its format tells them apart.
FILE = "model.json"
FORMAT = "dlkit-language-model-1"
_MAX_SIZE = 1 << 26
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
_LATER = {"softmax", "cutoffs", "samples"}  # that cards of former versions do not have


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
        self, model: RecurrentLanguageModel, words: list[str], units: str, device: str = "cpu"
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


def is_language_card(path: Path) -> bool:
    """Whether a file is, as far as its format says, the card of a language model."""
    try:
        return bool(_read(path).get("format") == FORMAT)
    except (OSError, CardError):
        return False


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_SIZE:
        raise CardError(f"{path}: {path.stat().st_size} bytes, expected at most {_MAX_SIZE}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path}: no JSON: {error}") from error
    if not isinstance(values, dict):
        raise CardError(f"{path}: a {type(values).__name__}, expected an object")
    return values


def load_language_model(folder: str | os.PathLike[str], device: str = "cpu") -> LanguagePredictor:
    """Load the language model of a run folder.

    Raises
    ------
    CardError
        Its card is damaged.
    PredictorError
        There is no finished model, or its weights do not fit the card.
    """
    path = Path(folder)
    try:
        card = _read(path / FILE)
    except OSError as error:
        raise PredictorError(
            f"run folder {path} has no {FILE}: no finished run of a language model"
        ) from error
    arguments, words, units = card.get("arguments"), card.get("words"), card.get("units")
    if not isinstance(arguments, dict) or not _ARGUMENTS <= set(arguments) <= _ARGUMENTS | _LATER:
        raise CardError(f"{path / FILE}: arguments are not those of a language model")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise CardError(f"{path / FILE}: words is no list of texts")
    if units not in UNITS or len(words) != arguments["words"] or len(set(words)) != len(words):
        raise CardError(
            f"{path / FILE}: {len(words)} words in {units!r} do not fit arguments or repeat themselves"
        )
    weights = path / RunFolder.MODEL
    if not weights.is_file():
        raise PredictorError(f"run folder {path} has no {RunFolder.MODEL}: the run is not finished")
    try:
        model = RecurrentLanguageModel(**arguments)
        model.load_state_dict(load_safetensors(weights))
    except (TypeError, ValueError, KeyError) as error:
        raise PredictorError(f"{weights} does not fit {FILE}: {error}") from error
    return LanguagePredictor(model, words, units, device)
