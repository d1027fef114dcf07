"""Convolutions of any shape: all variants agree with the definition, and the gradients with each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import dlkit.kernels as K

SIZES = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33])


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Extents and settings that fit together; half of them 3 x 3 with a stride of 1, which Winograd takes."""
    plain = draw(st.booleans())
    kernel = (3, 3) if plain else (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    dilation = (1, 1) if plain else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (1, 1) if plain else (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = (draw(st.integers(0, 4)), draw(st.integers(0, 4)))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [max(draw(st.integers(1, 20)), r - 2 * p, 1) for r, p in zip(reach, padding, strict=True)]
    groups = draw(st.sampled_from([1, 1, 1, 2, 5]))
    depthwise = draw(st.integers(0, 4)) == 0
    channels = 1 if depthwise else draw(SIZES)
    groups = draw(SIZES) if depthwise else groups
    return {
        "x": (draw(st.integers(1, 4)), channels * groups, *size),
        "weight": (draw(st.sampled_from([1, 2]) if depthwise else SIZES) * groups, channels, *kernel),
        "settings": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
        "seed": draw(st.integers(0, 2**32 - 1)),
        "threads": draw(st.integers(1, 3)),
    }


def near(got: Any, expected: Any, name: str) -> None:
    scale = float(np.abs(expected).max()) if expected.size else 0.0
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11 * max(scale, 1.0), err_msg=name)


@settings(max_examples=250)
@given(problem=problems())
def test_all_variants_agree(problem: dict[str, Any]) -> None:
    rng = np.random.default_rng(problem["seed"])
    more = problem["settings"]
    x, weight = rng.standard_normal(problem["x"]), rng.standard_normal(problem["weight"])
    bias = rng.standard_normal(len(weight))
    y = K.conv2d(x, weight, bias, **more, variant="naive")
    grad = rng.standard_normal(y.shape)
    dx = K.conv2d_backward_input(grad, weight, x.shape[2:], **more, variant="naive")
    dw, db = K.conv2d_backward_weight(grad, x, weight.shape[2:], **more, variant="naive")
    # <grad, conv(x)> is linear in x and in the weight: so much for the definitions of the gradients.
    by_bias = float(bias @ db)
    total = float((grad * y).sum())
    np.testing.assert_allclose(float((dx * x).sum()) + by_bias, total, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(float((dw * weight).sum()) + by_bias, total, rtol=1e-9, atol=1e-8)

    before = K.get_num_threads()
    K.set_num_threads(problem["threads"])
    try:
        for operation, arguments, expected in (
            ("conv2d", (x, weight, bias), (y,)),
            ("conv2d_backward_input", (grad, weight, x.shape[2:]), (dx,)),
            ("conv2d_backward_weight", (grad, x, weight.shape[2:]), (dw, db)),
        ):
            for variant in (None, *(step.name for step in K.variants(operation))):
                try:
                    got = getattr(K, operation)(*arguments, **more, variant=variant)
                except ValueError as error:
                    if f"variant '{variant}' needs " in str(error):
                        continue
                    raise
                for one, other in zip(got if isinstance(got, tuple) else (got,), expected, strict=True):
                    near(one, other, f"{operation}: {variant}")
    finally:
        K.set_num_threads(before)
