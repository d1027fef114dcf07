"""``dlkit train tagger``: parts of speech, words of Chinese, named entities, chunks, by recurrent layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlkit.data.tagger_features import TaggerFeatures
from dlkit.models.sequence_tagger import CHARACTER_MODES, TAGGER_CELLS

from .recipe import Recipe, Result, RunOptions, Target
from .settings import SettingsError, option
from .tagging import DATASETS, TaggingSettings, train_tagger


@dataclass(frozen=True)
class TaggerSettings(TaggingSettings):
    """A recurrent tagger, what it reads, and how it is trained."""

    bigrams: bool = option(False, "Vectors of pairs of neighbours (for Chinese).", group="Model")
    bigram_dimensions: int = option(50, "Of those.", group="Model", at_least=1, at_most=1 << 16)
    bigram_min_count: int = option(2, "A pair that is there less often is unknown.", group="Data", at_least=1)
    bigram_dropout: float = option(
        0.0,
        "a: a pair that is there n times is made unknown with probability a / (a + n) in training.",
        at_least=0,
    )
    cell: str = option("lstm", "Recurrent layers.", group="Model", choices=TAGGER_CELLS)
    hidden: int = option(
        128, "Units of each layer and direction.", group="Model", at_least=1, at_most=1 << 16
    )
    layers: int = option(1, "Recurrent layers.", group="Model", at_least=1, at_most=100)
    bidirectional: bool = option(True, "Each layer reads both ways.", group="Model")
    characters: str = option(
        "cnn", "What is made of a word's characters.", group="Model", choices=("none", *CHARACTER_MODES)
    )
    character_dimensions: int = option(
        30, "Of the characters' vectors.", group="Model", at_least=1, at_most=1 << 16
    )
    character_features: int = option(
        50, "Numbers of a word that are made of them.", group="Model", at_least=1, at_most=1 << 16
    )
    character_region: int = option(3, "Characters that a filter sees.", group="Model", at_least=1, at_most=24)
    dropout: float = option(
        0.5,
        "Share of what layers read, and the classifier, that is dropped in training.",
        group="Model",
        at_least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.0,
        "Share of the units that the recurrent weights do not see in training.",
        group="Model",
        at_least=0,
        below=1,
    )

    def check(self) -> None:
        """Two directions share the features of an LSTM."""
        super().check()
        if self.characters == "lstm" and self.character_features % 2:
            raise SettingsError(
                f"character_features is {self.character_features}, expected an even number with characters lstm"
            )


def train(settings: TaggerSettings, options: RunOptions) -> Result:
    """Train it, tag the test sentences."""

    def more(features: TaggerFeatures) -> dict[str, Any]:
        return {
            "hidden": settings.hidden,
            "layers": settings.layers,
            "cell": settings.cell,
            "bidirectional": settings.bidirectional,
            "characters": 0 if features.characters is None else len(features.characters),
            "character_dimensions": settings.character_dimensions,
            "character_features": settings.character_features,
            "character_mode": settings.characters if settings.characters != "none" else "cnn",
            "character_region": settings.character_region,
            "bigrams": 0 if features.bigrams is None else len(features.bigrams),
            "bigram_dimensions": settings.bigram_dimensions,
            "dropout": settings.dropout,
            "recurrent_dropout": settings.recurrent_dropout,
        }

    return train_tagger(
        *(RECIPE, settings, options, "SequenceTagger", more),
        characters=settings.characters != "none",
        bigram_min_count=settings.bigram_min_count if settings.bigrams else None,
        bigram_dropout=settings.bigram_dropout,
    )


# A few epochs are enough: after them the 4000 sentences are known by heart.
_CHINESE = {
    **{
        "characters": "none",
        "bigrams": True,
        "output": "crf",
        "lower": False,
        "own_words": True,
        "joint": True,
    },
    **{"bigram_dropout": 1.0, "recurrent_dropout": 0.2, "batch_size": 16, "epochs": 8, "average": 0.998},
}

RECIPE = Recipe(
    name="tagger",
    summary="Recurrent tagger: parts of speech, words of Chinese, named entities, chunks",
    settings_type=TaggerSettings,
    train=train,
    asked='"a sentence"',
    datasets=DATASETS,
    presets={
        "python": {"dimensions": 50, "hidden": 64, "epochs": 4},
        "corpus": {},
        "gsd-segmentation": _CHINESE,
        "gsdsimp-segmentation": _CHINESE,
        "wnut17": {"output": "crf"},
        "gsdsimp-entities": {"output": "crf"},
    },
    targets={
        "python": Target("at least 97% of tokens", "test_accuracy", 0.97),
        "ewt": Target("at least 95% of tokens", "test_accuracy", 0.95),
        "gsd-segmentation": Target("F1 of words at least 95%", "test_f1", 0.95),
        "gsdsimp-segmentation": Target("F1 of words at least 95%", "test_f1", 0.95),
        "gsd": Target("at least 90% of tokens", "test_accuracy", 0.90),
        "wnut17": Target("F1 of entities at least 25%", "test_f1", 0.25),
        "gsdsimp-entities": Target("F1 of entities at least 55%", "test_f1", 0.55),
        "conll2000": Target("F1 of chunks at least 92%", "test_f1", 0.92),
    },
)
