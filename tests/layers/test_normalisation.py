"""csrc/layers/normalisation.cpp: layer norm, batch norm and their gradients, against their definitions in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K

_ROWS: list[tuple[int, ...]] = [
    (0, 5),
    (1, 1),
    (3, 2),
    (7, 16),
    (2, 5, 17),
    (64, 33),
    (61, 768),
    (3, 5003),
    (900, 257),
    (40_000, 5),
]
# (N, C, ...) on both ways through csrc/layers/normalisation_plan.cpp: columns, also more than 512 rows or columns and
# several to a channel; and runs, shorter and longer than a piece, of many channels and of few.
_CHANNELS: list[tuple[int, ...]] = [
    (2, 1),
    (5, 3),
    (64, 33),
    (1300, 70),
    (700, 600),
    (60, 3, 5),
    (20, 40, 7, 7),
    (3, 5, 7, 7),
    (4, 3, 13, 10),
    (9, 70, 200),
    (33, 2, 70, 61),
    (1, 3, 9001),
    (2, 1, 300, 301),
    (2, 600, 1),
]
_VARIANTS = ["naive", "fused"]


def _tolerance(dtype: Any, variant: str) -> float:
    # A plain sum of n numbers is off by up to n units in the last place, the fused ones by some units.
    return (
        (1e-12 if dtype is np.float64 else 2e-3)
        if variant == "naive"
        else (1e-13 if dtype is np.float64 else 1e-6)
    )


def _off(got: Any, expected: Any) -> float:
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(got - expected) / (norm if norm > 0 else 1))


class Reference:
    """Normalisation over some axes in float64; `shown` brings weights to the shape that broadcasts."""

    def __init__(self, x: Any, weight: Any, bias: Any, axes: tuple[int, ...], shape: Any, eps: float) -> None:
        wide = x.astype(np.float64)
        self.axes, self.shape = axes, shape
        self.mean = wide.mean(axes, keepdims=True)
        self.rstd = 1 / np.sqrt(((wide - self.mean) ** 2).mean(axes, keepdims=True) + eps)
        self.normal = (wide - self.mean) * self.rstd
        self.weight = 1.0 if weight is None else weight.astype(np.float64).reshape(shape)
        self.out = self.normal * self.weight + (
            0.0 if bias is None else bias.astype(np.float64).reshape(shape)
        )
        self.others = tuple(i for i in range(x.ndim) if shape[i] == 1)

    def backward(self, grad: Any) -> tuple[Any, Any, Any]:
        g = grad.astype(np.float64)
        weighted = g * self.weight
        # Of what dx is the difference of; distances are from a mean that has been rounded.
        self.size = np.linalg.norm(self.rstd * weighted * (1 + np.abs(self.mean) * self.rstd))
        dx = self.rstd * (
            weighted
            - weighted.mean(self.axes, keepdims=True)
            - self.normal * (weighted * self.normal).mean(self.axes, keepdims=True)
        )
        return dx, (g * self.normal).sum(self.others), g.sum(self.others)


def _of_rows(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Reference:
    return Reference(x, weight, bias, (x.ndim - 1,), (1,) * (x.ndim - 1) + x.shape[-1:], eps)


def _of_channels(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Reference:
    axes = (0, *range(2, x.ndim))
    return Reference(x, weight, bias, axes, (1, x.shape[1]) + (1,) * (x.ndim - 2), eps)


def _check_gradients(got: Any, reference: Reference, grad: Any, dtype: Any, variant: str) -> None:
    tolerance = _tolerance(dtype, variant)
    expected = reference.backward(grad)
    assert np.linalg.norm(got[0] - expected[0]) <= tolerance * reference.size
    # Sums that cancel are as exact as what is summed.
    size = np.linalg.norm(grad.astype(np.float64) * (1 + np.abs(reference.mean) * reference.rstd))
    for mine, theirs in zip(got[1:], expected[1:], strict=True):
        assert mine.dtype == dtype
        assert np.linalg.norm(mine - theirs) <= tolerance * (np.linalg.norm(theirs) + size)


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("affine", ["neither", "weight", "bias", "both"])
@pytest.mark.parametrize("shape", _ROWS, ids=str)
def test_layer_norm(
    shape: tuple[int, ...], affine: str, variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = (2 * rng.standard_normal(shape) + 3).astype(dtype)
    grad = rng.standard_normal(shape).astype(dtype)
    weight = rng.standard_normal(shape[-1]).astype(dtype) if affine in ("weight", "both") else None
    bias = rng.standard_normal(shape[-1]).astype(dtype) if affine in ("bias", "both") else None
    expected = _of_rows(x, weight, bias, 1e-3)
    out, mean, rstd = K.layer_norm(x, weight, bias, 1e-3, variant=variant)
    assert out.shape == shape
    assert mean.shape == rstd.shape == shape[:-1]
    assert out.dtype == mean.dtype == rstd.dtype == dtype
    tolerance = _tolerance(dtype, variant)
    assert _off(mean, expected.mean[..., 0]) <= tolerance
    assert _off(rstd, expected.rstd[..., 0]) <= tolerance
    assert _off(out, expected.out) <= tolerance
    got = K.layer_norm_backward(grad, x, mean, rstd, weight, variant=variant)
    _check_gradients(got, expected, grad, dtype, variant)
    by_x, by_weight, by_bias = K.layer_norm_backward(
        grad, x, mean, rstd, weight, need_weight=False, need_bias=False, variant=variant
    )
    assert by_weight is None
    assert by_bias is None
    np.testing.assert_array_equal(by_x, got[0])


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("affine", ["neither", "weight", "bias", "both"])
@pytest.mark.parametrize("shape", _CHANNELS, ids=str)
def test_batch_norm(
    shape: tuple[int, ...], affine: str, variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = (2 * rng.standard_normal(shape) + 3).astype(dtype)
    grad = rng.standard_normal(shape).astype(dtype)
    weight = rng.standard_normal(shape[1]).astype(dtype) if affine in ("weight", "both") else None
    bias = rng.standard_normal(shape[1]).astype(dtype) if affine in ("bias", "both") else None
    expected = _of_channels(x, weight, bias, 1e-3)
    out, mean, rstd = K.batch_norm(x, weight, bias, 1e-3, variant=variant)
    assert out.shape == shape
    assert mean.shape == rstd.shape == shape[1:2]
    assert out.dtype == mean.dtype == rstd.dtype == dtype
    tolerance = _tolerance(dtype, variant)
    assert _off(mean, expected.mean.ravel()) <= tolerance
    assert _off(rstd, expected.rstd.ravel()) <= tolerance
    assert _off(out, expected.out) <= tolerance
    got = K.batch_norm_backward(grad, x, mean, rstd, weight, variant=variant)
    _check_gradients(got, expected, grad, dtype, variant)
    by_x, by_weight, by_bias = K.batch_norm_backward(
        grad, x, mean, rstd, weight, need_weight=False, need_bias=False, variant=variant
    )
    assert by_weight is None
    assert by_bias is None
    np.testing.assert_array_equal(by_x, got[0])


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("shape", [*_CHANNELS, (1, 7), (0, 3), (3, 0), (2, 5, 0, 3)], ids=str)
def test_batch_norm_apply(
    shape: tuple[int, ...], variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape).astype(dtype)
    mean, weight, bias = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(3))
    var = rng.uniform(0.1, 2, shape[1]).astype(dtype)

    def wide(values: Any) -> Any:
        return values.astype(np.float64).reshape((1, -1) + (1,) * (len(shape) - 2))

    normal = (x - wide(mean)) / np.sqrt(wide(var) + 0.1)
    tolerance = 1e-14 if dtype is np.float64 else 5e-7
    got = K.batch_norm_apply(x, mean, var, weight, bias, 0.1, variant=variant)
    assert got.dtype == dtype
    assert _off(got, normal * wide(weight) + wide(bias)) <= tolerance
    assert _off(K.batch_norm_apply(x, mean, var, eps=0.1, variant=variant), normal) <= tolerance


@pytest.mark.parametrize("shape", [(700, 300), (3000, 33), (100, 5000)], ids=str)
def test_layer_norm_has_the_same_bits_on_any_threads(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    _same_bits(K.layer_norm, K.layer_norm_backward, shape, shape[1], rng)


@pytest.mark.parametrize(
    "shape",
    [(2000, 90), (64, 50, 7, 7), (40, 3, 40, 41), (2, 2, 300, 301), (8, 64, 30, 30), (700, 1100)],
    ids=str,
)
def test_batch_norm_has_the_same_bits_on_any_threads(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    _same_bits(K.batch_norm, K.batch_norm_backward, shape, shape[1], rng)


def _same_bits(forward: Any, backward: Any, shape: tuple[int, ...], size: int, rng: Any) -> None:
    x, grad = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    weight, bias = (rng.standard_normal(size, dtype=np.float32) for _ in range(2))
    before = K.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 7):
            K.set_num_threads(count)
            out, mean, rstd = forward(x, weight, bias)
            arrays = (out, mean, rstd, *backward(grad, x, mean, rstd, weight))
            results.append([array.tobytes() for array in arrays])
    finally:
        K.set_num_threads(before)
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("deviation", [1.0, 1e-2])
@pytest.mark.parametrize("shape", [(50, 1000), (600, 40), (8, 5, 40, 40), (30, 6, 7, 7)], ids=str)
def test_a_mean_far_from_zero_costs_nothing(
    shape: tuple[int, ...], deviation: float, dtype: Any, rng: np.random.Generator
) -> None:
    # What the numbers are, after rounding, decides: the reference sees the same.
    x = (rng.standard_normal(shape) * deviation + 1e4 * deviation).astype(dtype)
    tolerance = 1e-11 if dtype is np.float64 else 1e-6
    for forward, reference in ((K.layer_norm, _of_rows), (K.batch_norm, _of_channels)):
        out, _, rstd = forward(x, None, None, 1e-8)
        expected = reference(x, None, None, 1e-8)
        assert _off(out, expected.out) <= tolerance
        assert _off(rstd.ravel(), expected.rstd.ravel()) <= tolerance


def test_constant_rows() -> None:
    for value in (0.0, 3.0, 0.1, -1e30):
        x = np.full((6, 37), value, np.float32)
        for forward in (K.layer_norm, K.batch_norm):
            out, mean, rstd = forward(x, None, None, 1e-5)
            np.testing.assert_allclose(mean, np.float32(value), rtol=1e-6)
            if abs(value) < 1e10:
                np.testing.assert_allclose(rstd, 1e-5**-0.5, rtol=1e-6)
                np.testing.assert_allclose(out, 0, atol=1e-4)


def test_no_values() -> None:
    out, mean, rstd = K.batch_norm(np.zeros((0, 3)))
    assert out.shape == (0, 3)
    assert np.isnan(mean).all()
    assert np.isnan(rstd).all()
    empty = np.zeros((0, 3))
    by_x, by_weight, by_bias = K.batch_norm_backward(empty, empty, mean, rstd)
    assert by_x.shape == (0, 3)
    np.testing.assert_array_equal(by_weight, np.zeros(3))
    np.testing.assert_array_equal(by_bias, np.zeros(3))
    out, mean, rstd = K.layer_norm(np.zeros((4, 0)))
    assert out.shape == (4, 0)
    assert mean.shape == rstd.shape == (4,)
    assert K.layer_norm_backward(np.zeros((4, 0)), np.zeros((4, 0)), mean, rstd)[1].shape == (0,)  # type: ignore[union-attr]
    for by_parameter in K.layer_norm_backward(empty, empty, np.zeros(0), np.zeros(0))[1:]:
        np.testing.assert_array_equal(by_parameter, np.zeros(3))


def test_a_nan_stays_in_its_row_or_channel(dtype: Any, rng: np.random.Generator) -> None:
    for bad in (np.nan, np.inf):
        x = rng.standard_normal((40, 50)).astype(dtype)
        x[3, 7] = bad
        out = K.layer_norm(x)[0]
        assert np.isnan(out[3]).all()
        assert np.isfinite(np.delete(out, 3, axis=0)).all()
        out = K.batch_norm(x)[0]
        assert np.isnan(out[:, 7]).all()
        assert np.isfinite(np.delete(out, 7, axis=1)).all()
        wide = np.ascontiguousarray(np.broadcast_to(x[:, :, None], (40, 50, 200)))
        out = K.batch_norm(wide)[0]
        assert np.isnan(out[:, 7]).all()
        assert np.isfinite(np.delete(out, 7, axis=1)).all()


def test_in_place_and_at_any_alignment(dtype: Any, rng: np.random.Generator) -> None:
    for forward, shape in ((K.layer_norm, (5, 211)), (K.batch_norm, (20, 53)), (K.batch_norm, (3, 4, 211))):
        x = rng.standard_normal(shape).astype(dtype)
        expected = forward(x)
        for offset in range(0, 17, 3):
            memory = np.full(x.size + 40, 7, dtype)
            out = memory[offset : offset + x.size].reshape(shape)
            out[...] = x
            result = forward(out, out=out)
            assert result[0] is out
            for got, wanted in zip(result, expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
            assert (memory[:offset] == 7).all()
            assert (memory[offset + x.size :] == 7).all()


@given(
    st.integers(1, 7),
    st.integers(1, 30),
    st.integers(1, 5),
    st.sampled_from([1, 2, -1]),
    st.sampled_from([1, 2, -1]),
    st.booleans(),
)
def test_any_strides(n: int, channels: int, inner: int, step: int, other: int, fortran: bool) -> None:
    rng = np.random.default_rng(n * 100 + channels)
    base = np.asarray(
        rng.standard_normal((n * abs(step), channels * abs(other), inner)), order="F" if fortran else "C"
    )
    x = base[::step, ::other]
    grad = rng.standard_normal((inner, channels, n)).T
    for forward, backward, size in (
        (K.layer_norm, K.layer_norm_backward, inner),
        (K.batch_norm, K.batch_norm_backward, channels),
    ):
        weight = rng.standard_normal(2 * size)[::2]
        got = forward(x, weight, weight)
        expected = forward(x.copy(), weight.copy(), weight.copy())
        mean, rstd = (np.repeat(array, 2, axis=0)[::2] for array in got[1:])
        got += backward(grad, x, mean, rstd, weight)
        expected += backward(np.ascontiguousarray(grad), x.copy(), *expected[1:], weight.copy())
        for mine, theirs in zip(got, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        out = np.zeros((n, channels, 2 * inner))[..., ::2]
        forward(x, weight, weight, out=out)
        np.testing.assert_array_equal(out, got[0])


@pytest.mark.parametrize("operation", ["layer_norm", "batch_norm"])
def test_against_finite_differences(operation: str, rng: np.random.Generator) -> None:
    forward, backward = getattr(K, operation), getattr(K, f"{operation}_backward")
    x = rng.standard_normal((4, 3, 5))
    size = 5 if operation == "layer_norm" else 3
    inputs = [x, rng.standard_normal(size), rng.standard_normal(size)]
    grad = rng.standard_normal(x.shape)
    _, mean, rstd = forward(*inputs)
    gradients = backward(grad, x, mean, rstd, inputs[1])
    for which, gradient in enumerate(gradients):
        for place in np.ndindex(*gradient.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [array.copy() for array in inputs]
                moved[which][place] += step
                ends.append((forward(*moved)[0] * grad).sum())
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradient[place], abs=1e-7)


@pytest.mark.parametrize("shape", [(33, 70), (6, 5, 9, 11), (4, 3, 1000)], ids=str)
def test_against_pytorch(shape: tuple[int, ...], torch: Any, dtype: Any, rng: np.random.Generator) -> None:
    x, grad = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    for operation, size in (("layer_norm", shape[-1]), ("batch_norm", shape[1])):
        weight, bias = (rng.standard_normal(size).astype(dtype) for _ in range(2))
        leaves = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, weight, bias)]
        if operation == "layer_norm":
            theirs = torch.nn.functional.layer_norm(leaves[0], (size,), leaves[1], leaves[2])
        else:
            theirs = torch.nn.functional.batch_norm(
                leaves[0], None, None, leaves[1], leaves[2], training=True
            )
        theirs.backward(torch.tensor(grad, dtype=torch.float64))
        out, mean, rstd = getattr(K, operation)(x, weight, bias)
        tolerance = 1e-12 if dtype is np.float64 else 2e-6
        assert _off(out, theirs.detach().numpy()) <= tolerance
        gradients = getattr(K, f"{operation}_backward")(grad, x, mean, rstd, weight)
        for got, leaf in zip(gradients, leaves, strict=True):
            assert _off(got, leaf.grad.numpy()) <= tolerance


class TestErrors:
    x = np.zeros((3, 4), np.float32)
    ones = np.ones(4, np.float32)

    @pytest.mark.parametrize("operation", ["layer_norm", "batch_norm"])
    def test_forward(self, operation: str) -> None:
        forward = getattr(K, operation)
        for name in ("weight", "bias"):
            with pytest.raises(
                ValueError, match=rf"{operation}: {name} is \(3,\) but x is \(3, 4\); expected \(4,\)"
            ):
                forward(self.x, **{name: self.ones[:3]})
            with pytest.raises(
                TypeError, match=rf"{operation}: {name} is float64 but x is float32; expected one dtype"
            ):
                forward(self.x, **{name: np.ones(4)})
        with pytest.raises(ValueError, match=rf"{operation}: eps is -1.0; expected 0 or more"):
            forward(self.x, eps=-1)
        with pytest.raises(ValueError, match="eps is nan"):
            forward(self.x, eps=float("nan"))
        with pytest.raises(TypeError, match="x has dtype int64; expected float32 or float64"):
            forward(self.x.astype(np.int64))
        with pytest.raises(ValueError, match=r"out is \(4, 3\); expected \(3, 4\)"):
            forward(self.x, out=np.zeros((4, 3), np.float32))
        with pytest.raises(ValueError, match="variant is 'fast'"):
            forward(self.x, variant="fast")
        memory = np.zeros(20, np.float32)
        with pytest.raises(ValueError, match=f"{operation}: out overlaps x; expected x itself or memory"):
            forward(memory[:12].reshape(3, 4), out=memory[4:16].reshape(3, 4))
        with pytest.raises(ValueError, match=f"{operation}: out overlaps bias; expected memory of its own"):
            forward(self.x, None, memory[:4], out=memory[:12].reshape(3, 4))

    @pytest.mark.parametrize("operation", ["layer_norm", "batch_norm"])
    def test_backward(self, operation: str) -> None:
        backward = getattr(K, f"{operation}_backward")
        _, mean, rstd = getattr(K, operation)(self.x)
        with pytest.raises(ValueError, match=r"grad is \(2, 4\) but x is \(3, 4\); expected one shape"):
            backward(self.x[:2], self.x, mean, rstd)
        with pytest.raises(ValueError, match=r"mean is \(2,\) but x is \(3, 4\); expected"):
            backward(self.x, self.x, mean[:2], rstd)
        with pytest.raises(ValueError, match=r"rstd is \(1, 2\) but x is \(3, 4\); expected"):
            backward(self.x, self.x, mean, rstd[None, :2])
        with pytest.raises(ValueError, match=r"weight is \(2,\) but x is"):
            backward(self.x, self.x, mean, rstd, self.ones[:2])
        with pytest.raises(TypeError, match="one dtype"):
            backward(self.x, self.x, mean.astype(np.float64), rstd)

    def test_dimensions(self) -> None:
        with pytest.raises(ValueError, match="layer_norm: x is a scalar"):
            K.layer_norm(np.ones(()))
        for operation in (K.batch_norm, lambda x: K.batch_norm_apply(x, x, x)):
            with pytest.raises(ValueError, match=r"x is \(4,\); expected \(N, C\) or \(N, C, \.\.\.\)"):
                operation(self.ones)

    def test_apply(self) -> None:
        with pytest.raises(
            ValueError, match=r"batch_norm_apply: mean is \(3,\) but x is \(3, 4\); expected \(4,\)"
        ):
            K.batch_norm_apply(self.x, self.ones[:3], self.ones)
        with pytest.raises(ValueError, match=r"batch_norm_apply: var is \(3,\)"):
            K.batch_norm_apply(self.x, self.ones, self.ones[:3])
        memory = np.ones(12, np.float32)
        with pytest.raises(ValueError, match="out overlaps var; expected memory of its own"):
            K.batch_norm_apply(self.x, self.ones, memory[4:8], out=memory.reshape(3, 4))
