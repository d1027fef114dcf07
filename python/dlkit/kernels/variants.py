"""The ladders: which variants of an operation there are."""

from __future__ import annotations

from typing import NamedTuple

from dlkit import _cpu
from dlkit.kernels.backend import nearest
from dlkit.kernels.layers import ladders


class Variant(NamedTuple):
    """One step of a ladder, to be passed by name as ``variant=``."""

    name: str
    idea: str
    needs: str


def variants(operation: str) -> list[Variant]:
    """Return the variants of an operation, the textbook's definition first.

    Raises
    ------
    ValueError
        If `operation` has no ladder.
    """
    tables: dict[str, list[tuple[str, str, str]]] = {"matmul": _cpu.matmul_variants(), **ladders()}
    if operation not in tables:
        names = tuple(tables)
        close = nearest(operation, names)
        raise ValueError(f"variants: operation is {operation!r}; expected one of {', '.join(names)}{close}")
    return [Variant(*row) for row in tables[operation]]
