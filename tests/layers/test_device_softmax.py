"""csrc/layers/softmax.cu and cross_entropy.cu: rows, where CUDA sources run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

NAIVE, FUSED = 0, 3
RUNGS = pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])
# Every way to hold a row: 8 lanes, a warp, a block, two passes; with and without a multiple of 16 bytes.
SHAPES = [(1, 1), (5, 3), (70, 10), (37, 16), (9, 31), (33, 64), (6, 129), (3, 130), (5, 516), (3, 1030)]
SHAPES += [(2, 4096), (2, 8197), (1, 16_388), (2, 16_385)]
# More rows than the grid of the SIMT machine holds, each way.
MANY_ROWS = [
    (4500, 6),
    (2200, 12),
    (1100, 64),
    (300, 260),
    (1100, 30),
    (300, 131),
    (150, 1030),
    (150, 516),
    (20, 16_385),
]


def code(dtype: Any) -> int:
    return int(dtype == np.float64)


def softmax(device: Any, x: Any, logarithm: bool, rung: int, stride: int = 0, shift: int = 0) -> Any:
    rows, cols = x.shape
    stride = stride or cols
    wide = np.full((rows, stride), 7, x.dtype)
    wide[:, :cols] = x
    there = device.put(wide.ravel()[: max((rows - 1) * stride + cols, 0)], shift)
    out = device.empty(x.shape, x.dtype, shift)
    device.module.softmax(
        0, code(x.dtype), device.address(there), stride, device.address(out), rows, cols, logarithm, rung
    )
    return device.get(out)


def reference(x: Any) -> tuple[Any, Any]:
    x = x.astype(np.float64)
    below = x - x.max(axis=1, keepdims=True)
    logs = below - np.log(np.exp(below).sum(axis=1, keepdims=True))
    return np.exp(logs), logs


def tolerance(dtype: Any) -> float:
    return 2e-15 if dtype is np.float64 else 6e-7


def close(got: Any, expected: Any, bound: float) -> bool:
    return bool(np.linalg.norm(got - expected) <= bound * max(np.linalg.norm(expected), 1e-30))


@RUNGS
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(
    device: Any, shape: tuple[int, int], rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    bound = tolerance(dtype) * (20 if rung == NAIVE else 1) * max(1, shape[1] / 500) ** 0.5
    for logarithm, expected in zip((False, True), reference(x), strict=True):
        assert close(softmax(device, x, logarithm, rung), expected, bound)
        assert close(softmax(device, x, logarithm, rung, stride=shape[1] + 3, shift=1), expected, bound)


@RUNGS
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_backward(
    device: Any, shape: tuple[int, int], rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    grad = rng.standard_normal(shape).astype(dtype)
    bound = tolerance(dtype) * 30
    for logarithm, y in zip((False, True), reference(3 * rng.standard_normal(shape)), strict=True):
        y = y.astype(dtype)
        g, wide = grad.astype(np.float64), y.astype(np.float64)
        expected = (
            g - np.exp(wide) * g.sum(axis=1, keepdims=True)
            if logarithm
            else wide * (g - (g * wide).sum(axis=1, keepdims=True))
        )
        for shift in (0, 1):
            at = [device.put(grad, shift), device.put(y, shift), device.empty(shape, dtype, shift)]
            device.module.softmax_backward(0, code(dtype), *map(device.address, at), *shape, logarithm, rung)
            scale = np.linalg.norm(g) if logarithm else np.linalg.norm(wide * g)
            assert np.linalg.norm(device.get(at[2]) - expected) <= bound * scale


@pytest.mark.parametrize("cols", [7, 33, 700, 17_000])
def test_softmax_of_infinities_and_nan(device: Any, cols: int, dtype: Any) -> None:
    x = np.zeros((6, cols), dtype)
    x[0] = -np.inf
    x[1, 3] = np.inf
    x[2, 3] = np.nan
    x[3, :3] = -np.inf
    x[4] = 1e30
    with np.errstate(invalid="ignore"):
        for logarithm in (False, True):
            expected = (K.log_softmax if logarithm else K.softmax)(x, variant="fused")
            np.testing.assert_allclose(softmax(device, x, logarithm, FUSED), expected, rtol=1e-5)


def test_softmax_of_nothing(device: Any) -> None:
    for shape in ((0, 5), (5, 0), (0, 0)):
        assert softmax(device, np.zeros(shape, np.float32), False, FUSED).shape == shape


@pytest.mark.parametrize("shape", MANY_ROWS)
def test_many_rows(device: Any, shape: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    labels = rng.integers(0, shape[1], shape[0])
    assert close(softmax(device, x, False, FUSED), reference(x)[0], 2e-6)
    losses, grad = K.cross_entropy(x.astype(np.float64), labels)
    got = Loss(device, x, labels)
    assert close(got.losses, losses, 2e-6)
    assert close(got.grad, grad, 2e-6)


def test_in_place(device: Any, rng: np.random.Generator) -> None:
    for cols in (10, 640, 2000, 17_000):
        x = rng.standard_normal((3, cols)).astype(np.float32)
        there = device.put(x)
        at = device.address(there)
        device.module.softmax(0, 0, at, cols, at, 3, cols, False, FUSED)
        assert close(device.get(there), reference(x)[0], 2e-6)


class Loss:
    """cross_entropy's results, from a call with arrays poisoned beforehand."""

    def __init__(
        self,
        device: Any,
        logits: Any,
        labels: Any,
        *,
        smoothing: float = 0.0,
        ignore_index: int = -100,
        scale: float = 1.0,
        reduction: str = "none",
        need_grad: bool = True,
        rung: int = FUSED,
        shift: int = 0,
        in_place: bool = False,
    ) -> None:
        rows, cols = logits.shape
        x, dtype = device.put(logits, shift), logits.dtype
        index = device.put(np.asarray(labels, np.int64))
        losses, result = device.empty(rows, dtype), device.empty(1, dtype)
        grad = x if in_place else device.empty(logits.shape, dtype, shift) if need_grad else None
        scratch = device.scratch(device.module.cross_entropy_scratch(code(dtype), rows))
        device.module.cross_entropy(
            0,
            code(dtype),
            device.address(x),
            cols,
            device.address(index),
            rows,
            cols,
            smoothing,
            ignore_index,
            scale,
            ("none", "sum", "mean").index(reduction),
            *map(device.address, (losses, result, grad, scratch)),
            rung,
        )
        self.losses, self.result = device.get(losses), device.get(result)[0]
        self.grad = device.get(grad) if grad is not None else None


