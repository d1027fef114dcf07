"""Activations, softmax cross-entropy, a fused linear layer, and the optimizer's step."""

from __future__ import annotations

from typing import Any

CHAPTER = "layers"


def bench_layers(compare: dict[str, Any]) -> None:
    assert compare["peers"]["dlkit"]["seconds"] > 0
