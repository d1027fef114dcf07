"""Argument checks that several files of this room need."""

from __future__ import annotations

from numbers import Integral


def integer(owner: str, name: str, value: object, at_least: int) -> int:
    """The value as an int.

    Raises
    ------
    ValueError
        It is not an integer (a bool is none either), or less than `at_least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise ValueError(f"{owner}: {name} is {value!r}, expected an integer of at least {at_least}")
    return int(value)
