"""A trained tagger taken from its run folder, and what it says of sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.autograd import Tensor, no_grad
from dlkit.data import DataError, iob, segmentation
from dlkit.data.python_tokens import tagged_lines
from dlkit.data.tagged_set import SPANS, TASKS
from dlkit.data.tagger_batches import TaggerBatch, pack_tagged
from dlkit.data.tagger_features import EncodedSentence, SpellingTable, TaggerFeatures
from dlkit.kernels.backend import device_of, move, resolve_device, to_host
from dlkit.models import (
    SentenceTagger,
    SequenceTagger,
    WindowTagger,
    sentence_tagger,
    sequence_tagger,
    window_tagger,
)
from dlkit.models.tagger import Tagger
from dlkit.nn import evaluation_mode

from .card import FILE, CardError, read_format
from .predictor import PredictorError, find_card, trained_weights, with_weights
from .tagger_scores import allowed_tags

FORMAT = "dlkit-sequence-tagger-1"
FEATURES = "features.json"
#: The taggers by the name that a card has for them, and what counts their weights.
TAGGERS: dict[str, tuple[type[Tagger], Callable[..., int]]] = {
    "SequenceTagger": (SequenceTagger, sequence_tagger.count_weights),
    "WindowTagger": (WindowTagger, window_tagger.count_weights),
    "SentenceTagger": (SentenceTagger, sentence_tagger.count_weights),
}
#: How a text becomes tokens.
CUTTING = ("english", "python", "characters", "spaces", "pos")
_BATCH = 64
_ENGLISH = re.compile(
    r"https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.-]+"  # addresses
    r"|[A-Za-z]+(?=n['’]t\b)|n['’]t\b|['’](?:s|m|d|re|ve|ll)\b"  # do n't, it 's
    r"|\d+(?:[.,:]\d+)*|(?:[A-Za-z]\.){2,}|\w+|\.{2,}|\S",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Tagged:
    """A sentence and what the tagger says of it.

    Attributes
    ----------
    tokens, tags
        One tag for each token.
    confidence
        The probability of each token's tag, shape (tokens,): with a conditional random field given all others, else by
        itself.
    """

    tokens: list[str]
    tags: list[str]
    confidence: NDArray[np.float64]


def run_tagger(
    model: Tagger,
    table: SpellingTable,
    sentences: Sequence[EncodedSentence],
    allowed: Any = None,
    *,
    with_loss: bool = False,
    with_confidence: bool = False,
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]], float]:
    """Tag encoded sentences in evaluation mode: tag numbers, their probabilities, and the mean loss of a token.

    Tokens with a tag that the training part does not have count for nothing in the loss; with a conditional random
    field, which gives a sentence's tags one probability, their sentences do. NaN where no token is left.
    """
    order = np.argsort([len(s.words) for s in sentences], kind="stable")
    tags: list[Any] = [None] * len(sentences)
    confidence: list[Any] = [np.zeros(0)] * len(sentences)
    total, tokens = 0.0, 0
    with evaluation_mode(model), no_grad():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch, labels = pack_tagged([sentences[row] for row in rows], table)
            scores = model(*batch.inputs)
            best = model.decode(scores, batch.batch_sizes, allowed)
            for row, found in zip(rows, batch.unpack(best, len(rows)), strict=True):
                tags[row] = found
            if with_loss:
                loss, counted = _known_loss(model, scores, labels, batch)
                total += loss
                tokens += counted
            if with_confidence:
                shares = _shares(model, scores._array, batch.batch_sizes)[np.arange(len(best)), best]
                for row, found in zip(rows, batch.unpack(shares, len(rows)), strict=True):
                    confidence[row] = found
    return tags, confidence, total / tokens if tokens else float("nan")


def _known_loss(
    model: Tagger, scores: Tensor, labels: NDArray[np.int64], batch: TaggerBatch
) -> tuple[float, int]:
    """The loss of a batch, summed over the tokens that count in it, and how many they are."""
    known, batch_sizes = labels >= 0, batch.batch_sizes
    if model.has_crf:
        known = ~np.isin(batch.sentence, batch.sentence[~known])
    if not known.any():
        return 0.0, 0
    if not known.all():
        # Rows that are left are in order, step after step; only a random field asks how many each step has.
        steps = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
        batch_sizes = np.bincount(steps[known]).tolist()
        scores = scores[move(np.flatnonzero(known), device_of(scores._array))]
        labels = labels[known]
    return model.loss(scores, labels, batch_sizes).item() * len(labels), len(labels)


def _shares(model: Tagger, scores: Any, batch_sizes: list[int]) -> NDArray[np.float64]:
    from dlkit import kernels

    if not model.has_crf:
        return to_host(kernels.softmax(scores)).astype(np.float64)
    crf = model.crf
    borders = (crf.start_transitions._array, crf.end_transitions._array)
    _, found = kernels.crf_loss_and_gradients(scores, None, batch_sizes, crf.transitions._array, *borders)
    return np.clip(to_host(found.emissions).astype(np.float64), 0, 1)


class TaggerPredictor:
    """A tagger in evaluation mode, with what it knows.

    Parameters
    ----------
    model
        The trained model.
    features
        How tokens and tags become numbers.
    task
        One of `dlkit.data.tagged_set.TASKS`.
    cutting
        One of `CUTTING`: how a text becomes tokens.
    device
        Where to compute: ``"cpu"``, ``"cuda"`` or ``"simt"``.
    """

    def __init__(
        self, model: Tagger, features: TaggerFeatures, task: str, cutting: str, device: str = "cpu"
    ) -> None:
        self.device = resolve_device(device, "predict")
        self.model, self.features, self.task, self.cutting = model.eval(), features, task, cutting
        self.model.to(self.device)
        self._allowed = allowed_tags(task, features.tags)

    def tokens(self, text: str) -> tuple[list[str], list[str] | None]:
        """Cut a text into tokens, and their parts of speech where the tagger reads them: ``He_PRP reckons_VBZ``.

        Raises
        ------
        PredictorError
            There are none in it, or one lacks its part of speech.
        """
        found = tokens_of(text, self.cutting)
        if not found:
            raise PredictorError(f"{text!r} holds no tokens")
        if self.cutting != "pos":
            return found, None
        pairs = [token.rpartition("_") for token in found]
        for token, (word, _, pos) in zip(found, pairs, strict=True):
            if not word or not pos:
                raise PredictorError(
                    f"token {token!r} has no part of speech, expected word_TAG, such as {token.strip('_')}_NN: the "
                    f"tagger reads them"
                )
        return [word for word, _, _ in pairs], [pos for _, _, pos in pairs]

    def predict(self, sentences: Sequence[str]) -> list[Tagged]:
        """Tag sentences.

        Raises
        ------
        PredictorError
            There are none, or one has no tokens.
        """
        if not sentences:
            raise PredictorError("there is no sentence, expected at least one")
        tokens = [self.tokens(sentence) for sentence in sentences]
        table = SpellingTable(self.features)
        encoded = [table.encode(words, None, pos) for words, pos in tokens]
        tags, shares, _ = run_tagger(self.model, table, encoded, self._allowed, with_confidence=True)
        return [
            Tagged(words, [self.features.tags[i] for i in numbers], confidence)
            for (words, _), numbers, confidence in zip(tokens, tags, shares, strict=True)
        ]

    def spans(self, tagged: Tagged) -> list[str]:
        """What the tags say: words, as ``word_KIND`` if they have kinds, or entities and chunks, ``kind: words``."""
        if self.task == "segmentation":
            words, kinds = (
                segmentation.words_from(tagged.tokens, tagged.tags),
                segmentation.kinds_from(tagged.tags),
            )
            return [f"{word}_{kind}" if kind else word for word, kind in zip(words, kinds, strict=True)]
        if self.task in SPANS:
            found = iob.entities_of(tagged.tags)
            return [f"{e.kind}: {' '.join(tagged.tokens[e.start : e.end])}" for e in found]
        return []


def tokens_of(text: str, cutting: str) -> list[str]:
    """Cut a text into tokens.

    Examples
    --------
    >>> tokens_of("I don't know, it's Bob's.", "english")
    ['I', 'do', "n't", 'know', ',', 'it', "'s", 'Bob', "'s", '.']
    """
    if cutting == "characters":
        return [character for character in text if not character.isspace()]
    if cutting == "python":
        return [token for tokens, _ in tagged_lines(text.strip() + "\n") for token in tokens]
    if cutting in ("spaces", "pos"):
        return text.split()
    return _ENGLISH.findall(text)


def load_tagger(folder: str | os.PathLike[str], device: str = "cpu") -> TaggerPredictor:
    """Load the tagger of a run folder.

    Raises
    ------
    CardError
        Its card is damaged.
    PredictorError
        There is no trained model, or its weights do not fit the card.
    """
    path = Path(folder)
    card = read_format(find_card(path), FORMAT, "a card of a tagger")
    arguments, task, cutting = card.get("arguments"), card.get("task"), card.get("cutting")
    kind = card.get("model")
    if (
        not isinstance(arguments, dict)
        or not isinstance(kind, str)
        or kind not in TAGGERS
        or task not in TASKS
        or cutting not in CUTTING
    ):
        raise CardError(f"{path / FILE}: model, arguments, task or cutting are not those of a tagger")
    state = trained_weights(path)
    try:
        features = TaggerFeatures.load(path / FEATURES)
    except DataError as error:
        raise CardError(str(error)) from error
    sizes: dict[str, Any] = {
        "words": len(features.words),
        "tags": len(features.tags),
        "characters": 0 if features.characters is None else len(features.characters),
        "bigrams": 0 if features.bigrams is None else len(features.bigrams),
        "discrete": [len(values) for values in features.discrete.values()],
    }
    missing: dict[str, Any] = {"characters": 0, "bigrams": 0, "discrete": []}
    wrong = [name for name, size in sizes.items() if arguments.get(name, missing.get(name)) != size]
    if wrong:
        raise CardError(f"{path / FILE}: {', '.join(wrong)} do not fit {FEATURES}")
    build, count = TAGGERS[kind]
    model = with_weights(path, state, lambda: count(**arguments), lambda: build(**arguments))
    return TaggerPredictor(model, features, task, cutting, device)
