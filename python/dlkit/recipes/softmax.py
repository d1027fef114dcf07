"""``dlkit train softmax``: softmax regression, the linear classifier that knows how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from dlkit import nn
from dlkit.data import Dataset
from dlkit.kernels.backend import to_host
from dlkit.models import SoftmaxRegression
from dlkit.train import RunFolder

from .card import card_for
from .classifier import DATASETS, Parts, train_classifier
from .figures import class_weights
from .optimizers import DescentSettings, make_optimizer, make_schedule
from .recipe import Recipe, Result, RunOptions, Target


@dataclass(frozen=True)
class SoftmaxSettings(DescentSettings):
    """Softmax regression and how it is trained."""


def train(settings: SoftmaxSettings, options: RunOptions) -> Result:
    """Train it."""

    def build(dataset: Dataset, updates_per_epoch: int) -> Parts:
        arguments = {"in_features": dataset.features, "out_features": len(dataset.classes)}
        model = SoftmaxRegression(**arguments)
        optimizer = make_optimizer(settings, model)

        def draw(run: RunFolder) -> None:
            class_weights(
                to_host(model.weight.data),
                run.path("weights.png"),
                classes=dataset.classes,
                image_shape=dataset.image_shape,
            )

        return Parts(
            model,
            optimizer,
            nn.CrossEntropyLoss(),
            card_for(dataset, "SoftmaxRegression", arguments, "softmax"),
            scheduler=make_schedule(settings, optimizer, updates_per_epoch * settings.epochs),
            clip_norm=settings.clip_norm,
            draw=draw,
        )

    return train_classifier("softmax", settings, options, build, RECIPE.target(settings.data))


RECIPE = Recipe(
    name="softmax",
    summary="Softmax regression: one linear layer, cross-entropy, gradient descent",
    settings_type=SoftmaxSettings,
    train=train,
    datasets=DATASETS,
    presets={
        "digits": {"epochs": 60, "lr": 1e-2},
        "mnist": {"epochs": 20, "batch_size": 128, "schedule": "cosine"},
        "fashion-mnist": {"epochs": 20, "batch_size": 128, "schedule": "cosine"},
    },
    targets={
        "digits": Target("at least 96%", "test_accuracy", 0.96),
        "mnist": Target("at least 92.3%", "test_accuracy", 0.923),
        "fashion-mnist": Target("at least 84%", "test_accuracy", 0.84),
    },
)
