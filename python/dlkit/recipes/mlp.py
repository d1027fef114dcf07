"""``dlkit train mlp``: a multi-layer perceptron on images of digits or clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit import kernels, nn
from dlkit.data import Dataset
from dlkit.models import MLP
from dlkit.models.mlp import ACTIVATIONS

from .card import card_for
from .classifier import DATASETS, Parts, train_classifier
from .losses import QuadraticCost
from .optimizers import DescentSettings, make_optimizer, make_schedule
from .recipe import Recipe, Result, RunOptions, Target
from .settings import option

LOSSES = ("cross-entropy", "quadratic")
INITS = ("uniform", "normal")


@dataclass(frozen=True)
class MLPSettings(DescentSettings):
    """A multi-layer perceptron and how it is trained."""

    hidden: tuple[int, ...] = option(
        (512, 512),
        "Units of the hidden layers, such as 512,512; none: no hidden layer.",
        group="Model",
        at_least=1,
    )
    activation: str = option("relu", "Nonlinearity.", group="Model", choices=ACTIVATIONS)
    dropout: float = option(
        0.0, "Share of hidden units dropped in training.", group="Model", at_least=0, below=1
    )
    input_dropout: float = option(
        0.0, "Share of inputs dropped in training.", group="Model", at_least=0, below=1
    )
    init: str = option(
        "uniform",
        "First weights: uniform (PyTorch's), or normal (mean 0, variance 1: the naive network).",
        group="Model",
        choices=INITS,
    )
    loss: str = option(
        "cross-entropy",
        "Loss: softmax cross-entropy, or quadratic (half the squared distance of sigmoid outputs).",
        choices=LOSSES,
    )
    label_smoothing: float = option(0.0, "Share of the target spread over all classes.", at_least=0, below=1)


def train(settings: MLPSettings, options: RunOptions) -> Result:
    """Train it."""

    def build(dataset: Dataset, updates_per_epoch: int) -> Parts:
        arguments = {
            "in_features": dataset.features,
            "hidden": list(settings.hidden),
            "out_features": len(dataset.classes),
            "activation": settings.activation,
            "dropout": settings.dropout,
            "input_dropout": settings.input_dropout,
        }
        model = MLP(**arguments)  # type: ignore[arg-type]
        if settings.init == "normal":
            _normal_weights(model)
        loss: nn.Module
        if settings.loss == "quadratic":
            loss = QuadraticCost(settings.label_smoothing)
        else:
            loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        optimizer = make_optimizer(settings, model)
        return Parts(
            model,
            optimizer,
            loss,
            card_for(dataset, "MLP", arguments, "sigmoid" if settings.loss == "quadratic" else "softmax"),
            scheduler=make_schedule(settings, optimizer, updates_per_epoch * settings.epochs),
            clip_norm=settings.clip_norm,
        )

    return train_classifier("mlp", settings, options, build, RECIPE.target(settings.data))


def _normal_weights(model: MLP) -> None:
    """Weights and biases of mean 0 and variance 1, as the course's naive network begins."""
    generator = kernels.random.generator()
    for parameter in model.parameters():
        parameter.data[...] = generator.standard_normal(parameter.data.shape, dtype=np.float32)


RECIPE = Recipe(
    name="mlp",
    summary="Multi-layer perceptron: hidden layers with ReLU and dropout",
    settings_type=MLPSettings,
    train=train,
    datasets=DATASETS,
    presets={
        "digits": {
            "epochs": 30,
            "dropout": 0.5,
            "input_dropout": 0.1,
            "label_smoothing": 0.1,
            "schedule": "cosine",
        },
        "mnist": {"epochs": 20, "dropout": 0.2, "batch_size": 128, "schedule": "cosine"},
        "fashion-mnist": {"epochs": 20, "dropout": 0.2, "batch_size": 128, "schedule": "cosine"},
    },
    targets={
        "digits": Target("at least 97.5%", "test_accuracy", 0.975),
        "mnist": Target("at least 98.4%", "test_accuracy", 0.984),
        "fashion-mnist": Target("at least 89.5%", "test_accuracy", 0.895),
    },
)
