"""Sentences whose tokens are tagged, in three parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .errors import DataError

#: What the tags say: each token's class; the words of a text of characters; named entities; chunks, phrases that do not
#: overlap.
TASKS = ("tokens", "segmentation", "entities", "chunks")
#: Those whose tags are IOB2.
SPANS = ("entities", "chunks")


class TaggedSentence(NamedTuple):
    """A sentence.

    Attributes
    ----------
    tokens
        Words, or the characters of a text.
    tags
        One for each.
    pos
        The part of speech of each, or None: what else a tagger may read of them.
    """

    tokens: list[str]
    tags: list[str]
    pos: list[str] | None = None


@dataclass(frozen=True)
class TaggedSet:
    """Tagged sentences.

    Attributes
    ----------
    name
        As `load_tagged` was given it.
    task
        One of `TASKS`: how they are scored.
    train, validation, test
        The parts.
    source
        Where they came from.
    """

    name: str
    task: str
    train: Sequence[TaggedSentence]
    validation: Sequence[TaggedSentence]
    test: Sequence[TaggedSentence]
    source: str

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise DataError(f"{self.name}: task is {self.task!r}, expected one of {', '.join(TASKS)}")
        for part in ("train", "validation", "test"):
            sentences = getattr(self, part)
            if not sentences:
                raise DataError(f"{self.name}: {part} has no sentences")
            for number, sentence in enumerate(sentences):
                if not sentence.tokens or len(sentence.tokens) != len(sentence.tags):
                    raise DataError(
                        f"{self.name}: sentence {number} of {part} has {len(sentence.tokens)} tokens and "
                        f"{len(sentence.tags)} tags, expected as many, at least one"
                    )
                pos = sentence.pos
                if (pos is None) == self.has_pos or (pos is not None and len(pos) != len(sentence.tokens)):
                    raise DataError(
                        f"{self.name}: sentence {number} of {part} has {len(sentence.tokens)} tokens and "
                        f"{len(pos or ())} parts of speech, expected as many, or none in any sentence"
                    )

    @property
    def has_pos(self) -> bool:
        """Whether sentences come with parts of speech beside their tags."""
        return self.train[0].pos is not None

    @property
    def tags(self) -> list[str]:
        """The tags of the training part, the most frequent first, equals in alphabetical order."""
        counts = Counter(tag for sentence in self.train for tag in sentence.tags)
        return sorted(counts, key=lambda tag: (-counts[tag], tag))
