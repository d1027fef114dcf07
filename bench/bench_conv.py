"""Convolutions, their gradients, and max-pooling, at the shapes of networks and at odd ones."""

from __future__ import annotations

from typing import Any

CHAPTER = "conv"


def bench_conv(compare: dict[str, Any]) -> None:
    assert compare["peers"]["dlkit"]["seconds"] > 0
