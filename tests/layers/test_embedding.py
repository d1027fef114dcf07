"""csrc/layers/embedding.cpp: rows of a table by their numbers, and sums of gradients back into them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K

_VARIANTS = [variant.name for variant in K.variants("embedding")]
# Rows, columns and the shape of the indices: tails of every width, rows that share cache lines, work for two threads.
_SIZES: list[tuple[int, int, tuple[int, ...]]] = [
    (1, 1, (1,)),
    (5, 3, (2, 7)),
    (10, 1, (0,)),
    (10, 0, (4,)),
    (7, 16, ()),
    (7, 17, (3, 1, 5)),
    (50, 33, (40,)),
    (100, 8, (60_000,)),
    (300, 63, (20, 200)),
    (2000, 301, (1500,)),
]


def _sums(grad: Any, indices: Any, rows: int, padding: int | None) -> Any:
    expected = np.zeros((rows, grad.shape[-1]))
    np.add.at(expected, indices, grad.astype(np.float64))
    if padding is not None:
        expected[padding] = 0
    return expected


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize(("rows", "cols", "shape"), _SIZES, ids=str)
def test_gather(
    rows: int,
    cols: int,
    shape: tuple[int, ...],
    variant: str,
    dtype: Any,
    threads: int,
    rng: np.random.Generator,
) -> None:
    weight = rng.standard_normal((rows, cols)).astype(dtype)
    indices = rng.integers(0, rows, shape)
    got = K.embedding(weight, indices, variant=variant)
    assert got.dtype == dtype
    assert got.shape == (*shape, cols)
    np.testing.assert_array_equal(got, weight[indices])


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("rows", "cols", "shape"), _SIZES, ids=str)
def test_scatter(
    rows: int,
    cols: int,
    shape: tuple[int, ...],
    padded: bool,
    variant: str,
    dtype: Any,
    threads: int,
    rng: np.random.Generator,
) -> None:
    # As words are spread: a few of them are most of a text.
    indices = np.minimum(rng.geometric(0.2, shape) - 1, rows - 1)
    grad = rng.standard_normal((*shape, cols)).astype(dtype)
    padding = int(rng.integers(rows)) if padded else None
    expected = _sums(grad, indices, rows, padding)
    scale = np.sqrt(max(indices.size, 1)) * np.linalg.norm(grad)
    tolerance = (1e-15 if dtype is np.float64 else 5e-7) * max(scale, 1)
    got = K.embedding_backward(grad, indices, rows, padding, variant=variant)
    assert got.dtype == dtype
    assert got.shape == (rows, cols)
    assert np.linalg.norm(got - expected) <= tolerance
    out = np.full((rows, cols), 2, dtype)
    assert K.embedding_backward(grad, indices, rows, padding, out=out, variant=variant) is out
    np.testing.assert_array_equal(out, got)
    out[...] = 1
    K.embedding_backward(grad, indices, rows, padding, out=out, accumulate=True, variant=variant)
    assert np.linalg.norm(out - 1 - expected) <= 2 * tolerance + 1e-6 * np.sqrt(out.size)


@pytest.mark.parametrize(("rows", "cols", "count"), [(500, 8, 30_000), (40, 300, 5000), (9, 33, 20_000)])
def test_the_same_bits_on_any_threads(rows: int, cols: int, count: int, rng: np.random.Generator) -> None:
    indices = rng.integers(0, rows, count)
    grad = rng.standard_normal((count, cols), dtype=np.float32)
    expected = K.embedding_backward(grad, indices, rows, 3, variant="naive")
    before = K.get_num_threads()
    try:
        for threads in (1, 2, 3, 5):
            K.set_num_threads(threads)
            np.testing.assert_array_equal(K.embedding_backward(grad, indices, rows, 3), expected)
    finally:
        K.set_num_threads(before)


@given(
    st.integers(1, 30),
    st.integers(0, 40),
    st.integers(0, 20),
    st.sampled_from([1, 2, -1]),
    st.sampled_from([1, 3, -2]),
    st.booleans(),
)
def test_any_strides(rows: int, cols: int, count: int, step: int, other: int, transpose: bool) -> None:
    rng = np.random.default_rng(rows + 100 * cols)
    shape = (cols * abs(other), rows * abs(step)) if transpose else (rows * abs(step), cols * abs(other))
    base = rng.standard_normal(shape)
    weight = (base.T if transpose else base)[::step, ::other]
    indices = rng.integers(0, rows, (count, 2))[:, 1][::step]
    np.testing.assert_array_equal(K.embedding(weight, indices), weight[indices])
    wide = rng.standard_normal((count * abs(step), 2 * cols))[::step, ::2]
    grad = wide[: len(indices)]
    out = np.zeros((rows, 2 * cols))[:, ::2]
    K.embedding_backward(grad, indices, rows, out=out)
    np.testing.assert_allclose(out, _sums(grad, indices, rows, None), atol=1e-12)
    K.embedding_backward(grad, indices, rows, out=out, accumulate=True)
    np.testing.assert_allclose(out, 2 * _sums(grad, indices, rows, None), atol=1e-12)


@pytest.mark.parametrize(
    "integer", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, ">i4"]
)
def test_indices_of_any_integer_dtype(integer: Any, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((9, 5))
    plain = rng.integers(0, 9, (4, 3))
    np.testing.assert_array_equal(K.embedding(weight, plain.astype(integer)), weight[plain])
    np.testing.assert_array_equal(K.embedding(weight, plain.tolist()), weight[plain])
    assert K.embedding(weight, []).shape == (0, 5)


def test_nothing_is_written_beside_the_rows(dtype: Any, rng: np.random.Generator) -> None:
    for cols in (1, 3, 5, 15, 17, 31, 70):
        weight = rng.standard_normal((6, cols)).astype(dtype)
        memory = np.full(4 * cols + 40, 7, dtype)
        for offset in range(0, 20, 3):
            memory[...] = 7
            out = memory[offset : offset + 4 * cols].reshape(4, cols)
            K.embedding(weight, np.array([5, 0, 3, 3]), out=out)
            np.testing.assert_array_equal(out, weight[[5, 0, 3, 3]])
            assert (memory[:offset] == 7).all()
            assert (memory[offset + 4 * cols :] == 7).all()


def test_against_pytorch(torch: Any, dtype: Any, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((30, 11)).astype(dtype)
    indices = rng.integers(0, 30, (8, 5))
    grad = rng.standard_normal((8, 5, 11)).astype(dtype)
    leaf = torch.tensor(weight, requires_grad=True)
    out = torch.nn.functional.embedding(torch.tensor(indices), leaf, padding_idx=4)
    out.backward(torch.tensor(grad))
    np.testing.assert_array_equal(K.embedding(weight, indices), out.detach().numpy())
    got = K.embedding_backward(grad, indices, 30, 4)
    np.testing.assert_allclose(got, leaf.grad.numpy(), atol=1e-5 if dtype is np.float32 else 1e-14)


class TestErrors:
    weight = np.zeros((3, 4), np.float32)

    @pytest.mark.parametrize("variant", _VARIANTS)
    @pytest.mark.parametrize("bad", [3, -1, 2**40, -(2**40)])
    def test_out_of_range(self, bad: int, variant: str) -> None:
        expected = rf"indices\[1, 0\] is {bad}; expected 0 to 2 \(weight is \(3, 4\)\)"
        with pytest.raises(IndexError, match=f"embedding: {expected}"):
            K.embedding(self.weight, np.array([[0, 1], [bad, 0]]), variant=variant)
        out = np.full((3, 4), 5, np.float32)
        with pytest.raises(IndexError, match=rf"embedding_backward: indices\[1\] is {bad}; expected 0 to 2"):
            K.embedding_backward(np.ones((2, 4), np.float32), np.array([0, bad]), 3, out=out, variant=variant)
        assert (out == 5).all()

    def test_out_of_range_of_other_dtypes(self) -> None:
        with pytest.raises(IndexError, match=rf"indices\[0\] is {2**64 - 1};"):
            K.embedding(self.weight, np.array([2**64 - 1], np.uint64))
        with pytest.raises(IndexError, match="indices is 7; expected 0 to 2"):
            K.embedding(self.weight, np.array(7))
        with pytest.raises(IndexError, match=r"indices\[0\] is 0; there are no rows"):
            K.embedding(self.weight[:0], np.array([0]))

    @pytest.mark.parametrize("dtype", [np.float32, np.bool_, object, "U3"])
    def test_index_dtype(self, dtype: Any) -> None:
        with pytest.raises(TypeError, match=r"indices has dtype .*; expected integers"):
            K.embedding(self.weight, np.array([0, 1]).astype(dtype))

    def test_shapes(self) -> None:
        with pytest.raises(ValueError, match=r"weight is \(3,\); expected \(num_embeddings, embedding_dim\)"):
            K.embedding(self.weight[:, 0], [0])
        with pytest.raises(ValueError, match=r"out is \(3, 4\); expected \(2, 4\)"):
            K.embedding(self.weight, [0, 1], out=np.zeros((3, 4), np.float32))
        with pytest.raises(ValueError, match=r"grad is \(2, 4\) but indices is \(3,\)"):
            K.embedding_backward(np.zeros((2, 4)), [0, 1, 2], 3)
        with pytest.raises(ValueError, match=r"grad is \(2,\) but indices is \(2,\)"):
            K.embedding_backward(np.zeros(2), [0, 1], 3)

    def test_settings(self) -> None:
        grad = np.zeros((2, 4))
        with pytest.raises(ValueError, match="padding_idx is 3; expected 0 to 2 or None"):
            K.embedding_backward(grad, [0, 1], 3, 3)
        with pytest.raises(ValueError, match="padding_idx is -1; expected 0 to 2 or None"):
            K.embedding_backward(grad, [0, 1], 3, -1)
        with pytest.raises(ValueError, match="num_embeddings is -2; expected 0 or more"):
            K.embedding_backward(grad, [0, 1], -2)
        with pytest.raises(ValueError, match="accumulate=True needs out"):
            K.embedding_backward(grad, [0, 1], 3, accumulate=True)
        with pytest.raises(ValueError, match="variant is 'fast'"):
            K.embedding(self.weight, [0], variant="fast")

    def test_dtypes(self) -> None:
        with pytest.raises(TypeError, match="weight has dtype int64; expected float32 or float64"):
            K.embedding(np.zeros((3, 4), np.int64), [0])
        with pytest.raises(TypeError, match="out"):
            K.embedding(self.weight, [0], out=np.zeros((1, 4)))

    def test_shared_memory(self) -> None:
        with pytest.raises(ValueError, match="embedding: out overlaps weight; expected memory of its own"):
            K.embedding(self.weight, [0, 1, 2], out=self.weight)
