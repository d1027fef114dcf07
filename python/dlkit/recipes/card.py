"""The card of a model: what its weights belong to, so that a run folder can predict without its data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlkit import models
from dlkit.data import DataError, Dataset
from dlkit.data.json_file import read_object
from dlkit.nn import Module

from .settings import nearest

FILE = "model.json"
_FORMAT = "dlkit-model-1"
_MODELS: dict[str, Any] = {
    "CNN": models.CNN,
    "MLP": models.MLP,
    "Perceptron": models.Perceptron,
    "SequenceModel": models.SequenceModel,
    "SoftmaxRegression": models.SoftmaxRegression,
}
#: How the outputs become probabilities; "none": they are scores without a scale.
PROBABILITIES = ("softmax", "sigmoid", "none")
_MAX_SIZE = 1 << 26


class CardError(ValueError):
    """A ``model.json`` is damaged, or describes a model that dlkit does not have."""


@dataclass(frozen=True)
class Card:
    """What a model is, what it takes and what it answers.

    Attributes
    ----------
    model
        Class name in `dlkit.models`.
    arguments
        Its arguments.
    classes
        Class names.
    features
        Inputs per sample.
    image_shape
        Rows and columns of the images that it was trained on, or None if it takes no images.
    scale
        The value of a white pixel in the data's own files; inputs of the model are divided by it.
    margin
        Share of an image's side that the data set leaves empty around its subject.
    probabilities
        One of `PROBABILITIES`.
    """

    model: str
    arguments: dict[str, Any]
    classes: list[str]
    features: int
    image_shape: tuple[int, int] | None = None
    scale: float = 1.0
    margin: float = 0.0
    probabilities: str = "softmax"

    def build(self) -> Module:
        """Make the model, its weights not yet loaded."""
        try:
            module: Module = _MODELS[self.model](**self.arguments)
        except (TypeError, ValueError) as error:
            raise CardError(f"{FILE}: arguments do not make a {self.model}: {error}") from error
        return module

    def as_dict(self) -> dict[str, Any]:
        """The card as it is written."""
        return {"format": _FORMAT, **asdict(self)}


# Of the data sets: the value of a white pixel, and the empty frame that their makers left around the subject.
_SCALES = {"digits": 16.0, "mnist": 255.0, "fashion-mnist": 255.0}
_MARGINS = {"mnist": 4 / 28}


def card_for(dataset: Dataset, model: str, arguments: Mapping[str, Any], probabilities: str) -> Card:
    """The card of a model trained on a data set of images."""
    return Card(
        model=model,
        arguments=dict(arguments),
        classes=list(dataset.classes),
        features=dataset.features,
        image_shape=dataset.image_shape,
        scale=_SCALES.get(dataset.name, 255.0),
        margin=_MARGINS.get(dataset.name, 0.0),
        probabilities=probabilities,
    )


def format_of(path: Path) -> str:
    """What a ``model.json`` says that it is; an empty text where there is none, or it is damaged."""
    try:
        found = read_object(path, _MAX_SIZE).get("format")
    except DataError:
        return ""
    return found if isinstance(found, str) else ""


def read_format(path: Path, format: str, what: str) -> dict[str, Any]:
    """Read a ``model.json`` of one format; `what` names it in errors.

    Raises
    ------
    CardError
        There is none, it is damaged, or of another format.
    """
    try:
        values = read_object(path, _MAX_SIZE)
    except DataError as error:
        raise CardError(str(error)) from error
    if values.get("format") != format:
        raise CardError(f"{path} is not {what} of dlkit (its format is not {format!r})")
    return values


def read_card(path: Path) -> Card:
    """Read a card; everything in it is checked before it is used.

    Raises
    ------
    CardError
        There is none, or it is damaged.
    """
    values = read_format(path, _FORMAT, "a model card")
    values.pop("format")
    if values.get("model") not in _MODELS:
        raise CardError(
            f"{path}: model is {values.get('model')!r}, expected one of {', '.join(_MODELS)}"
            f"{nearest(str(values.get('model')), _MODELS)}"
        )
    shape = values.get("image_shape")
    checks = {
        "arguments": _is_mapping(values.get("arguments")),
        "classes": isinstance(values.get("classes"), list)
        and bool(values["classes"])
        and all(isinstance(name, str) for name in values["classes"]),
        "features": _is_size(values.get("features")),
        "image_shape": shape is None
        or (
            isinstance(shape, list)
            and len(shape) == 2
            and all(_is_size(side) for side in shape)
            and shape[0] * shape[1] == values.get("features")
        ),
        "scale": _is_number(values.get("scale")) and 0 < values["scale"] < float("inf"),
        "margin": _is_number(values.get("margin")) and 0 <= values["margin"] < 0.5,
        "probabilities": values.get("probabilities") in PROBABILITIES,
    }
    if wrong := [name for name, right in checks.items() if not right]:
        raise CardError(f"{path}: {', '.join(wrong)}: missing or not of the right kind")
    if strange := sorted(set(values) - {*checks, "model"}):
        raise CardError(f"{path}: unknown entries {', '.join(strange)}")
    values["image_shape"] = tuple(shape) if shape is not None else None
    return Card(**values)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1 << 24


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_mapping(value: Any) -> bool:
    """A flat mapping of names to numbers, text and lists of numbers: what arguments of a model can be."""
    if not isinstance(value, dict):
        return False
    flat = (str, int, float, bool)
    return all(
        isinstance(item, flat) or (isinstance(item, list) and all(_is_size(size) for size in item))
        for item in value.values()
    )
