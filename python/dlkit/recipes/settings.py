"""Settings of a recipe: a dataclass whose fields carry their own limits, help text and choices."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints


class SettingsError(ValueError):
    """A setting has a value that the recipe cannot work with; the message says what it expects."""


@dataclass(frozen=True)
class Limits:
    """What a setting accepts, and what it is for.

    Attributes
    ----------
    help
        One line on what it does.
    group
        The heading under which the command line lists it.
    choices
        The texts accepted; empty: anything of the right type.
    at_least, above, at_most, below
        Bounds of a number.
    empty
        Whether a list may be empty.
    """

    help: str
    group: str = "Training"
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    empty: bool = True


def option(
    default: Any,
    help: str,
    *,
    group: str = "Training",
    choices: Sequence[str] = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    empty: bool = True,
) -> Any:
    """Make a dataclass field with a default and `Limits`."""
    limits = Limits(help, group, tuple(choices), at_least, above, at_most, below, empty)
    return dataclasses.field(default=default, metadata={"limits": limits})


SettingsType = TypeVar("SettingsType", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """Base of all settings: checked when made, immutable afterwards.

    Numbers and lists may be given as text (``hidden="512,512"``), as they come from a command line.

    Raises
    ------
    SettingsError
        A value has the wrong type or lies outside its limits, or two settings exclude each other.
    """

    seed: int = option(0, "Seed of everything random.", group="Run", at_least=0, at_most=2**63 - 1)

    def __post_init__(self) -> None:
        for name, limits in self.options().items():
            value = _converted(name, getattr(self, name), self._types()[name], limits)
            _check(name, value, limits)
            object.__setattr__(self, name, value)
        self.check()

    def check(self) -> None:
        """Raise `SettingsError` if two settings exclude each other."""

    @classmethod
    def options(cls) -> dict[str, Limits]:
        """The settings by name, with their limits."""
        return {field.name: field.metadata["limits"] for field in dataclasses.fields(cls)}

    @classmethod
    def kinds(cls) -> dict[str, Any]:
        """The type of each setting."""
        return dict(cls._types())

    @classmethod
    @functools.cache
    def _types(cls) -> dict[str, Any]:
        hints = get_type_hints(cls)
        return {field.name: hints[field.name] for field in dataclasses.fields(cls)}

    @classmethod
    def make(cls: type[SettingsType], values: Mapping[str, Any]) -> SettingsType:
        """Make settings from a mapping; an unknown name is an error that suggests the nearest."""
        known = list(cls.options())
        for name in values:
            if name not in known:
                raise SettingsError(
                    f"unknown setting {name!r}{nearest(name, known)}; known: {', '.join(known)}"
                )
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The settings as a mapping that can be written as JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest of `known`, or an empty string."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.4)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def describe(kind: Any, limits: Limits) -> str:
    """What a setting accepts, in words: "an integer of at least 1"."""
    if limits.choices:
        return f"one of {', '.join(limits.choices)}"
    base, optional = _without_none(kind)
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
    text = words.get(base, "integers")
    bounds = [
        f"{word} {bound if isinstance(bound, int) else format(bound, 'g')}"
        for word, bound in (
            ("of at least", limits.at_least),
            ("above", limits.above),
            ("of at most", limits.at_most),
            ("below", limits.below),
        )
        if bound is not None and abs(bound) < 2**53
    ]
    if bounds:
        text += " " + " and ".join(bounds)
    if base not in words:
        text += "," * bool(bounds) + " separated by commas, such as 512,512" + ", or none" * limits.empty
    return text + (" (or none)" if optional and "none" not in text else "")


def _without_none(kind: Any) -> tuple[Any, bool]:
    """The type, and whether None is accepted too."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return parts[0], True
    return kind, False


def _converted(name: str, value: Any, kind: Any, limits: Limits) -> Any:
    base, optional = _without_none(kind)
    if optional and (value is None or (isinstance(value, str) and value.strip().lower() in ("none", ""))):
        return None
    try:
        if base is bool:
            return _as_bool(value)
        if base is int:
            return _as_int(value)
        if base is float:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        if base is str:
            if not isinstance(value, str):
                raise ValueError
            return value
        return _as_integers(value)
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(f"{name} is {value!r}, expected {describe(kind, limits)}") from None


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError


def _as_int(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, str):
        return int(value)
    if int(value) != value:
        raise ValueError
    return int(value)


def _as_integers(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("none", ""):
            return ()
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    if isinstance(value, int):
        return (_as_int(value),)
    return tuple(_as_int(part) for part in value)


def _check(name: str, value: Any, limits: Limits) -> None:
    if limits.choices:
        if value not in limits.choices and value is not None:
            raise SettingsError(
                f"{name} is {value!r}, expected one of {', '.join(limits.choices)}"
                f"{nearest(value, limits.choices)}"
            )
        return
    if value == () and not limits.empty:
        raise SettingsError(f"{name} is none, expected {describe(tuple, limits)}")
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            continue
        outside = (
            not math.isfinite(number)
            or (limits.at_least is not None and number < limits.at_least)
            or (limits.above is not None and number <= limits.above)
            or (limits.at_most is not None and number > limits.at_most)
            or (limits.below is not None and number >= limits.below)
        )
        if outside:
            kind = tuple if isinstance(value, tuple) else type(value)
            shown = ",".join(str(v) for v in value) if isinstance(value, tuple) else f"{value!r}"
            raise SettingsError(f"{name} is {shown}, expected {describe(kind, limits)}")
