"""csrc/layers/layer_norm.cu and batch_norm.cu, where CUDA sources run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

NAIVE, FUSED = 0, 3
RUNGS = pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])
EPS = 1e-5
SHAPES = [(1, 1), (5, 3), (70, 10), (9, 31), (33, 64), (6, 129), (3, 130), (5, 516), (3, 1030)]
SHAPES += [(2, 4096), (2, 8197), (2, 16_388), (1, 16_385), (4500, 8), (1100, 64), (300, 131), (150, 516)]
IMAGES = [(1, 1, 1), (5, 3, 1), (700, 12, 1), (64, 130, 1), (3, 2, 5), (4, 3, 49), (2, 5, 1028), (9, 1, 1024)]
IMAGES += [(300, 2, 4), (2, 130, 3), (5000, 2, 1)]


def code(dtype: Any) -> int:
    return int(dtype == np.float64)


def bound_of(dtype: Any, rung: int) -> float:
    return (2e-14 if dtype is np.float64 else 3e-6) * (20 if rung == NAIVE else 1)


def close(device: Any, got: Any, expected: Any, bound: float, scale: float = 0.0) -> None:
    got = device.get(got)
    assert np.linalg.norm(got - expected) <= bound * max(float(np.linalg.norm(expected)), scale, 1e-30)


class Affine:
    """x, grad, weight and bias on a device, and empty results."""

    def __init__(
        self,
        device: Any,
        shape: Any,
        statistics: int,
        parameters: int,
        dtype: Any,
        shift: int,
        affine: bool,
        rng: Any,
    ) -> None:
        self.host = {
            "x": (3 + 2 * rng.standard_normal(shape)).astype(dtype),
            "grad": rng.standard_normal(shape).astype(dtype),
            "weight": rng.standard_normal(parameters).astype(dtype),
            "bias": rng.standard_normal(parameters).astype(dtype),
        }
        if not affine:
            del self.host["weight"], self.host["bias"]
        there: dict[str, Any] = {name: device.put(array, shift) for name, array in self.host.items()}
        there.update({name: device.empty(shape, dtype, shift) for name in ("out", "dx")})
        there.update({name: device.empty(statistics, dtype) for name in ("mean", "rstd")})
        if affine:
            there.update({name: device.empty(parameters, dtype) for name in ("dweight", "dbias")})
        self.there = there
        self.device = device

    def at(self, *names: str) -> list[int]:
        return [self.device.address(self.there.get(name)) for name in names]


def normalised(x: Any, axes: Any, weight: Any, bias: Any) -> tuple[Any, Any, Any]:
    x = x.astype(np.longdouble)
    mean = x.mean(axis=axes, keepdims=True)
    rstd = 1 / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + EPS)
    return (x - mean) * rstd * weight + bias, mean, rstd


def differentiated(grad: Any, x: Any, axes: Any, weight: Any) -> tuple[Any, Any]:
    """The gradient of x, and the normalised x."""
    unit, _, rstd = normalised(x, axes, 1, 0)
    g = grad.astype(np.longdouble) * weight
    return rstd * (
        g - g.mean(axis=axes, keepdims=True) - unit * (g * unit).mean(axis=axes, keepdims=True)
    ), unit


@RUNGS
@pytest.mark.parametrize("affine", [False, True], ids=["plain", "affine"])
@pytest.mark.parametrize("shape", SHAPES)
def test_layer_norm(
    device: Any, shape: tuple[int, int], affine: bool, rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    rows, cols = shape
    bound = bound_of(dtype, rung)
    scratch = device.scratch(device.module.layer_norm_backward_scratch(code(dtype), rows, cols))
    for shift in (0, 1):
        work = Affine(device, shape, rows, cols, dtype, shift, affine, rng)
        weight, bias = work.host.get("weight", 1), work.host.get("bias", 0)
        names = ("x", "weight", "bias", "out", "mean", "rstd")
        device.module.layer_norm(0, code(dtype), *work.at(*names), rows, cols, EPS, rung)
        out, mean, rstd = normalised(work.host["x"], 1, weight, bias)
        close(device, work.there["out"], out, bound)
        close(device, work.there["mean"], mean[:, 0], bound)
        close(device, work.there["rstd"], rstd[:, 0], bound)
        names = ("grad", "x", "weight", "mean", "rstd", "dx", "dweight", "dbias")
        device.module.layer_norm_backward(
            0, code(dtype), *work.at(*names), device.address(scratch), rows, cols, rung
        )
        dx, unit = differentiated(work.host["grad"], work.host["x"], 1, weight)
        scale = float(np.linalg.norm(rstd * weight * work.host["grad"]))
        close(device, work.there["dx"], dx, 3 * bound, scale)
        if affine:
            g = work.host["grad"].astype(np.longdouble)
            scale = float(np.linalg.norm(g))
            close(device, work.there["dweight"], (g * unit).sum(axis=0), bound, scale)
            close(device, work.there["dbias"], g.sum(axis=0), bound, scale)


@RUNGS
@pytest.mark.parametrize("affine", [False, True], ids=["plain", "affine"])
@pytest.mark.parametrize("shape", IMAGES)
def test_batch_norm(
    device: Any, shape: tuple[int, int, int], affine: bool, rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    n, channels, inner = shape
    bound = bound_of(dtype, rung)
    scratch_array = device.scratch(device.module.batch_norm_scratch(code(dtype), *shape))
    scratch = device.address(scratch_array)
    for shift in (0, 1):
        work = Affine(device, shape, channels, channels, dtype, shift, affine, rng)
        weight = work.host["weight"][:, None] if affine else 1
        bias = work.host["bias"][:, None] if affine else 0
        names = ("x", "weight", "bias", "out", "mean", "rstd")
        device.module.batch_norm(0, code(dtype), *work.at(*names), *shape, EPS, scratch, rung)
        out, mean, rstd = normalised(work.host["x"], (0, 2), weight, bias)
        # One element: its distance from the mean is zero, and the rest is of the size of the rounding of x.
        size = float(np.linalg.norm(work.host["x"])) if n * inner == 1 else 0.0
        close(device, work.there["out"], out, bound, size)
        close(device, work.there["mean"], mean.ravel(), bound)
        close(device, work.there["rstd"], rstd.ravel(), bound)
        names = ("grad", "x", "weight", "mean", "rstd", "dx", "dweight", "dbias")
        device.module.batch_norm_backward(0, code(dtype), *work.at(*names), *shape, scratch, rung)
        dx, unit = differentiated(work.host["grad"], work.host["x"], (0, 2), weight)
        scale = float(np.linalg.norm(rstd * weight * work.host["grad"]))
        close(device, work.there["dx"], dx, 3 * bound, scale)
        if affine:
            g = work.host["grad"].astype(np.longdouble)
            scale = float(np.linalg.norm(g))
            close(device, work.there["dweight"], (g * unit).sum(axis=(0, 2)), bound, scale)
            close(device, work.there["dbias"], g.sum(axis=(0, 2)), bound, scale)


@pytest.mark.parametrize("shape", [(5, 3, 1), (70, 12, 1), (4, 3, 49), (2, 3, 1028), (0, 3, 5), (3, 0, 1)])
@pytest.mark.parametrize("shift", [0, 1])
def test_batch_norm_apply(
    device: Any, shape: tuple[int, int, int], shift: int, dtype: Any, rng: np.random.Generator
) -> None:
    channels = shape[1]
    work = Affine(device, shape, channels, channels, dtype, shift, True, rng)
    mean, var = rng.standard_normal(channels).astype(dtype), rng.random(channels).astype(dtype)
    given = device.put(mean, shift), device.put(var, shift)
    device.module.batch_norm_apply(
        0,
        code(dtype),
        *work.at("x", "weight", "bias"),
        *map(device.address, given),
        *work.at("out"),
        *shape,
        EPS,
    )
    host = {name: array[:, None] if array.ndim == 1 else array for name, array in work.host.items()}
    expected = (host["x"].astype(np.float64) - mean[:, None]) / np.sqrt(var.astype(np.float64) + EPS)[:, None]
    close(device, work.there["out"], expected * host["weight"] + host["bias"], bound_of(dtype, FUSED))


@pytest.mark.parametrize("shape", [(500, 8, 1), (6, 3, 200)])
def test_a_mean_far_from_zero_and_one_odd_element(
    device: Any, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    x = (1e4 + rng.standard_normal(shape)).astype(np.float32)
    x[0, :, 0] = 0
    x[-1, 1, -1] = 1e7
    there, out = device.put(x), device.empty(shape, np.float32)
    mean, rstd = (device.empty(shape[1], np.float32) for _ in range(2))
    scratch = device.scratch(device.module.batch_norm_scratch(0, *shape))
    device.module.batch_norm(
        0, 0, device.address(there), 0, 0, *map(device.address, (out, mean, rstd)), *shape, EPS,
        device.address(scratch), FUSED,
    )  # fmt: skip
    _, _, expected = normalised(x, (0, 2), 1, 0)
    np.testing.assert_allclose(device.get(rstd), expected.ravel().astype(float), rtol=1e-5)


def test_layer_norm_of_rows_far_from_zero(device: Any, rng: np.random.Generator) -> None:
    for cols in (12, 500, 4000, 17_000):
        x = (1e4 + rng.standard_normal((2, cols))).astype(np.float32)
        there, out = device.put(x), device.empty(x.shape, np.float32)
        mean, rstd = (device.empty(2, np.float32) for _ in range(2))
        at = map(device.address, (out, mean, rstd))
        device.module.layer_norm(0, 0, device.address(there), 0, 0, *at, 2, cols, EPS, FUSED)
        _, _, expected = normalised(x, 1, 1, 0)
        np.testing.assert_allclose(device.get(rstd), expected.ravel().astype(float), rtol=1e-3)


def test_nothing_and_nan(device: Any, dtype: Any) -> None:
    for shape in ((0, 3, 5), (4, 0, 5), (4, 3, 0), (0, 3, 1)):
        channels = shape[1]
        work = Affine(device, shape, channels, channels, dtype, 0, True, np.random.default_rng(0))
        scratch_array = device.scratch(device.module.batch_norm_scratch(code(dtype), *shape))
        scratch = device.address(scratch_array)
        names = ("x", "weight", "bias", "out", "mean", "rstd")
        device.module.batch_norm(0, code(dtype), *work.at(*names), *shape, EPS, scratch, FUSED)
        assert np.isnan(device.get(work.there["mean"])).all()
        names = ("grad", "x", "weight", "mean", "rstd", "dx", "dweight", "dbias")
        device.module.batch_norm_backward(0, code(dtype), *work.at(*names), *shape, scratch, FUSED)
        assert not device.get(work.there["dweight"]).any()
        assert not device.get(work.there["dbias"]).any()
    work = Affine(device, (0, 7), 0, 7, dtype, 0, True, np.random.default_rng(0))
    names = ("grad", "x", "weight", "mean", "rstd", "dx", "dweight", "dbias")
    device.module.layer_norm_backward(0, code(dtype), *work.at(*names), 0, 0, 7, FUSED)
    assert not device.get(work.there["dweight"]).any()


@pytest.mark.parametrize("shape", [(256, 128, 1), (4, 8, 1024)])
def test_batch_norm_moves_its_sectors_once_a_pass(
    simt: Any, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    work = Affine(simt, shape, shape[1], shape[1], np.float32, 0, True, rng)
    scratch = simt.scratch(simt.module.batch_norm_scratch(0, *shape))
    names = ("x", "weight", "bias", "out", "mean", "rstd")
    simt.module.batch_norm(0, 0, *work.at(*names), *shape, EPS, simt.address(scratch), FUSED)
    sums, _, apply = simt.module.counters()
    elements = int(np.prod(shape))
    assert (
        sums["global_load_bytes"] <= 4 * elements * 1.2
    )  # each thread also reads its channels' first elements
    assert apply["global_store_sectors"] == elements // 8
    assert sums["shared_load_conflicts"] == sums["shared_store_conflicts"] == 0


@pytest.mark.parametrize("eps", [-1.0, float("nan")])
def test_wrong_arguments(device: Any, eps: float) -> None:
    at = device.address(device.put(np.zeros(4)))
    with pytest.raises(ValueError, match=r"layer_norm: eps is .*; expected 0 or more"):
        device.module.layer_norm(0, 1, at, 0, 0, at, at, at, 2, 2, eps, 3)
    with pytest.raises(ValueError, match=r"batch_norm: eps is .*; expected 0 or more"):
        device.module.batch_norm(0, 1, at, 0, 0, at, at, at, 2, 2, 1, eps, at, 3)
