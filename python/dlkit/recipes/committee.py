"""Several trained models that vote: the mean of their probabilities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .predictor import Predictor, PredictorError, load_predictor


class Committee:
    """Models of the same classes. Its probabilities are the mean of theirs.

    Parameters
    ----------
    members
        At least one.

    Raises
    ------
    PredictorError
        There are none, their classes or inputs differ, or one has no probabilities.

    Notes
    -----
    Networks of one kind that started from other weights err in other places: the mean of their answers errs less often
    than each (Hansen & Salamon, IEEE PAMI 12, 1990; for MNIST Cireşan et al., ICDAR 2011).
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        if not members:
            raise PredictorError("committee: no members, expected at least one")
        first = members[0].card
        for i, member in enumerate(members):
            card = member.card
            if (card.classes, card.features) != (first.classes, first.features):
                raise PredictorError(
                    f"committee: member {i + 1} takes {card.features} inputs and knows {len(card.classes)} classes, "
                    f"member 1 {first.features} and {len(first.classes)}: expected the same classes and inputs"
                )
            if card.probabilities == "none":
                raise PredictorError(f"committee: member {i + 1}, a {card.model}, has no probabilities")
        self.members = list(members)

    def probabilities(self, x: ArrayLike) -> NDArray[Any]:
        """The mean probability of each class, shape (N, classes), for samples (N, features)."""
        total: Any = 0.0
        for member in self.members:
            answer = member.predict(x).probabilities
            assert answer is not None
            total = total + answer.astype(np.float64)
        return np.asarray(total / len(self.members))


def load_committee(folders: Sequence[str | os.PathLike[str]], device: str = "cpu") -> Committee:
    """Load the models of several run folders.

    Raises
    ------
    PredictorError
        As `load_predictor` and `Committee` say.
    """
    return Committee([load_predictor(folder, device) for folder in folders])
