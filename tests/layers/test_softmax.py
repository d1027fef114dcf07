"""csrc/layers/softmax.cpp: softmax, its logarithm, and cross-entropy with its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K

_SHAPES = [(0, 5), (1, 1), (3, 2), (64, 10), (7, 33), (5, 1000), (300, 257), (3, 5003)]
_VARIANTS = [variant.name for variant in K.variants("cross_entropy")]


def _off(got: Any, expected: Any) -> float:
    norm = np.linalg.norm(expected)
    return (
        float(np.linalg.norm(got.astype(np.float64) - expected) / norm)
        if norm > 0
        else float(np.linalg.norm(got))
    )


def _tolerance(dtype: Any, variant: str = "fused", count: int = 1) -> float:
    """Of rows of `count`: four lanes at least add up a row, and the roundings of a growing sum are a random walk."""
    if dtype is np.float64:
        return 1e-13
    return 1e-6 + 2**-24 * (count / 4) ** 0.5 / 2 if variant != "naive" else 2e-4  # a plain sum of thousands


def _log_softmax(x: Any) -> Any:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _cross_entropy(x: Any, labels: Any, smoothing: float, ignore: int) -> tuple[Any, Any]:
    count = x.shape[1]
    kept = labels != ignore
    target = np.full(x.shape, smoothing / count)
    target[np.arange(len(labels)), np.where(kept, labels, 0)] += 1 - smoothing
    log_probabilities = _log_softmax(x)
    losses = -(target * log_probabilities).sum(axis=1) * kept
    return losses, (np.exp(log_probabilities) - target) * kept[:, None]


@pytest.mark.parametrize("variant", ["naive", "fused"])
@pytest.mark.parametrize("shape", _SHAPES)
def test_softmax(
    shape: tuple[int, int], variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = (5 * rng.standard_normal(shape)).astype(dtype)
    expected = _log_softmax(x.astype(np.float64)) if x.size else np.zeros(shape)
    probabilities = K.softmax(x, variant=variant)
    logarithms = K.log_softmax(x, variant=variant)
    assert _off(probabilities, np.exp(expected)) < _tolerance(dtype, variant, shape[1])
    assert _off(logarithms, expected) < _tolerance(dtype, variant, shape[1])

    # Differences of numbers of the size of the gradient: exact to that size.
    grad = rng.standard_normal(shape).astype(dtype)
    p, g = np.exp(expected), grad.astype(np.float64)
    limit = 4 * _tolerance(dtype, variant, shape[1]) * np.linalg.norm(g)
    got = K.softmax_backward(grad, probabilities, variant=variant)
    assert np.linalg.norm(got - p * (g - (g * p).sum(axis=1, keepdims=True))) <= limit
    got = K.log_softmax_backward(grad, logarithms, variant=variant)
    assert np.linalg.norm(got - (g - p * g.sum(axis=1, keepdims=True))) <= limit


@pytest.mark.parametrize("variant", _VARIANTS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", _SHAPES)
def test_cross_entropy(
    shape: tuple[int, int], smoothing: float, variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    x = (5 * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    labels[1::4] = -100
    expected = (np.zeros(0), np.zeros(shape))
    if shape[0] > 0:
        expected = _cross_entropy(x.astype(np.float64), labels, smoothing, -100)
    losses, grad = K.cross_entropy(x, labels, label_smoothing=smoothing, grad_scale=0.25, variant=variant)
    assert grad is not None
    # Both are differences of numbers of about 1: small ones are as exact as those are.
    ones = np.sqrt(shape[0])
    tolerance = _tolerance(dtype, variant, shape[1])
    assert np.linalg.norm(losses - expected[0]) <= tolerance * (ones + np.linalg.norm(expected[0]))
    assert np.linalg.norm(grad / 0.25 - expected[1]) <= tolerance * ones
    alone, nothing = K.cross_entropy(x, labels, label_smoothing=smoothing, need_grad=False, variant=variant)
    assert nothing is None
    np.testing.assert_array_equal(alone, losses)


@pytest.mark.parametrize("offset", range(0, 17, 3))
def test_gradient_at_any_alignment(offset: int, dtype: Any, rng: np.random.Generator) -> None:
    shape = (5, 211)
    x = rng.standard_normal(shape).astype(dtype)
    labels = rng.integers(0, 211, 5)
    memory = np.full(x.size + 40, 7, dtype)
    out = memory[offset : offset + x.size].reshape(shape)
    K.cross_entropy(x, labels, out=out)
    np.testing.assert_array_equal(out, K.cross_entropy(x, labels)[1])
    assert (memory[:offset] == 7).all()
    assert (memory[offset + x.size :] == 7).all()


def test_against_finite_differences(rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 6))
    labels = np.array([0, 5, -1, 3])
    settings: dict[str, Any] = {"label_smoothing": 0.2, "ignore_index": -1}
    grad = K.cross_entropy(x, labels, **settings)[1]
    assert grad is not None
    for row, col in np.ndindex(*x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[row, col] += 1e-6
        behind[row, col] -= 1e-6
        slope = (
            K.cross_entropy(ahead, labels, **settings)[0] - K.cross_entropy(behind, labels, **settings)[0]
        ) / 2e-6
        assert slope.sum() == pytest.approx(grad[row, col], abs=1e-8)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_against_pytorch(smoothing: float, dtype: Any, rng: np.random.Generator, torch: Any) -> None:
    x = (4 * rng.standard_normal((33, 70))).astype(dtype)
    labels = rng.integers(0, 70, 33)
    labels[5] = -100
    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels), label_smoothing=smoothing)
    loss.backward()
    losses, grad = K.cross_entropy(x, labels, label_smoothing=smoothing, grad_scale=1 / 32)
    assert grad is not None
    assert losses.sum() / 32 == pytest.approx(loss.item(), rel=1e-6)
    assert _off(grad, leaf.grad.numpy()) < 2 * _tolerance(dtype)


@pytest.mark.parametrize(
    "integer", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, ">i4"]
)
def test_labels_of_any_integer_dtype_and_strides(integer: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((9, 5))
    plain = rng.integers(0, 5, 9)
    spread = np.zeros((9, 3), integer)
    spread[:, 1] = plain
    np.testing.assert_array_equal(K.cross_entropy(x, spread[:, 1])[0], K.cross_entropy(x, plain)[0])
    np.testing.assert_array_equal(K.cross_entropy(x, plain.tolist())[0], K.cross_entropy(x, plain)[0])


@given(
    st.integers(1, 6),
    st.integers(1, 40),
    st.sampled_from([1, 2, -1, 3]),
    st.sampled_from([1, 2, -1]),
    st.booleans(),
)
def test_any_strides(rows: int, cols: int, row_step: int, col_step: int, fortran: bool) -> None:
    rng = np.random.default_rng(rows * 100 + cols)
    base = np.asarray(
        rng.standard_normal((rows * abs(row_step), cols * abs(col_step))), order="F" if fortran else "C"
    )
    x = base[::row_step, ::col_step]
    labels = rng.integers(0, cols, rows)
    for got, expected in zip(K.cross_entropy(x, labels), K.cross_entropy(x.copy(), labels), strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(K.softmax(x), K.softmax(x.copy()))


def test_in_place(rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 50), dtype=np.float32)
    labels = rng.integers(0, 50, 6)
    for variant in [*_VARIANTS, None]:
        logits = x.copy()
        losses, grad = K.cross_entropy(logits, labels, out=logits, label_smoothing=0.1, variant=variant)
        assert grad is logits
        expected = K.cross_entropy(x, labels, label_smoothing=0.1, variant="naive")
        np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
        np.testing.assert_allclose(grad, expected[1], atol=1e-6)


def test_extreme_logits() -> None:
    x = np.array([[1e4, -1e4, 0.0], [-np.inf, 0.0, 0.0], [3e38, 3e38, -3e38]], np.float32)
    losses, grad = K.cross_entropy(x, np.array([1, 1, 0]))
    assert grad is not None
    np.testing.assert_allclose(losses, [2e4, np.log(2), np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(grad, [[1, -1, 0], [0, -0.5, 0.5], [-0.5, 0.5, 0]], atol=1e-6)
    for row in ([np.nan, 0.0], [np.inf, 0.0]):
        losses, grad = K.cross_entropy(np.array([row]), np.array([1]))
        assert grad is not None
        assert np.isnan(losses[0])
        assert np.isnan(grad).all()


class TestErrors:
    x = np.zeros((3, 4), np.float32)

    def test_label_out_of_range(self) -> None:
        for bad in (4, -1, 2**40):
            with pytest.raises(
                ValueError, match=rf"labels\[1\] is {bad}; expected 0 to 3 .*or ignore_index -100"
            ):
                K.cross_entropy(self.x, np.array([0, bad, 0]))
        with pytest.raises(ValueError, match=rf"labels\[2\] is {2**64 - 1};"):
            K.cross_entropy(self.x, np.array([0, 1, 2**64 - 1], np.uint64))

    def test_nan_label(self) -> None:
        with pytest.raises(ValueError, match=r"labels\[2\] is nan; expected integers"):
            K.cross_entropy(self.x, np.array([0, 1, np.nan]))

    @pytest.mark.parametrize("dtype", [np.float32, np.bool_, object, np.complex128, "U3"])
    def test_label_dtype(self, dtype: Any) -> None:
        with pytest.raises(TypeError, match=r"labels has dtype .*expected integers"):
            K.cross_entropy(self.x, np.array([0, 1, 1]).astype(dtype))

    def test_label_shape(self) -> None:
        with pytest.raises(ValueError, match=r"labels is \(2,\) but logits is \(3, 4\); expected \(3,\)"):
            K.cross_entropy(self.x, np.array([0, 1]))
        with pytest.raises(ValueError, match=r"labels is \(3, 1\)"):
            K.cross_entropy(self.x, np.array([[0], [1], [1]]))

    def test_logits(self) -> None:
        with pytest.raises(ValueError, match=r"logits is \(4,\); expected \(N, C\)"):
            K.cross_entropy(self.x[0], np.array([0]))
        with pytest.raises(ValueError, match=r"logits is \(3, 0\); expected at least one class"):
            K.cross_entropy(self.x[:, :0], np.array([0, 0, 0]))
        with pytest.raises(TypeError, match=r"logits has dtype int64; expected float32 or float64"):
            K.cross_entropy(self.x.astype(np.int64), np.array([0, 0, 0]))

    def test_settings(self) -> None:
        labels = np.array([0, 1, 2])
        with pytest.raises(ValueError, match=r"label_smoothing is 1.5"):
            K.cross_entropy(self.x, labels, label_smoothing=1.5)
        with pytest.raises(TypeError, match=r"grad_scale is 'a'; expected a number"):
            K.cross_entropy(self.x, labels, grad_scale="a")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"ignore_index is 0.5; expected an integer"):
            K.cross_entropy(self.x, labels, ignore_index=0.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="out is given but need_grad is False"):
            K.cross_entropy(self.x, labels, need_grad=False, out=np.empty_like(self.x))
        with pytest.raises(ValueError, match="variant is 'fast'"):
            K.cross_entropy(self.x, labels, variant="fast")

    def test_out_overlaps_in_part(self) -> None:
        memory = np.zeros(20, np.float32)
        with pytest.raises(ValueError, match="cross_entropy: out overlaps logits"):
            K.cross_entropy(memory[:12].reshape(3, 4), np.array([0, 1, 2]), out=memory[4:16].reshape(3, 4))

    def test_scalar(self) -> None:
        with pytest.raises(ValueError, match="softmax: x is a scalar"):
            K.softmax(np.float64(3.0) * np.ones(()))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("ignored", [0, 3, 9])
def test_losses_as_one_number(dtype, reduction, ignored):
    rng = np.random.default_rng(ignored)
    logits = rng.standard_normal((9, 5)).astype(dtype)
    labels = rng.integers(0, 5, 9)
    labels[:ignored] = -100
    counted = 9 - ignored
    losses, gradient = K.cross_entropy(logits, labels)
    loss, reduced_gradient = K.cross_entropy(logits, labels, reduction=reduction)
    assert loss.shape == ()
    assert loss.dtype == dtype
    if reduction == "mean" and not counted:
        assert np.isnan(loss)
        assert not reduced_gradient.any()
        return
    over = counted if reduction == "mean" else 1
    assert abs(loss - losses.sum(dtype=np.float64) / over) <= _tolerance(dtype) * abs(loss)
    assert _off(reduced_gradient, gradient.astype(np.float64) / over) <= _tolerance(dtype)


def test_unknown_reduction():
    with pytest.raises(
        ValueError, match=r"cross_entropy: reduction is 'avg'; expected one of none, sum, mean"
    ):
        K.cross_entropy(np.zeros((2, 3), np.float32), np.array([0, 1]), reduction="avg")
