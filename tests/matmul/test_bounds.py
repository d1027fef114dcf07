"""Operands that end, or begin, where memory does: a read or write past them ends the process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_SIZES = [1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 29, 33, 48, 51, 70]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
def test_nothing_past_the_operands(
    variant: str | None,
    at_end: bool,
    dtype: Any,
    fenced: list[Any],
    rng: np.random.Generator,
    check: Callable[..., None],
) -> None:
    for round_ in range(100):
        m, k, n = (int(x) for x in rng.choice(_SIZES, 3))
        if variant == "matvec" or round_ % 8 == 0:
            m, n = (1, n) if round_ % 2 else (m, 1)
        trans_a, trans_b, trans_out, accumulate, with_bias = rng.random(5) < 0.5
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        bias = rng.standard_normal(n).astype(dtype) if with_bias else None
        start = rng.standard_normal((m, n)).astype(dtype)
        left = fenced[0].array(a.T if trans_a else a, at_end)
        right = fenced[1].array(b.T if trans_b else b, at_end)
        out = fenced[2].array(start.T, at_end).T if trans_out else fenced[2].array(start, at_end)
        K.matmul(
            left,
            right,
            out=out,
            trans_a=trans_a,
            trans_b=trans_b,
            bias=None if bias is None else fenced[3].array(bias, at_end),
            accumulate=accumulate,
            activation=None if accumulate else "tanh",
            variant=variant,
        )
        check(out, a, b, bias, None if accumulate else "tanh", start if accumulate else None)


def test_nothing_past_deep_operands(
    variant: str | None, fenced: list[Any], rng: np.random.Generator, check: Callable[..., None]
) -> None:
    for m, k, n in (
        (1, 3001, 5),
        (3, 1501, 9),
        (7, 2051, 1),
        (1, 5, 3001),
        (9, 7, 1501),
        (2001, 5, 1),
        (1501, 9, 7),
    ):
        if variant == "matvec" and m > 1 and n > 1:
            continue
        a, b = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
        for trans_a, trans_b in ((False, False), (False, True), (True, False), (True, True)):
            left = fenced[0].array(a.T if trans_a else a, True)
            right = fenced[1].array(b.T if trans_b else b, True)
            out = fenced[2].array(np.full((m, n), np.nan, np.float32), True)
            K.matmul(left, right, out=out, trans_a=trans_a, trans_b=trans_b, variant=variant)
            check(out, a, b)
