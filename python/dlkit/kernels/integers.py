"""Settings that are an integer for all dimensions, or one for each."""

from __future__ import annotations

from typing import Any


def integers(value: Any, dims: int, operation: str, argument: str) -> list[int]:
    """Return a setting as one integer for each dimension.

    Raises
    ------
    TypeError
        If it is neither an integer nor as many as dimensions.
    """
    if type(value) is int:
        return [value] * dims
    items = [value] * dims if hasattr(value, "__index__") else value
    try:
        items = [] if isinstance(items, str) else list(items)
    except TypeError:
        items = []
    if len(items) != dims or not all(hasattr(i, "__index__") and not isinstance(i, bool) for i in items):
        expected = "an integer" if dims == 1 else f"an integer or {dims} of them"
        raise TypeError(f"{operation}: {argument} is {value!r}; expected {expected}")
    return [int(i.__index__()) for i in items]