@RUNGS
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy(
    device: Any, shape: tuple[int, int], rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    logits = (3 * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    labels[rng.random(shape[0]) < 0.2] = -100
    bound = tolerance(dtype) * (100 if rung == NAIVE else 4)
    for smoothing, shift in ((0.0, 0), (0.1, 1)):
        expected, grad = K.cross_entropy(
            logits.astype(np.float64), labels, grad_scale=0.7, label_smoothing=smoothing, variant="naive"
        )
        got = Loss(device, logits, labels, scale=0.7, smoothing=smoothing, shift=shift, rung=rung)
        assert np.linalg.norm(got.losses - expected) <= bound * (
            np.linalg.norm(expected) + len(labels) ** 0.5
        )
        assert np.linalg.norm(got.grad - grad) <= bound * max(np.linalg.norm(grad), 0.7)
        np.testing.assert_array_equal(got.grad[labels == -100], 0)
        np.testing.assert_array_equal(got.losses[labels == -100], 0)
        if rung == FUSED:
            same = Loss(device, logits, labels, scale=0.7, smoothing=smoothing, in_place=True)
            assert np.linalg.norm(same.grad - grad) <= bound * max(np.linalg.norm(grad), 0.7)
            lone = Loss(device, logits, labels, smoothing=smoothing, need_grad=False)
            assert np.linalg.norm(lone.losses - expected) <= bound * (
                np.linalg.norm(expected) + len(labels) ** 0.5
            )


@RUNGS
@pytest.mark.parametrize("rows", [0, 1, 64, 8192, 8193, 20_001])
def test_reductions(device: Any, rows: int, rung: int, dtype: Any, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((rows, 3)).astype(dtype)
    labels = rng.integers(0, 3, rows)
    losses, grad = K.cross_entropy(logits.astype(np.float64), labels, ignore_index=1)
    counted = int((labels != 1).sum())
    total = Loss(device, logits, labels, ignore_index=1, reduction="sum", rung=rung)
    assert total.result == pytest.approx(losses.sum(), rel=1e-6 if dtype is np.float32 else 1e-13, abs=1e-30)
    mean = Loss(device, logits, labels, ignore_index=1, reduction="mean", scale=2.0, rung=rung)
    if counted == 0:
        assert np.isnan(mean.result)
        assert not mean.grad.any()
    else:
        assert mean.result == pytest.approx(
            losses.sum() / counted, rel=1e-6 if dtype is np.float32 else 1e-13
        )
        assert close(mean.grad, 2 * grad / counted, 1e-6 if dtype is np.float32 else 1e-14)


@RUNGS
@pytest.mark.parametrize("cols", [5, 40, 3000, 17_000])
def test_a_label_that_is_no_class_gives_nan_in_its_row(device: Any, cols: int, rung: int) -> None:
    labels = [0, cols, -1, cols - 1, 2**62, -(2**62), -100]
    got = Loss(device, np.zeros((7, cols), np.float32), labels, reduction="sum", rung=rung)
    wrong = [False, True, True, False, True, True, False]
    np.testing.assert_array_equal(np.isnan(got.losses), wrong)
    np.testing.assert_array_equal(np.isnan(got.grad).all(axis=1), wrong)
    np.testing.assert_array_equal(np.isnan(got.grad).any(axis=1), wrong)
    assert np.isnan(got.result)


def test_the_same_bits_every_time(device: Any, rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((20_000, 4)).astype(np.float32), rng.integers(0, 4, 20_000)
    first, second = (Loss(device, logits, labels, reduction="mean") for _ in range(2))
    assert first.result == second.result
    np.testing.assert_array_equal(first.grad, second.grad)


def test_wrong_arguments(device: Any) -> None:
    x = device.put(np.zeros((2, 3), np.float32))
    at = device.address(x)
    with pytest.raises(ValueError, match=r"softmax: \(rows, cols\) is \(-1, 3\); expected 0 or more"):
        device.module.softmax(0, 0, at, 3, at, -1, 3, False, 3)
    with pytest.raises(ValueError, match="log_softmax: row_stride is -3; expected 0 or more"):
        device.module.softmax(0, 0, at, -3, at, 2, 3, True, 3)
    with pytest.raises(ValueError, match=r"softmax: .* and a product below 2\^56"):
        device.module.softmax(0, 0, at, 3, at, 2**40, 2**40, False, 3)
    arguments = [0, 0, at, 3, at, 2, 3, 0.0, -100, 1.0, 0, at, 0, 0, 0, 3]
    for position, value, message in (
        (7, 1.5, r"cross_entropy: label_smoothing is 1.5; expected 0 to 1"),
        (10, 3, "cross_entropy: reduction is 3; expected 0 to 2"),
        (6, 0, "cross_entropy: cols is 0; expected 1 or more"),
        (4, at + 4, "cross_entropy: labels is at address .* expected a multiple of 8"),
    ):
        changed = list(arguments)
        changed[position] = value
        with pytest.raises(ValueError, match=message):
            device.module.cross_entropy(*changed)


@pytest.mark.parametrize("cols", [128, 512, 4096])
def test_softmax_reads_and_writes_a_row_once(simt: Any, cols: int, rng: np.random.Generator) -> None:
    softmax(simt, rng.standard_normal((32, cols)).astype(np.float32), False, FUSED)
    (row,) = simt.module.counters()
    for kind in ("load", "store"):
        assert row[f"global_{kind}_bytes"] == 4 * 32 * cols
        assert row[f"global_{kind}_sectors"] == 4 * cols
    assert row["shared_load_conflicts"] == row["shared_store_conflicts"] == 0
