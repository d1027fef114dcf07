"""A trained text model taken from its run folder, and what it looks at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.autograd import Tensor, no_grad
from dlkit.data import DataError, Vocabulary, pad_sentences
from dlkit.kernels.backend import move, resolve_device, to_host
from dlkit.models import TextCNN

from .card import FILE, CardError
from .predictor import (
    Prediction,
    PredictorError,
    as_probabilities,
    check_sentences,
    find_card,
    trained_weights,
    with_weights,
)
from .text_card import VOCABULARY, TextCard, read_text_card

_BATCH = 256


@dataclass(frozen=True)
class Ngram:
    """Words that excite a filter.

    Attributes
    ----------
    words
        As many as the filter sees, fewer where it looks past an end of the sentence.
    answer
        Of the filter, before its activation.
    sentence
        Which sentence they are in.
    """

    words: tuple[str, ...]
    answer: float
    sentence: int


class TextPredictor:
    """A text model in evaluation mode, with its vocabulary and the names of its classes.

    Parameters
    ----------
    model
        The trained model.
    vocabulary
        Its words.
    card
        How sentences become words, and what the model answers.
    device
        Where to compute.
    """

    def __init__(self, model: TextCNN, vocabulary: Vocabulary, card: TextCard, device: str = "cpu") -> None:
        self.device = resolve_device(device, "predict")
        self.model = model.eval().to(self.device)
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
        return self.predict_words([self.words(sentence) for sentence in sentences])

    def predict_words(self, sentences: Sequence[Sequence[str]]) -> Prediction:
        """Classify sentences that are cut into words already."""
        scores = self.scores([self.vocabulary.numbers(sentence) for sentence in sentences])
        probabilities = as_probabilities(scores, "softmax")
        if scores.shape[1] == 1:
            return Prediction(np.zeros(len(scores), np.int64), probabilities, scores[:, 0])
        top = np.partition(scores, -2, axis=1)[:, -2:]
        return Prediction(scores.argmax(axis=1), probabilities, top[:, 1] - top[:, 0])

    def scores(self, sentences: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        """The scores (N, classes) of sentences of word numbers: the same however they are batched."""
        # By length, so that little of a batch is padding.
        order = np.argsort([len(sentence) for sentence in sentences], kind="stable")
        out: NDArray[Any] | None = None
        with no_grad():
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                x = pad_sentences([sentences[row] for row in rows], self.model.before, self.model.after)
                some = to_host(self.model(move(x, self.device)).data)
                if out is None:
                    out = np.empty((len(sentences), some.shape[1]), some.dtype)
                out[rows] = some
        assert out is not None
        return out

    def saliency(self, words: Sequence[str], label: int | None = None) -> NDArray[np.float64]:
        """How much each word says for a class: minus what its vector's direction takes away, gradient times vector.

        Parameters
        ----------
        words
            Of a sentence.
        label
            The class, or None for the predicted.

        Returns
        -------
        ndarray of shape (words,)
            Positive: speaks for the class. For two classes or more the class's score is taken against the mean of all.

        Notes
        -----
        J. Li et al., "Visualizing and Understanding Neural Models in NLP", NAACL 2016.
        """
        model = self.model
        x = pad_sentences([self.vocabulary.numbers(words)], model.before, model.after)
        with no_grad():
            vectors = model.embed(move(x, self.device)).data
        leaf = Tensor(vectors.copy(), requires_grad=True)
        scores = model.classify(leaf)
        chosen = int(to_host(scores.data)[0].argmax()) if label is None else label
        (scores[0, chosen] - scores[0].mean()).backward()
        assert leaf.grad is not None
        products = to_host(leaf.grad.data * vectors)[0].sum(axis=1, dtype=np.float64)
        model.zero_grad()
        kept: NDArray[np.float64] = products[model.before : model.before + len(words)]
        return kept

    def ngrams(self, sentences: Sequence[Sequence[str]], most: int = 5) -> list[list[list[Ngram]]]:
        """The words that excite each filter most.

        Returns
        -------
        list
            For each region size, for each of its filters, up to `most` different n-grams, the most exciting first.
        """
        found: list[list[list[Ngram]]] = []
        model = self.model
        numbers = [self.vocabulary.numbers(sentence) for sentence in sentences]
        for conv, region in zip(model.convs, model.regions, strict=True):
            best: list[dict[tuple[str, ...], Ngram]] = [{} for _ in range(model.filters)]
            with no_grad():
                for start in range(0, len(numbers), _BATCH):
                    some = numbers[start : start + _BATCH]
                    x = pad_sentences(some, model.before, model.after)
                    turned = model.embed(move(x, self.device)).transpose(1, 2)
                    answers = to_host(conv(turned).data)
                    places, tops = answers.argmax(axis=2), answers.max(axis=2)
                    for row in range(len(some)):
                        self._keep(best, sentences, start + row, region, places[row], tops[row])
            found.append(
                [sorted(filter_.values(), key=lambda n: (-n.answer, n.words))[:most] for filter_ in best]
            )
        return found

    def _keep(
        self,
        best: list[dict[tuple[str, ...], Ngram]],
        sentences: Sequence[Sequence[str]],
        number: int,
        region: int,
        places: NDArray[Any],
        tops: NDArray[Any],
    ) -> None:
        words = sentences[number]
        for filter_, (place, answer) in enumerate(zip(places.tolist(), tops.tolist(), strict=True)):
            first = place - self.model.before
            seen = tuple(words[max(first, 0) : max(first + region, 0)])
            known = best[filter_].get(seen)
            if seen and (known is None or known.answer < answer):
                best[filter_][seen] = Ngram(seen, answer, number)


def load_text_predictor(folder: str | os.PathLike[str], device: str = "cpu") -> TextPredictor:
    """Load the text model of a run folder onto a device.

    Raises
    ------
    PredictorError
        The folder holds no trained text model, or its files are damaged or do not fit each other.
    """
    path = Path(folder)
    try:
        card = read_text_card(find_card(path))
        state = trained_weights(path)
        vocabulary = Vocabulary.load(path / VOCABULARY)
    except (CardError, DataError) as error:
        raise PredictorError(str(error)) from error
    if len(vocabulary) != card.arguments["words"]:
        raise PredictorError(
            f"run folder {path}: {VOCABULARY} has {len(vocabulary)} words, {FILE} says {card.arguments['words']}"
        )
    return TextPredictor(with_weights(path, state, card.weights, card.build), vocabulary, card, device)
