"""Measurements: comparisons with other libraries, ladders of variants, rooflines, tables for the docs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlkit.study.comparison import compare

__all__ = ["compare"]

_HOMES = {"compare": "dlkit.study.comparison"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dlkit.study' has no attribute {name!r}")
