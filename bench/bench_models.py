"""Whole models: one training step, forward, loss, backward and update."""

from __future__ import annotations

from typing import Any

CHAPTER = "models"


def bench_models(compare: dict[str, Any]) -> None:
    assert compare["peers"]["dlkit"]["seconds"] > 0
