"""Any shapes, strides, transposes and batch dimensions, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dlkit.kernels as K

_NAMES = [variant.name for variant in K.variants("matmul")]
_STEPS = st.sampled_from([-3, -2, -1, 1, 2, 3])
_DTYPES = st.sampled_from([np.float32, np.float64])


@st.composite
def _strided(draw: Any, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    """An array of that shape: axes in any order in memory, steps of any sign, perhaps broadcast."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(_STEPS) for _ in shape]
    gap = draw(st.integers(0, 2))
    sizes = [shape[axis] * abs(steps[axis]) + gap for axis in order]
    memory = np.full(sizes, np.nan, dtype)
    view = memory.transpose(np.argsort(order)) if shape else memory
    view = view[(..., *(slice(None, None, step) for step in steps))]
    view = view[(..., *(slice(0, size) for size in shape))]
    view[...] = rng.standard_normal(shape)
    if draw(st.integers(0, 5)) == 0 and shape and shape[0] > 1:
        view = np.broadcast_to(view[:1], shape)
    return view


def _assert_close(out: Any, exact: Any, size: Any) -> None:
    assert out.shape == exact.shape
    assert (np.abs(out - exact) <= 8 * np.finfo(out.dtype).eps * (size + np.abs(exact))).all()


@settings(max_examples=400)
@given(
    st.data(),
    arrays.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=3, min_side=0, max_side=21),
    _DTYPES,
    st.sampled_from([None, None, *_NAMES]),
    st.sampled_from([None, "relu", "sigmoid", "tanh"]),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)
def test_like_numpy(
    data: Any, shapes: Any, dtype: Any, variant: Any, activation: Any, threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = (data.draw(_strided(shape, dtype, rng)) for shape in shapes.input_shapes)
    trans_a, trans_b = (x.ndim > 1 and data.draw(st.booleans()) for x in (a, b))
    rows = a.shape[-2] if a.ndim > 1 else 1
    cols = b.shape[-1] if b.ndim > 1 else 1
    if variant == "matvec" and rows != 1 and cols != 1:
        variant = None
    bias = data.draw(_strided((cols,), dtype, rng)) if data.draw(st.booleans()) else None
    out = data.draw(_strided(shapes.result_shape, dtype, rng)) if data.draw(st.booleans()) else None
    if out is not None and not out.flags.writeable:
        out = out.copy()
    accumulate = out is not None and activation is None and data.draw(st.booleans())
    kept = [None if x is None else x.copy() for x in (a, b, bias, out)]
    around = out.base if out is not None else None
    empty_around = None if around is None else int(np.isnan(around).sum())

    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    exact, size = np.matmul(wide_a, wide_b), np.matmul(np.abs(wide_a), np.abs(wide_b))
    if bias is not None:
        wide_bias = bias.astype(np.float64) if b.ndim > 1 else bias.astype(np.float64)[0]
        exact, size = exact + wide_bias, size + np.abs(wide_bias)
    if accumulate:
        exact, size = exact + kept[3], size + np.abs(kept[3])
    if activation == "relu":
        exact = np.maximum(exact, 0)
    elif activation == "sigmoid":
        exact = 1 / (1 + np.exp(-exact))
    elif activation == "tanh":
        exact = np.tanh(exact)

    before = K.get_num_threads()
    K.set_num_threads(threads)
    try:
        got = K.matmul(
            np.swapaxes(a, -1, -2) if trans_a else a,
            np.swapaxes(b, -1, -2) if trans_b else b,
            out=out,
            trans_a=trans_a,
            trans_b=trans_b,
            bias=bias,
            activation=activation,
            accumulate=accumulate,
            variant=variant,
        )
    finally:
        K.set_num_threads(before)
    assert out is None or got is out
    assert got.dtype == dtype
    _assert_close(got, exact, size)
    for operand, copy in zip((a, b, bias), kept, strict=False):
        assert operand is None or np.array_equal(operand, copy)
    assert around is None or int(np.isnan(around).sum()) == empty_around


@settings(max_examples=150)
@given(
    st.integers(0, 260),
    st.integers(0, 700),
    st.integers(0, 260),
    _DTYPES,
    st.booleans(),
    st.booleans(),
    st.integers(1, 2),
)
@example(129, 700, 48 * 16 + 1, np.float32, False, False, 1)
@example(15, 2049, 2 * 16, np.float32, True, False, 2)
@example(28, 1025, 49, np.float64, False, True, 2)
def test_larger_matrices(
    m: int, k: int, n: int, dtype: Any, trans_a: bool, trans_b: bool, threads: int
) -> None:
    rng = np.random.default_rng([m, k, n])
    a = rng.standard_normal((k, m) if trans_a else (m, k)).astype(dtype)
    b = rng.standard_normal((n, k) if trans_b else (k, n)).astype(dtype)
    wide_a, wide_b = (a.T if trans_a else a).astype(np.float64), (b.T if trans_b else b).astype(np.float64)
    before = K.get_num_threads()
    K.set_num_threads(threads)
    try:
        out = K.matmul(a, b, trans_a=trans_a, trans_b=trans_b)
    finally:
        K.set_num_threads(before)
    _assert_close(out, wide_a @ wide_b, np.abs(wide_a) @ np.abs(wide_b))


@given(arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), st.data())
def test_shapes_that_do_not_fit_never_compute(shapes: Any, data: Any) -> None:
    """Whatever the shapes: what NumPy multiplies is multiplied, what it refuses is refused."""
    a, b = (
        np.ones((*shape, *data.draw(st.tuples(*[st.integers(0, 3)] * 2)))) for shape in shapes.input_shapes
    )
    if data.draw(st.booleans()):
        a = a[..., 0, :] if a.shape[-2] else a
    try:
        expected = np.matmul(a, b)
    except ValueError:
        with pytest.raises(ValueError, match=r"^matmul: "):
            K.matmul(a, b)
    else:
        np.testing.assert_array_equal(K.matmul(a, b), expected)
