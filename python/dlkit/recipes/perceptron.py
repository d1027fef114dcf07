"""``dlkit train perceptron``: learn from mistakes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dlkit import optim
from dlkit.autograd import Tensor
from dlkit.data import Dataset
from dlkit.kernels.backend import to_host
from dlkit.models import Perceptron, perceptron_loss
from dlkit.train import RunFolder, Trainer

from .card import card_for
from .classifier import DATASETS, ClassifierSettings, Parts, train_classifier
from .figures import class_weights
from .recipe import Recipe, Result, RunOptions, Target
from .settings import option


@dataclass(frozen=True)
class PerceptronSettings(ClassifierSettings):
    """A perceptron and how it is trained."""

    averaged: bool = option(
        True, "Predict with the average of the weights after every sample (steadier).", group="Model"
    )
    batch_size: int = option(
        64, "Samples handed over at a time; the rule still goes sample by sample.", at_least=1
    )


class PerceptronTrainer(Trainer):
    """The training loop with the perceptron rule in place of gradient and optimizer."""

    model: Perceptron

    def train_batch(self, x: Any, y: Any) -> tuple[float, NDArray[Any]]:
        """Apply the rule to the samples of a batch, one by one."""
        scores = self.model.learn(x, y, lr=self.lr)
        return perceptron_loss(Tensor(scores), to_host(y)).item(), scores


def rule(model: Perceptron) -> optim.Optimizer:
    """The step size of the rule, 1, as an optimizer, so that checkpoints and records have it."""
    return optim.SGD(list(model.parameters()), lr=1.0)


def train(settings: PerceptronSettings, options: RunOptions) -> Result:
    """Train it."""

    def build(dataset: Dataset, updates_per_epoch: int) -> Parts:
        arguments = {
            "in_features": dataset.features,
            "out_features": len(dataset.classes),
            "averaged": settings.averaged,
        }
        model = Perceptron(dataset.features, len(dataset.classes), settings.averaged)

        def draw(run: RunFolder) -> None:
            weight = to_host(model.average()[0] if settings.averaged else model.weight.data)
            class_weights(
                weight, run.path("weights.png"), classes=dataset.classes, image_shape=dataset.image_shape
            )

        return Parts(
            model,
            rule(model),
            perceptron_loss,
            card_for(dataset, "Perceptron", arguments, "none"),
            trainer_type=PerceptronTrainer,
            draw=draw,
        )

    return train_classifier("perceptron", settings, options, build, RECIPE.target(settings.data))


RECIPE = Recipe(
    name="perceptron",
    summary="Perceptron: linear scores, corrected on mistakes alone; averaged weights",
    settings_type=PerceptronSettings,
    train=train,
    datasets=DATASETS,
    presets={"digits": {"epochs": 20}, "mnist": {"epochs": 20}, "fashion-mnist": {"epochs": 20}},
    targets={
        "digits": Target("at least 95%", "test_accuracy", 0.95),
        "mnist": Target("at least 91%", "test_accuracy", 0.91),
        "fashion-mnist": Target("at least 82%", "test_accuracy", 0.82),
    },
)
