"""A trained model taken from its run folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels
from dlkit.autograd import Tensor, no_grad
from dlkit.kernels.backend import move, resolve_device, to_host
from dlkit.kernels.recurrent import CELLS
from dlkit.models import cnn
from dlkit.models.sequence_model import count_parameters
from dlkit.nn import Module, load_safetensors
from dlkit.train import RunFolder

from .card import FILE, Card, CardError, read_card
from .settings import nearest

_BATCH = 512
AnyModule = TypeVar("AnyModule", bound=Module)


class PredictorError(ValueError):
    """A run folder holds no model that can predict, or samples do not fit it."""


@dataclass(frozen=True)
class Prediction:
    """Answers for some samples.

    Attributes
    ----------
    classes
        Class numbers, shape (N,).
    probabilities
        Of every class, shape (N, classes), or None if the model's scores have no scale (a perceptron).
    margins
        By how much the best score exceeds the second, shape (N,).
    """

    classes: NDArray[np.int64]
    probabilities: NDArray[Any] | None
    margins: NDArray[Any]


class Predictor:
    """A model in evaluation mode, with the names of its classes.

    Parameters
    ----------
    model
        The trained module.
    card
        What it takes and answers.
    device
        Where to compute.
    """

    def __init__(self, model: Module, card: Card, device: str = "cpu") -> None:
        self.device = resolve_device(device, "predict")
        self.model = model.eval().to(self.device)
        self.card = card

    def predict(self, x: ArrayLike) -> Prediction:
        """Classify samples.

        Parameters
        ----------
        x
            Shape (N, features), scaled as in training (images: 0 to 1).

        Raises
        ------
        PredictorError
            Another shape, no samples, or NaN or infinity among them.
        """
        samples = np.ascontiguousarray(x, dtype=np.float32)
        if samples.ndim != 2 or samples.shape[1] != self.card.features or not len(samples):
            raise PredictorError(
                f"predict: x is {samples.shape}, expected (N, {self.card.features}) with N > 0"
            )
        if not np.isfinite(samples).all():
            row = int(np.flatnonzero(~np.isfinite(samples).all(axis=1))[0])
            raise PredictorError(
                f"predict: x holds NaN or infinity (first in row {row}), expected finite numbers"
            )
        with no_grad():
            parts = [
                to_host(self.model(Tensor(move(samples[i : i + _BATCH], self.device))).data)
                for i in range(0, len(samples), _BATCH)
            ]
        scores: NDArray[Any] = np.concatenate(parts)
        probabilities = as_probabilities(scores, self.card.probabilities)
        if scores.shape[1] == 1:
            return Prediction((scores[:, 0] > 0).astype(np.int64), probabilities, np.abs(scores[:, 0]))
        top = np.partition(scores, -2, axis=1)[:, -2:]
        return Prediction(scores.argmax(axis=1), probabilities, top[:, 1] - top[:, 0])


def check_sentences(sentences: Sequence[str]) -> None:
    """Check what a classifier of sentences is given.

    Raises
    ------
    PredictorError
        There are none, or one is no text.
    """
    if isinstance(sentences, str) or not len(sentences):
        raise PredictorError("predict: expected a list of sentences, at least one")
    for number, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise PredictorError(f"predict: sentence {number} is a {type(sentence).__name__}, expected text")


def as_probabilities(scores: NDArray[Any], how: str) -> NDArray[Any] | None:
    """Turn outputs (N, classes) into probabilities by "softmax", or by "sigmoid" scaled to the sum 1."""
    if how == "softmax":
        return kernels.softmax(scores)
    if how == "sigmoid":
        each = kernels.sigmoid(scores)
        each /= np.maximum(each.sum(axis=1, keepdims=True), np.finfo(each.dtype).tiny)
        return each
    return None


def load_predictor(folder: str | os.PathLike[str], device: str = "cpu") -> Predictor:
    """Load the model of a run folder onto a device.

    Raises
    ------
    PredictorError
        The folder is not there, holds no trained model, or its files are damaged or do not fit each other.
    """
    path = Path(folder)
    try:
        card = read_card(find_card(path))
    except CardError as error:
        raise PredictorError(str(error)) from error
    state = trained_weights(path)
    return Predictor(with_weights(path, state, lambda: _weights_of(card), card.build), card, device)


def only_on_cpu(device: str, what: str) -> None:
    """Refuse any other device, for the models of `what`.

    Raises
    ------
    PredictorError
        As it says.
    """
    if device != "cpu":
        raise PredictorError(
            f"predict: device is {device}, expected cpu: {what} have no kernels for devices yet"
        )


def find_card(path: Path) -> Path:
    """The card of a run folder.

    Raises
    ------
    PredictorError
        The folder is not there, or has none.
    """
    if not path.is_dir():
        what = "is a file, expected a run folder" if path.exists() else "does not exist"
        hint = ""
        if not path.exists() and path.parent.is_dir():
            hint = nearest(path.name, [entry.name for entry in path.parent.iterdir() if entry.is_dir()])
        raise PredictorError(f"run folder {path} {what}{hint}")
    if not (path / FILE).is_file():
        if not (path / RunFolder.SETTINGS).is_file():
            raise PredictorError(f"run folder {path} has no run in it")
        raise PredictorError(f"run folder {path} has no {FILE}: this recipe trains no model that can predict")
    return path / FILE


def trained_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read the weights of a run folder.

    Raises
    ------
    PredictorError
        There are none, or they are damaged.
    """
    weights = path / RunFolder.MODEL
    if not weights.is_file():
        raise PredictorError(
            f"run folder {path} has no {RunFolder.MODEL}: its training has not ended; resume it first"
        )
    try:
        return load_safetensors(weights)
    except (ValueError, OSError) as error:
        raise PredictorError(f"{weights} cannot be read: {error}") from error


