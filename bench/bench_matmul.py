"""Matrix products: the shapes that networks are made of, squares, and the cost of one call."""

from __future__ import annotations

from typing import Any

CHAPTER = "matmul"


def bench_matmul(compare: dict[str, Any]) -> None:
    assert compare["peers"]["dlkit"]["seconds"] > 0
