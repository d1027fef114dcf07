"""The card of a text model: what its weights belong to, so that a run folder can classify a sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlkit.data.tokens import treebank_words, words_of
from dlkit.models import TextCNN

from .card import FILE, CardError, read_format

VOCABULARY = "vocabulary.json"
FORMAT = "dlkit-text-model-1"
_SIZES = ("words", "classes", "dimensions", "filters", "k")


@dataclass(frozen=True)
class TextCard:
    """What a text model is, how sentences become words for it, and what it answers.

    Attributes
    ----------
    arguments
        Of `dlkit.models.TextCNN`.
    classes
        Class names.
    lower
        Whether upper case becomes lower case.
    treebank
        Whether its training sentences were cut into words already.
    """

    arguments: dict[str, Any]
    classes: list[str]
    lower: bool = True
    treebank: bool = False

    def build(self) -> TextCNN:
        """Make the model, its weights not yet loaded."""
        try:
            return TextCNN(**self.arguments)
        except (TypeError, ValueError) as error:
            raise CardError(f"{FILE}: arguments do not make a TextCNN: {error}") from error

    def words_of(self, sentence: str) -> list[str]:
        """Cut a person's sentence into words as the training sentences were."""
        words = words_of(sentence, lower=self.lower)
        return treebank_words(" ".join(words)) if self.treebank else words

    def as_dict(self) -> dict[str, Any]:
        """The card as it is written."""
        return {"format": FORMAT, "model": "TextCNN", **asdict(self)}

    def weights(self) -> int:
        """How many numbers its embedding and filters have at least."""
        a = self.arguments
        return int(a["words"] * a["dimensions"] + sum(a["regions"]) * a["dimensions"] * a["filters"])


def read_text_card(path: Path) -> TextCard:
    """Read a card; everything in it is checked before it is used.

    Raises
    ------
    CardError
        There is none, or it is damaged.
    """
    values = read_format(path, FORMAT, "a card of a text model")
    arguments, classes = values.get("arguments"), values.get("classes")
    if not isinstance(arguments, dict) or not all(_is_size(arguments.get(name)) for name in _SIZES):
        raise CardError(f"{path}: arguments: {', '.join(_SIZES)} are expected to be positive integers")
    regions = arguments.get("regions")
    if not isinstance(regions, list) or not regions or not all(_is_size(r) and r <= 4096 for r in regions):
        raise CardError(f"{path}: regions is {regions!r}, expected positive integers")
    if not isinstance(classes, list) or len(classes) != arguments["classes"]:
        raise CardError(f"{path}: classes is not a list of {arguments['classes']} names")
    if not all(isinstance(name, str) for name in classes):
        raise CardError(f"{path}: classes holds something that is no name")
    lower, treebank = values.get("lower"), values.get("treebank")
    if not isinstance(lower, bool) or not isinstance(treebank, bool):
        raise CardError(f"{path}: lower and treebank are expected to be true or false")
    return TextCard(arguments, classes, lower, treebank)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1 << 26
