"""Convolutions of arrays that end, or begin, where memory does: a read or write past them ends the process."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")

_SIZES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 20, 31, 33]


def problem(reference: Any, rng: np.random.Generator, number: int) -> Any:
    """Extents and settings by chance; every second 3 x 3 with a stride of 1, some with one channel in a group."""
    plain, depthwise = number % 2 == 0, number % 7 == 0
    draw = rng.integers
    kernel = (3, 3) if plain else (int(draw(1, 6)), int(draw(1, 6)))
    if number % 5 == 0:
        kernel = (1, 1)
    channels = 1 if depthwise else int(rng.choice(_SIZES))
    groups = int(rng.choice(_SIZES)) if depthwise else 1 if draw(0, 3) else 2
    case = reference.Case(
        n=int(draw(1, 4)),
        channels=channels * groups,
        height=int(draw(1, 14)) + kernel[0],
        width=int(draw(1, 24)) + kernel[1],
        filters=(1 if depthwise else int(rng.choice(_SIZES))) * groups,
        kernel=kernel,
        groups=groups,
        padding=(int(draw(0, 3)), int(draw(0, 3))),
    )
    return case if plain else case.with_(stride=(int(draw(1, 3)), int(draw(1, 3))))


@pytest.mark.parametrize("operation", ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"])
@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
def test_nothing_past_the_arrays(
    operation: str,
    at_end: bool,
    dtype: Any,
    threads: int,
    fenced: list[Any],
    reference: Any,
    rng: np.random.Generator,
) -> None:
    variants = [None, *(step.name for step in K.variants(operation) if step.name != "naive")]
    for number in range(40):
        case = problem(reference, rng, number)
        x, weight, bias = case.arrays(rng, dtype)
        grad = rng.standard_normal(reference.forward(case, x, weight).shape).astype(dtype)
        expected = {
            "conv2d": lambda x=x, w=weight, b=bias, case=case: reference.forward(case, x, w, b),
            "conv2d_backward_input": lambda g=grad, w=weight, case=case: reference.by_input(case, g, w),
            "conv2d_backward_weight": lambda g=grad, x=x, case=case: reference.by_weight(case, g, x),
        }[operation]()
        out = fenced[0].array(np.zeros(expected.shape, dtype), at_end)
        for variant in variants:
            settings = {**case.settings, "variant": variant, "out": out}
            try:
                if operation == "conv2d":
                    given = [fenced[i + 1].array(array, at_end) for i, array in enumerate((x, weight, bias))]
                    K.conv2d(*given, **settings)
                elif operation == "conv2d_backward_input":
                    given = [fenced[i + 1].array(array, at_end) for i, array in enumerate((grad, weight))]
                    K.conv2d_backward_input(*given, x.shape[2:], **settings)
                else:
                    given = [fenced[i + 1].array(array, at_end) for i, array in enumerate((grad, x))]
                    sums = fenced[3].array(np.zeros_like(bias), at_end)
                    K.conv2d_backward_weight(*given, case.kernel, **settings, out_bias=sums)
            except ValueError as error:
                if f"variant '{variant}' needs " in str(error):
                    continue
                raise
            bound = reference.bound(dtype, variant, 4 * x[0].size)
            assert reference.error(out, expected) < 4 * bound, (variant, case)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
def test_nothing_past_what_is_pooled(
    at_end: bool, dtype: Any, threads: int, fenced: list[Any], rng: np.random.Generator
) -> None:
    for _ in range(60):
        kernel, stride = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        size = [
            int(rng.integers(1, 4)),
            int(rng.integers(1, 6)),
            *(int(v) for v in rng.integers(kernel, 36, 2)),
        ]
        x = rng.standard_normal(size).astype(dtype)
        given = fenced[1].array(x, at_end)
        for variant in [None, *(step.name for step in K.variants("max_pool2d"))]:
            try:
                y, places = K.max_pool2d(given, kernel, stride, 0, return_indices="places", variant=variant)
                out = fenced[0].array(np.zeros_like(y), at_end)
                K.max_pool2d(given, kernel, stride, 0, variant=variant, out=out)
            except ValueError as error:
                if f"variant '{variant}' needs " in str(error):
                    continue
                raise
            np.testing.assert_array_equal(out, y)
            grad = fenced[2].array(rng.standard_normal(y.shape).astype(dtype), at_end)
            dx = fenced[3].array(np.zeros_like(x), at_end)
            K.max_pool2d_backward(grad, places, x.shape[2:], kernel, stride, 0, out=dx)
            np.testing.assert_allclose(dx.sum(), np.asarray(grad).sum(), rtol=1e-3, atol=1e-3)
        mean = fenced[0].array(np.zeros_like(y), at_end)
        K.avg_pool2d(given, kernel, stride, 0, out=mean)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
def test_nothing_past_what_is_convolved_and_pooled(
    at_end: bool, dtype: Any, threads: int, fenced: list[Any], reference: Any, rng: np.random.Generator
) -> None:
    for number in range(40):
        case = problem(reference, rng, number).with_(groups=1)
        case = case.with_(height=case.height + 1, width=case.width + 1)
        x, weight, bias = case.arrays(rng, dtype)
        out = reference.forward(case, x, weight).shape
        window = (2,) if number % 2 else (3, 2, 1)
        if min(out[2:]) < 3:
            continue
        given = [fenced[i + 1].array(array, at_end) for i, array in enumerate((x, weight, bias))]
        y, places = K.conv2d_max_pool(*given, **case.settings, window=window, return_places=True)
        target = fenced[0].array(np.zeros_like(y), at_end)
        K.conv2d_max_pool(*given, **case.settings, window=window, out=target)
        np.testing.assert_array_equal(target, y)
        grad = fenced[3].array(rng.standard_normal(y.shape).astype(dtype), at_end)
        settings = {**case.settings, "window": window}
        dweight = fenced[0].array(np.zeros_like(weight), at_end)
        for variant in ("places", "dense"):
            found = K.conv2d_max_pool_backward_weight(
                grad, places, given[0], case.kernel, **settings, variant=variant, out=dweight
            )
            if variant == "places":
                first = [array.copy() for array in found]
        for one, other in zip(first, found, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * max(1, np.abs(other).max()))
        dx = fenced[0].array(np.zeros_like(x), at_end)
        results = []
        for variant in ("places", "dense"):
            K.conv2d_max_pool_backward_input(
                grad, places, given[1], x.shape[2:], **settings, variant=variant, out=dx
            )
            results.append(dx.copy())
        np.testing.assert_allclose(*results, rtol=0, atol=1e-3 * max(1, np.abs(dx).max()))
