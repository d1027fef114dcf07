"""A linear classifier of bags of words taken from its run folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.autograd import Tensor, no_grad
from dlkit.data import BagOfWords, DataError, Vocabulary
from dlkit.data.bag_of_words import WEIGHTINGS
from dlkit.data.tokens import treebank_words, words_of
from dlkit.models import SoftmaxRegression

from .card import FILE, CardError, read_format
from .predictor import (
    Prediction,
    PredictorError,
    as_probabilities,
    check_sentences,
    find_card,
    only_on_cpu,
    trained_weights,
    with_weights,
)
from .text_card import VOCABULARY

FORMAT = "dlkit-bag-of-words-1"
_BATCH = 256


@dataclass(frozen=True)
class BagCard:
    """How sentences become rows, and what the model answers.

    Attributes
    ----------
    classes
        Class names.
    weighting
        Of `dlkit.data.BagOfWords`.
    documents, document_counts
        The same.
    lower, treebank
        As in `TextCard`.
    """

    classes: list[str]
    weighting: str
    documents: int
    document_counts: list[int]
    lower: bool = True
    treebank: bool = False

    def words_of(self, sentence: str) -> list[str]:
        """Cut a person's sentence into words as the training sentences were."""
        words = words_of(sentence, lower=self.lower)
        return treebank_words(" ".join(words)) if self.treebank else words

    def as_dict(self) -> dict[str, Any]:
        """The card as it is written."""
        return {"format": FORMAT, **self.__dict__}


class BagPredictor:
    """A linear classifier with its words and the names of its classes.

    Parameters
    ----------
    model
        The trained model.
    vocabulary
        Its words, a column each.
    card
        How sentences become words, and what the model answers.
    """

    def __init__(self, model: SoftmaxRegression, vocabulary: BagOfWords, card: BagCard) -> None:
        self.model = model.eval()
        self.vocabulary = vocabulary
        self.card = card

    def words(self, sentence: str) -> list[str]:
        """Cut a sentence into words as the training sentences were."""
        return self.card.words_of(sentence)

    def predict(self, sentences: Sequence[str]) -> Prediction:
        """Classify sentences.

        Raises
        ------
        PredictorError
            There are none, or one is no text.
        """
        check_sentences(sentences)
        scores = self.scores([self.words(sentence) for sentence in sentences])
        top = np.partition(scores, -2, axis=1)[:, -2:]
        return Prediction(scores.argmax(axis=1), as_probabilities(scores, "softmax"), top[:, 1] - top[:, 0])

    def scores(self, sentences: Sequence[Sequence[str]]) -> NDArray[Any]:
        """The scores (N, classes) of sentences of words."""
        rows = self.vocabulary.transform(sentences)
        with no_grad():
            parts = [
                self.model(Tensor(rows.take(np.arange(i, min(i + _BATCH, len(rows)))).dense())).data
                for i in range(0, len(rows), _BATCH)
            ]
        return np.concatenate(parts)


def load_bag_predictor(folder: str | os.PathLike[str], device: str = "cpu") -> BagPredictor:
    """Load the classifier of a run folder.

    Raises
    ------
    PredictorError
        The folder holds no trained classifier of bags of words, or its files are damaged or do not fit each other; or
        the device is another than the CPU.
    """
    only_on_cpu(device, "bags of words")
    path = Path(folder)
    try:
        card = _read_card(find_card(path))
        state = trained_weights(path)
        words = list(Vocabulary.load(path / VOCABULARY))
        bag = BagOfWords(
            words,
            card.weighting,
            documents=card.documents,
            document_counts=np.array(card.document_counts, np.int64),
        )
    except (CardError, DataError) as error:
        raise PredictorError(f"run folder {path}: {error}") from error
    size, classes = len(words), len(card.classes)
    model = with_weights(path, state, lambda: size * classes, lambda: SoftmaxRegression(size, classes))
    return BagPredictor(model, bag, card)


def _read_card(path: Path) -> BagCard:
    values = read_format(path, FORMAT, "a card of a classifier of bags of words")
    classes, counts = values.get("classes"), values.get("document_counts")
    if (
        not isinstance(classes, list)
        or len(classes) < 2
        or not all(isinstance(name, str) for name in classes)
    ):
        raise CardError(f"{FILE}: classes is no list of two names or more")
    if values.get("weighting") not in WEIGHTINGS:
        raise CardError(f"{FILE}: weighting is {values.get('weighting')!r}, expected {', '.join(WEIGHTINGS)}")
    documents = values.get("documents")
    if not _whole(documents) or not isinstance(counts, list) or not all(map(_whole, counts)):
        raise CardError(f"{FILE}: documents and document_counts are expected to be integers")
    lower, treebank = values.get("lower"), values.get("treebank")
    if not isinstance(lower, bool) or not isinstance(treebank, bool):
        raise CardError(f"{FILE}: lower and treebank are expected to be true or false")
    return BagCard(classes, values["weighting"], values["documents"], counts, lower, treebank)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
