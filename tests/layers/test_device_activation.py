"""csrc/layers/activation.cu: the activations where CUDA sources run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K
from dlkit import _cpu

KINDS: tuple[str, ...] = _cpu.activation_kinds
SAVES_X = ("silu", "gelu")
NAIVE, FUSED = 0, 3


def code(dtype: Any) -> int:
    return int(dtype == np.float64)


def forward(
    device: Any, kind: str, x: Any, rung: int, alpha: float = 0.3, shift: int = 0, y: Any = None
) -> Any:
    x = device.put(x, shift)
    y = device.empty(x.shape, x.dtype, shift) if y is None else y
    device.module.activation(
        0, code(x.dtype), KINDS.index(kind), device.address(x), device.address(y), x.size, alpha, rung
    )
    return device.get(y)


def backward(
    device: Any, kind: str, grad: Any, saved: Any, rung: int, alpha: float = 0.3, shift: int = 0
) -> Any:
    grad, saved = device.put(grad, shift), device.put(saved)
    out = device.empty(grad.shape, grad.dtype)
    device.module.activation_backward(
        0,
        code(grad.dtype),
        KINDS.index(kind),
        *map(device.address, (grad, saved, out)),
        grad.size,
        alpha,
        rung,
    )
    return device.get(out)


def on_cpu(kind: str, x: Any, variant: str = "naive") -> Any:
    return K.activation(x, kind, alpha=0.3 if kind in ("elu", "leaky_relu") else None, variant=variant)


def error(got: Any, expected: Any) -> float:
    return float(np.linalg.norm(got - expected) / (np.linalg.norm(expected) or 1.0))


@pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])
@pytest.mark.parametrize("kind", KINDS)
def test_forward_and_backward(
    device: Any, kind: str, rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    tolerance = 1e-14 if dtype is np.float64 else 6e-7
    for n in (1, 3, 257, 5003):
        x = (4 * rng.standard_normal(n)).astype(dtype)
        wide = x.astype(np.float64)
        y = on_cpu(kind, wide)
        assert error(forward(device, kind, x, rung), y) <= tolerance
        grad = rng.standard_normal(n).astype(dtype)
        saved = x if kind in SAVES_X else y.astype(dtype)
        expected = np.empty(n)
        # The derivative from the float64 reference, by the CPU's definition.
        _cpu.activation_backward(
            grad.astype(np.float64), KINDS.index(kind), saved.astype(np.float64), "saved", expected, 0.3, 0
        )
        # 1 - y^2 and y (1 - y) cancel: an error of the derivative's own size, not of the product's.
        off = np.linalg.norm(backward(device, kind, grad, saved, rung) - expected)
        assert off <= tolerance * max(np.linalg.norm(grad), np.linalg.norm(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_special_values_are_those_of_the_cpu(device: Any, kind: str, dtype: Any) -> None:
    tiny = np.finfo(dtype).tiny
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, tiny, -tiny, 1e4, -1e4, 700, -700, 30, -30, 0.5], dtype)
    # The limits, where a product of infinity and zero would be none.
    got, expected = forward(device, kind, x, FUSED), on_cpu(kind, x, "fused")
    np.testing.assert_allclose(got, expected, rtol=1e-6 if dtype is np.float32 else 1e-14, atol=2 * tiny)


@pytest.mark.parametrize("kind", KINDS)
def test_tails_of_gelu_and_others_keep_their_digits(device: Any, kind: str, dtype: Any) -> None:
    x = np.linspace(-12, 12, 4801).astype(dtype)
    expected = on_cpu(kind, x.astype(np.float64), "fused")
    got = forward(device, kind, x, FUSED)
    normal = np.abs(expected) > np.finfo(dtype).tiny
    ulp = np.abs(got - expected)[normal] / np.spacing(np.abs(expected[normal]).astype(dtype))
    assert ulp.max() <= 12


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_any_address(device: Any, shift: int, dtype: Any, rng: np.random.Generator) -> None:
    for n in (0, 1, 5, 1030):
        x = rng.standard_normal(n).astype(dtype)
        np.testing.assert_array_equal(forward(device, "relu", x, FUSED, shift=shift), np.maximum(x, 0))
        grad = rng.standard_normal(n).astype(dtype)
        np.testing.assert_array_equal(
            backward(device, "relu", grad, x, FUSED, shift=shift), np.where(x > 0, grad, 0)
        )


def test_in_place_and_more_than_the_grid_holds(device: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal(300_001).astype(np.float32)
    y = device.put(x)
    address = device.address(y)
    device.module.activation(0, 0, KINDS.index("relu"), address, address, x.size, 0.0, FUSED)
    np.testing.assert_array_equal(device.get(y), np.maximum(x, 0))


def test_wrong_arguments(device: Any) -> None:
    x = device.put(np.zeros(4, np.float32))
    at = device.address(x)
    call = device.module.activation
    with pytest.raises(TypeError, match="activation: dtype is float16; expected float32 or float64"):
        call(0, 2, 0, at, at, 4, 0.0, 3)
    with pytest.raises(ValueError, match="activation: kind is 9; expected 0 to 8"):
        call(0, 0, 9, at, at, 4, 0.0, 3)
    with pytest.raises(ValueError, match="activation: rung is 4; expected 0 to 3"):
        call(0, 0, 0, at, at, 4, 0.0, 4)
    with pytest.raises(ValueError, match=r"activation: n is \(-1\); expected 0 or more"):
        call(0, 0, 0, at, at, -1, 0.0, 3)
    with pytest.raises(ValueError, match="activation: y is at address 0; expected a multiple of 4 and not 0"):
        call(0, 0, 0, at, 0, 4, 0.0, 3)
    with pytest.raises(ValueError, match="activation: x is at address"):
        call(0, 0, 0, at + 2, at, 3, 0.0, 3)
    call(0, 0, 0, 0, 0, 0, 0.0, 3)


@pytest.mark.parametrize(("n", "shift"), [(4096, 0), (65_536, 0), (100_003, 0), (4096, 1)])
def test_relu_moves_no_sector_twice(simt: Any, n: int, shift: int, rng: np.random.Generator) -> None:
    forward(simt, "relu", rng.standard_normal(n).astype(np.float32), FUSED, shift=shift)
    (row,) = simt.module.counters()
    assert row["operation"] == "activation"
    assert row["kernel"] == "relu"
    # 16 bytes a lane from a multiple of 256 on: sectors of 32 bytes, each once. Else 4 bytes a lane, and each
    # request of a warp ends in the sector that the next one begins in.
    sectors = -(-4 * n // 32) if shift == 0 else 5 * n // 32
    for kind in ("load", "store"):
        assert row[f"global_{kind}_bytes"] == 4 * n
        assert row[f"global_{kind}_sectors"] == sectors
        assert row[f"global_{kind}_requests"] <= -(-n // (128 if shift == 0 else 32)) + 1
    assert row["shared_bytes"] == 0
