from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl

SHAPES = [
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((3,), (3,)),
    ((1,), (1,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (2, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((2, 3), (3, 0)),
    ((0, 2, 3), (3, 4)),
    ((17, 33), (33, 9)),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_against_numpy(check, rng, shapes):
    first, second = (rng.standard_normal(shape) for shape in shapes)
    if first.size * second.size > 1000:
        first, second = first[:, :8], second[:8]
    check(lambda a, b: a @ b, np.matmul, first, second)


def test_transposed_operands(check, rng):
    x, w = rng.standard_normal((2, 3)), rng.standard_normal((4, 3))
    check(lambda a, b: a @ b.T, lambda a, b: a @ b.T, x, w)
    check(lambda a, b: (b @ a.T).T, lambda a, b: a @ b.T, x, w)
    check(lambda a: a @ a.T, lambda a: a @ a.T, x)


def test_names_and_other_operands(rng):
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((3, 2))
    a = dl.Tensor(x)
    expected = x @ y
    for out in (
        a @ y,
        a.matmul(y),
        a.mm(y),
        a @ dl.Tensor(y),
        a @ y.tolist(),
        x @ dl.Tensor(y),
        x.tolist() @ dl.Tensor(y),
    ):
        assert isinstance(out, dl.Tensor)
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_vectors(rng, dtype):
    # Many times and lengths: the result has no dimensions, and no strides to read.
    for length in (0, 1, 2, 7, 16, 33, 100):
        x, y = rng.standard_normal(length).astype(dtype), rng.standard_normal(length).astype(dtype)
        for _ in range(50):
            out = dl.Tensor(x) @ dl.Tensor(y)
        assert out.shape == ()
        assert out.item() == pytest.approx(float(x @ y), rel=1e-4, abs=1e-4)


def test_the_gradient_of_a_weight_adds_up():
    # Written into the weight's own gradient by the kernel: it must add to what is there.
    w = dl.ones(3, 2, requires_grad=True)
    x = dl.ones(4, 3)
    for passes in (1, 2, 3):
        (x @ w).sum().backward()
        assert w.grad.tolist() == [[4.0 * passes] * 2] * 3
    kept = w.grad
    w.zero_grad()
    ((x @ w) + (x @ w)).sum().backward()
    assert w.grad.tolist() == [[8.0] * 2] * 3
    assert kept.tolist() == [[12.0] * 2] * 3


def test_a_weight_on_both_sides():
    w = dl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (w @ w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), [[7, 11], [9, 13]])


def test_integers_and_mixed_dtypes():
    x = dl.arange(6).reshape(2, 3)
    assert (x @ x.T).tolist() == [[5, 14], [14, 50]]
    assert (x @ x.T).dtype == np.int64
    assert (x @ dl.ones(3)).dtype == np.float32
    w = dl.ones(3, requires_grad=True)
    (x @ w).sum().backward()
    assert w.grad.tolist() == [3.0, 5.0, 7.0]
    with pytest.raises(TypeError, match="matmul: b is float64 but a is float32; expected one dtype"):
        dl.ones(2, 2) @ dl.ones(2, dtype="float64")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((2, 3), (2, 3), r"matmul: a is \(2, 3\) but b is \(2, 3\): inner dimensions 3 and 2 differ"),
        ((3,), (2,), r"matmul: a is \(3,\) but b is \(2,\): inner dimensions 3 and 2 differ"),
        ((), (2,), r"matmul: a is a scalar; expected at least one dimension"),
        ((2,), (), r"matmul: b is a scalar; expected at least one dimension"),
        ((2, 1, 3), (3, 3, 1), r"matmul: .*batch dimensions 2 and 3 cannot be broadcast together"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_shapes_that_do_not_fit(first, second, message, dtype):
    with pytest.raises(ValueError, match=message if dtype == "float32" else "matmul: a is|matmul: b is"):
        dl.ones(first, dtype=dtype) @ dl.ones(second, dtype=dtype)


@pytest.mark.parametrize(
    "other", ["a", None, 1j, np.ones((2, 2), complex), np.ones((2, 2), np.float16)], ids=repr
)
def test_operands_that_are_no_numbers(other):
    with pytest.raises(TypeError, match=r"matmul: other is an? .*; expected real numbers"):
        dl.ones(2, 2) @ other


@given(
    st.lists(st.integers(1, 3), max_size=2),
    *(st.integers(0, 5) for _ in range(3)),
    st.booleans(),
    st.booleans(),
)
def test_any_product(stack, m, k, n, stack_a, stack_b):
    rng = np.random.default_rng(m + 10 * k + 100 * n)
    x = rng.standard_normal((*(stack if stack_a else ()), m, k))
    y = rng.standard_normal((*(stack if stack_b else ()), k, n))
    a, b = dl.Tensor(x, requires_grad=True), dl.Tensor(y, requires_grad=True)
    out = a @ b
    np.testing.assert_allclose(out.numpy(), x @ y, atol=1e-12)
    seed = rng.standard_normal(out.shape)
    out.backward(seed)
    by_x, by_y = seed @ np.swapaxes(y, -1, -2), np.swapaxes(x, -1, -2) @ seed
    for leaf, slope in ((a, by_x), (b, by_y)):
        slope = slope.sum(axis=tuple(range(slope.ndim - leaf.ndim)))
        np.testing.assert_allclose(leaf.grad.numpy(), slope, atol=1e-12)
