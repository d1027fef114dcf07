"""What all mini-batches have in common: where a loop over them stands, saved and gone on from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

from .errors import DataError


class ResumableBatches(ABC):
    """Mini-batches of which a loop can be left between two and gone on with, in this process or another.

    A subclass counts `_epoch` and `_position` up as it hands batches out, and begins an epoch at `_resume_at`, once.
    """

    batch_size: int

    def __init__(self) -> None:
        self._epoch = 0  # completed
        self._position = 0  # within the epoch: handed out so far, in the unit of `_end`
        self._resume_at = 0

    @property
    @abstractmethod
    def samples(self) -> int:
        """What is handed out per epoch."""

    @abstractmethod
    def __len__(self) -> int:
        """Batches per epoch."""

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Hand out the batches of one epoch (from the loaded position, once, after `load_state_dict`)."""

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """What tells whether it is the same data in the same order: JSON-serialisable."""

    def _end(self) -> int:
        """The position after the last batch of an epoch."""
        return len(self)

    def state_dict(self) -> dict[str, Any]:
        """Where the data stands, and what tells whether it is the same data: JSON-serialisable."""
        return {"epoch": self._epoch, "position": self._position, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises
        ------
        DataError
            It was taken from other data or with other settings; the message names what differs.
        """
        name, identity = type(self).__name__, self._identity()
        if missing := sorted({"epoch", "position", *identity} - set(state)):
            raise DataError(f"{name}: the state lacks {', '.join(missing)}")
        for key, mine in identity.items():
            if state[key] != mine:
                what = f"{key} is {mine!r} here but {state[key]!r} in the state"
                if key == "fingerprint":
                    what = "the samples themselves differ"
                raise DataError(f"{name}: the state belongs to other data: {what}")
        epoch, position = state["epoch"], state["position"]
        whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in (epoch, position))
        if not whole or epoch < 0 or not 0 <= position <= self._end():
            raise DataError(
                f"{name}: state is epoch {epoch!r}, position {position!r}; expected epoch >= 0 and position "
                f"0 … {self._end()}"
            )
        self._epoch, self._position, self._resume_at = int(epoch), int(position), int(position)


def integer(owner: str, name: str, value: object, at_least: int, below: int | None = None) -> int:
    """Return a setting as an integer.

    Raises
    ------
    DataError
        It is none, or out of range; the message begins with `owner`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise DataError(f"{owner}: {name} is {value!r}, expected an integer of at least {at_least}")
    if below is not None and int(value) >= below:
        raise DataError(
            f"{owner}: {name} is {value!r}, expected an integer below 2**{below.bit_length() - 1}"
        )
    return int(value)
