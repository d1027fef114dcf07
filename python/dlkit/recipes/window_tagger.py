"""``dlkit train window-tagger``: the course's feed-forward tagger, a window of word vectors and one hidden layer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from dlkit.data.tagger_features import TaggerFeatures
from dlkit.models.window_tagger import ACTIVATIONS

from .recipe import Recipe, Result, RunOptions, Target
from .settings import SettingsError, option
from .tagging import DATASETS, TaggingSettings, train_tagger


@dataclass(frozen=True)
class WindowTaggerSettings(TaggingSettings):
    """A tagger of windows, what it reads, and how it is trained."""

    window: int = option(
        5, "Words that are seen: odd, the token in the middle.", group="Model", at_least=1, at_most=999
    )
    hidden: int = option(300, "Units of the hidden layer.", group="Model", at_least=1, at_most=1 << 16)
    activation: str = option("tanh", "Of the hidden layer.", group="Model", choices=ACTIVATIONS)
    dropout: float = option(
        0.5,
        "Share of what the hidden layer reads, and the output layer, that is dropped in training.",
        group="Model",
        at_least=0,
        below=1,
    )

    def check(self) -> None:
        """A window has a middle."""
        super().check()
        if self.window % 2 == 0:
            raise SettingsError(
                f"window is {self.window}, expected an odd number: the token is in the middle"
            )

    def arguments(self, features: TaggerFeatures) -> dict[str, Any]:
        """The model's arguments that other taggers do not have."""
        return {
            "window": self.window,
            "hidden": self.hidden,
            "activation": self.activation,
            "dropout": self.dropout,
        }


def with_default(settings: type[TaggingSettings], name: str, default: Any) -> Any:
    """A setting of other settings, with another default."""
    return dataclasses.field(default=default, metadata={"limits": settings.options()[name]})


def train(settings: WindowTaggerSettings, options: RunOptions) -> Result:
    """Train it, tag the test sentences."""
    return train_tagger(RECIPE, settings, options, "WindowTagger", settings.arguments)


RECIPE = Recipe(
    name="window-tagger",
    summary="Feed-forward tagger: the vectors of a window of words, one hidden layer",
    settings_type=WindowTaggerSettings,
    train=train,
    asked='"a sentence"',
    datasets=DATASETS,
    presets={"python": {"dimensions": 50, "hidden": 100, "epochs": 4}, "corpus": {}},
    targets={
        "python": Target("at least 92% of tokens", "test_accuracy", 0.92),
        "ewt": Target("at least 93% of tokens", "test_accuracy", 0.93),
        "gsd": Target("at least 90% of tokens", "test_accuracy", 0.90),
        "gsd-segmentation": Target("F1 of words at least 85%", "test_f1", 0.85),
        "gsdsimp-segmentation": Target("F1 of words at least 85%", "test_f1", 0.85),
        "gsdsimp-entities": Target("F1 of entities at least 55%", "test_f1", 0.55),
        "wnut17": Target("F1 of entities at least 6%", "test_f1", 0.06),
        "conll2000": Target("F1 of chunks at least 90%", "test_f1", 0.90),
    },
)
