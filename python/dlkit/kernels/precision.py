"""How exact products of float32 matrices are on devices that can trade exactness for speed."""

from __future__ import annotations

from typing import Literal

from dlkit.kernels.backend import nearest

Precision = Literal["float32", "tf32", "bf16"]
Level = Literal["highest", "high", "medium"]

_CODES = {"float32": 0, "tf32": 1, "bf16": 2}
_LEVELS: dict[str, str] = {"highest": "float32", "high": "tf32", "medium": "bf16"}
_level: str = "highest"


def set_float32_matmul_precision(precision: Level) -> None:
    """Set what products of float32 matrices may lose on a GPU, as in PyTorch.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        ``highest``: computed in float32. ``high``: operands may be rounded to TF32, 10 bits after the point.
        ``medium``: to bfloat16, 7 bits. Sums are kept in float32 in all of them. The CPU computes in float32 whatever
        is set here.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    global _level
    if precision not in _LEVELS:
        raise ValueError(
            f"set_float32_matmul_precision: precision is {precision!r}; expected one of {', '.join(_LEVELS)}"
            + nearest(str(precision), tuple(_LEVELS))
        )
    _level = precision


def get_float32_matmul_precision() -> str:
    """Return what `set_float32_matmul_precision` has set: ``highest`` at first."""
    return _level


def check(precision: str | None, operation: str) -> str:
    """Return the name of a precision, for None that of the level that is set.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if precision is None:
        return _LEVELS[_level]
    if precision not in _CODES:
        raise ValueError(
            f"{operation}: precision is {precision!r}; expected None or one of {', '.join(_CODES)}"
            + nearest(str(precision), tuple(_CODES))
        )
    return precision


def code(precision: str | None, operation: str) -> int:
    """Return the number of a precision, as the modules of kernels number it."""
    return _CODES[check(precision, operation)]
