"""``dlkit train cnn``: a convolutional network on images of digits or clothes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlkit import nn
from dlkit.data import Augment, Dataset
from dlkit.models import CNN
from dlkit.models.cnn import ACTIVATIONS, PADDINGS, POOLINGS
from dlkit.train import AverageWeights, Callback, RunFolder

from .card import card_for
from .classifier import DATASETS, Parts, train_classifier
from .convolution_figures import feature_maps, first_filters, saliency_maps
from .optimizers import DescentSettings, make_optimizer, make_schedule
from .recipe import Recipe, Result, RunOptions, Target
from .settings import SettingsError, option

PRESETS = ("lenet", "strong")
#: What ``--preset strong`` must reach on MNIST.
STRONG_TARGET = Target("at least 99.70%", "test_accuracy", 0.997)


@dataclass(frozen=True)
class CNNSettings(DescentSettings):
    """A convolutional network, the distortions of its training images, and how it is trained."""

    preset: str = option(
        "lenet",
        "Defaults of all other settings: lenet, small and quick; strong, deeper, with batch normalisation, elastic "
        "distortions and averaged weights.",
        group="Model",
        choices=PRESETS,
    )
    filters: tuple[int, ...] = option(
        (20, 50), "Feature maps of each convolution, such as 20,50.", group="Model", at_least=1
    )
    kernels: tuple[int, ...] = option(
        (5,), "Side of the filters of each convolution; one number is for all.", group="Model", at_least=1
    )
    pools: tuple[int, ...] = option(
        (2,),
        "Side of the squares pooled after each convolution, 1 for none; one number is for all.",
        group="Model",
        at_least=1,
    )
    hidden: tuple[int, ...] = option(
        (500,), "Units of the hidden layers that follow; none: no hidden layer.", group="Model", at_least=1
    )
    pooling: str = option("max", "How squares are pooled.", group="Model", choices=POOLINGS)
    padding: str = option(
        "valid",
        "valid: filters stay within the image; same: zeros around it keep its size.",
        group="Model",
        choices=PADDINGS,
    )
    activation: str = option("relu", "Nonlinearity.", group="Model", choices=ACTIVATIONS)
    pieces: int = option(2, "Linear maps that each maxout unit chooses from.", group="Model", at_least=1)
    batch_norm: bool = option(False, "Batch normalisation before each activation.", group="Model")
    dropout: float = option(
        0.0, "Share of hidden units dropped in training.", group="Model", at_least=0, below=1
    )
    conv_dropout: float = option(
        0.0, "Share of the feature maps' elements dropped in training.", group="Model", at_least=0, below=1
    )
    input_dropout: float = option(
        0.0, "Share of pixels dropped in training.", group="Model", at_least=0, below=1
    )
    label_smoothing: float = option(0.0, "Share of the target spread over all classes.", at_least=0, below=1)
    average: float = option(
        0.0,
        "End with a moving average of the weights that keeps this share of itself at each update, such as 0.999. "
        "0: with the last weights.",
        at_least=0,
        below=1,
    )
    shift: float = option(
        0.0, "Move training images by up to so many pixels.", group="Data", at_least=0, at_most=28
    )
    rotation: float = option(
        0.0, "Turn training images by up to so many degrees.", group="Data", at_least=0, at_most=180
    )
    scale: float = option(
        0.0,
        "Make training images larger or smaller by up to this share.",
        group="Data",
        at_least=0,
        at_most=0.9,
    )
    shear: float = option(
        0.0, "Slant training images by up to so many pixels a row.", group="Data", at_least=0, at_most=10
    )
    elastic: float = option(
        0.0,
        "Size of random elastic distortions of training images (Simard et al., 2003: 34).",
        group="Data",
        at_least=0,
        at_most=1e4,
    )
    smoothness: float = option(
        4.0, "Deviation in pixels of the Gaussian that smooths them.", group="Data", above=0, at_most=1000
    )

    def check(self) -> None:
        """Lists must be of a length, or of one number."""
        super().check()
        for name in ("kernels", "pools"):
            sizes = getattr(self, name)
            if len(sizes) not in (1, len(self.filters)):
                given, filters = (",".join(map(str, v)) or "none" for v in (sizes, self.filters))
                raise SettingsError(
                    f"{name} is {given} but filters is {filters}: expected one number, or one for each convolution"
                )


def train(settings: CNNSettings, options: RunOptions) -> Result:
    """Train it."""

    def build(dataset: Dataset, updates_per_epoch: int) -> Parts:
        shape = (dataset.channels, *dataset.image_shape)
        arguments: dict[str, Any] = {
            "input_shape": list(shape),
            "filters": list(settings.filters),
            "kernels": list(settings.kernels),
            "pools": list(settings.pools),
            "hidden": list(settings.hidden),
            "out_features": len(dataset.classes),
            "pooling": settings.pooling,
            "padding": settings.padding,
            "activation": settings.activation,
            "pieces": settings.pieces,
            "batch_norm": settings.batch_norm,
            "dropout": settings.dropout,
            "conv_dropout": settings.conv_dropout,
            "input_dropout": settings.input_dropout,
        }
        try:
            model = CNN(**arguments)
        except ValueError as error:  # sizes that do not fit the images of this data set
            raise SettingsError(str(error)) from error
        optimizer = make_optimizer(settings, model)
        augment = Augment(
            shape,
            shift=settings.shift,
            rotation=settings.rotation,
            scale=settings.scale,
            shear=settings.shear,
            elastic=settings.elastic,
            smoothness=settings.smoothness,
            seed=settings.seed,
        )
        callbacks: list[Callback] = [AverageWeights(settings.average)] if settings.average else []

        def draw(run: RunFolder) -> None:
            images, labels = dataset.images("test"), dataset.y_test
            if settings.filters:
                first_filters(model, run.path("filters.png"))
                feature_maps(model, images[0], run.path("activations.png"))
            saliency_maps(model, images, labels, run.path("saliency.png"), classes=dataset.classes)

        return Parts(
            model,
            optimizer,
            nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing),
            card_for(dataset, "CNN", arguments, "softmax"),
            scheduler=make_schedule(settings, optimizer, updates_per_epoch * settings.epochs),
            clip_norm=settings.clip_norm,
            draw=draw,
            transform=augment if augment.active else None,
            callbacks=callbacks,
        )

    target = RECIPE.target(settings.data)
    if settings.preset == "strong":
        target = STRONG_TARGET if settings.data == "mnist" else None
    return train_classifier("cnn", settings, options, build, target)


RECIPE = Recipe(
    name="cnn",
    summary="Convolutional network: convolution, ReLU, pooling, dropout",
    settings_type=CNNSettings,
    train=train,
    datasets=DATASETS,
    presets={
        "digits": {
            "filters": (24, 48),
            "kernels": (3,),
            "padding": "same",
            "hidden": (128,),
            "dropout": 0.3,
            "epochs": 30,
            "lr": 2e-3,
            "schedule": "cosine",
            "shift": 0.7,
            "rotation": 8,
            "scale": 0.1,
        },
        "mnist": {
            "dropout": 0.5,
            "epochs": 15,
            "batch_size": 128,
            "lr": 2e-3,
            "schedule": "cosine",
            "shift": 2,
            "rotation": 8,
            "scale": 0.1,
        },
        "fashion-mnist": {
            "filters": (32, 64),
            "dropout": 0.5,
            "epochs": 20,
            "batch_size": 128,
            "schedule": "cosine",
            "shift": 1,
            "scale": 0.05,
        },
    },
    styles={
        "strong": {
            "": {
                "filters": (32, 32, 64, 64, 128),
                "kernels": (3,),
                "pools": (1, 2, 1, 2, 1),
                "hidden": (256,),
                "batch_norm": True,
                "dropout": 0.4,
                "epochs": 40,
                "batch_size": 128,
                "lr": 2e-3,
                "schedule": "cosine",
                "average": 0.999,
                "shift": 2,
                "rotation": 10,
                "scale": 0.1,
                "shear": 0.1,
                "elastic": 8,
                "smoothness": 4,
            },
            "digits": {
                "padding": "same",
                "hidden": (128,),
                "batch_size": 64,
                "average": 0.99,
                "shift": 0.7,
                "elastic": 3,
                "smoothness": 2,
            },
        }
    },
    targets={
        "digits": Target("at least 98.3%", "test_accuracy", 0.983),
        "mnist": Target("at least 99.3%", "test_accuracy", 0.993),
        "fashion-mnist": Target("at least 92%", "test_accuracy", 0.92),
    },
)
