"""``dlkit train senna``: the taggers of Collobert et al. (2011), of windows or of whole sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlkit.data.tagger_features import TaggerFeatures

from .recipe import Recipe, Result, RunOptions, Target
from .settings import SettingsError, option
from .tagging import DATASETS, train_tagger
from .window_tagger import WindowTaggerSettings, with_default

APPROACHES = ("window", "sentence")


@dataclass(frozen=True)
class SennaSettings(WindowTaggerSettings):
    """One of the two taggers, what it reads, and how it is trained."""

    approach: str = option(
        "window",
        "What is seen of a token: a window around it, or the whole sentence, through filters and their maximum over "
        "time.",
        group="Model",
        choices=APPROACHES,
    )
    capitals: bool = with_default(WindowTaggerSettings, "capitals", True)
    suffixes: bool = with_default(WindowTaggerSettings, "suffixes", True)
    activation: str = with_default(WindowTaggerSettings, "activation", "hardtanh")
    output: str = with_default(WindowTaggerSettings, "output", "crf")
    filters: int = option(
        300, "Filters of the sentence approach.", group="Model", at_least=1, at_most=1 << 16
    )
    reach: int = option(
        10,
        "Distances that the sentence approach tells apart, both ways.",
        group="Model",
        at_least=1,
        at_most=9999,
    )
    distance_dimensions: int = option(
        5, "Of the distances' vectors.", group="Model", at_least=1, at_most=1 << 16
    )

    def arguments(self, features: TaggerFeatures) -> dict[str, Any]:
        """The model's arguments that other taggers do not have."""
        found = super().arguments(features)
        if self.approach == "window":
            return found
        return {
            **found,
            "filters": self.filters,
            "reach": self.reach,
            "distance_dimensions": self.distance_dimensions,
        }


def train(settings: SennaSettings, options: RunOptions) -> Result:
    """Train it, tag the test sentences."""
    sentence = settings.approach == "sentence"
    if sentence and options.device != "cpu":
        raise SettingsError(
            f"senna: device is {options.device}, expected cpu: the sentence approach is computed there alone"
        )
    kind = "SentenceTagger" if sentence else "WindowTagger"
    return train_tagger(RECIPE, settings, options, kind, settings.arguments)


RECIPE = Recipe(
    name="senna",
    summary="SENNA: capitals and suffixes beside word vectors, sentence-level likelihood, window or sentence approach",
    settings_type=SennaSettings,
    train=train,
    asked='"a sentence"',
    datasets=DATASETS,
    presets={"python": {"dimensions": 50, "hidden": 100, "filters": 100, "epochs": 4}, "corpus": {}},
    targets={
        "python": Target("at least 93% of tokens", "test_accuracy", 0.93),
        "ewt": Target("at least 94% of tokens", "test_accuracy", 0.94),
        "gsd": Target("at least 91% of tokens", "test_accuracy", 0.91),
        "gsd-segmentation": Target("F1 of words at least 86%", "test_f1", 0.86),
        "gsdsimp-segmentation": Target("F1 of words at least 86%", "test_f1", 0.86),
        "gsdsimp-entities": Target("F1 of entities at least 55%", "test_f1", 0.55),
        "wnut17": Target("F1 of entities at least 13%", "test_f1", 0.13),
        "conll2000": Target("F1 of chunks at least 91%", "test_f1", 0.91),
    },
)
