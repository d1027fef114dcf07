"""Recurrent layers over whole sequences, forward and through time, at the sizes of models and at odd ones."""

from __future__ import annotations

from typing import Any

CHAPTER = "recurrent"


def bench_recurrent(compare: dict[str, Any]) -> None:
    assert compare["peers"]["dlkit"]["seconds"] > 0