def with_weights(
    path: Path, state: dict[str, NDArray[Any]], needed: Callable[[], int], build: Callable[[], AnyModule]
) -> AnyModule:
    """Make the model that a card describes, and give it the weights of its run folder.

    Parameters
    ----------
    path
        The run folder, for errors.
    state
        What `trained_weights` found there.
    needed
        Counts what a model as the card describes it has at least. A card may ask for terabytes: the model is made only
        if its weights are there.
    build
        Makes the model.

    Raises
    ------
    PredictorError
        Card and weights do not fit each other.
    """
    held = sum(array.size for array in state.values())
    try:
        least = needed()
        if least > max(held, 1):
            raise CardError(
                f"run folder {path}: {FILE} describes a model of {least} weights or more, but {RunFolder.MODEL} "
                f"holds {held}"
            )
        model = build()
        model.load_state_dict(state)
    except CardError as error:
        raise PredictorError(str(error)) from error
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise PredictorError(f"run folder {path}: {RunFolder.MODEL} does not fit {FILE}: {error}") from error
    return model


def _weights_of(card: Card) -> int:
    if card.model == "CNN":
        needed = cnn.count_weights(**card.arguments)
        if prod(card.arguments["input_shape"]) != card.features:
            raise CardError(
                f"{FILE}: input_shape is {card.arguments['input_shape']} but features is {card.features}"
            )
        return needed
    return _sequence_weights(card) if card.model == "SequenceModel" else _linear_weights(card)


def _sequence_weights(card: Card) -> int:
    sizes = [card.arguments.get(name) for name in ("inputs", "hidden", "outputs")]
    cell = card.arguments.get("cell")
    if not all(isinstance(size, int) and size > 0 for size in sizes) or cell not in CELLS:
        raise CardError(
            f"{FILE}: arguments are {card.arguments}, expected positive sizes and a recurrent cell"
        )
    inputs, hidden, outputs = (int(size) for size in sizes if size is not None)
    if card.features % inputs:
        raise CardError(f"{FILE}: inputs is {inputs} but features is {card.features}, expected a multiple")
    return count_parameters(hidden, str(cell), inputs, outputs)


def _linear_weights(card: Card) -> int:
    sizes = [card.arguments.get("in_features", 1), *card.arguments.get("hidden", [])]
    sizes.append(card.arguments.get("out_features", 1))
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise CardError(f"{FILE}: arguments are {card.arguments}, expected positive sizes")
    return int(sum(a * b for a, b in pairwise(sizes)))
