"""csrc/layers/update.cu: optimizer steps over lists of parameters, where CUDA sources run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

NAIVE, FUSED = 0, 3
RUNGS = pytest.mark.parametrize("rung", [NAIVE, FUSED], ids=["naive", "fused"])
SIZES = (1, 0, 5, 4096, 257, 4097, 9003)


def code(dtype: Any) -> int:
    return int(dtype == np.float64)


def random_state(sizes: Any, dtype: Any, rng: np.random.Generator) -> list[list[Any]]:
    """Values, gradients, first and second moments, which is not negative."""
    roles = [[rng.standard_normal(n).astype(dtype) for n in sizes] for _ in range(4)]
    roles[3] = [np.abs(a) for a in roles[3]]
    return roles


def put(device: Any, roles: list[list[Any]], shift: int) -> list[list[Any]]:
    # Every other parameter is at an address of its own kind.
    return [[device.put(a, shift * (i % 2)) for i, a in enumerate(role)] for role in roles]


def listed(device: Any, roles: list[list[Any]]) -> list[tuple[int, ...]]:
    return [(*map(device.address, parts), parts[0].size) for parts in zip(*roles, strict=True)]


def close(device: Any, there: list[Any], expected: list[Any], bound: float) -> None:
    for got, here in zip(there, expected, strict=True):
        got = device.get(got)
        # The terms of an update are of the size of 1: the value of a parameter of one element may cancel.
        assert np.linalg.norm(got - here) <= bound * max(float(np.linalg.norm(here)), here.size**0.5)


@RUNGS
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("decoupled", [False, True], ids=["adam", "adamw"])
def test_adam(
    device: Any, decoupled: bool, shift: int, rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    roles = random_state(SIZES, dtype, rng)
    there = put(device, roles, shift)
    wide = [[a.astype(np.float64) for a in role] for role in roles]
    for step in (1, 2, 10):
        settings = (step, 0.01, 0.9, 0.999, 1e-8, 0.1, decoupled)
        device.module.adam_step(0, code(dtype), listed(device, there), *settings, 0, rung)
        K.adam_step(
            *wide, step=step, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.1, decoupled=decoupled
        )
    for at, expected in zip(there, wide, strict=True):
        close(device, at, expected, 1e-5 if dtype is np.float32 else 1e-13)


@RUNGS
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    ("momentum", "dampening", "nesterov"), [(0, 0, False), (0.9, 0.3, False), (0.9, 0, True)]
)
def test_sgd(
    device: Any,
    momentum: float,
    dampening: float,
    nesterov: bool,
    shift: int,
    rung: int,
    dtype: Any,
    rng: np.random.Generator,
) -> None:
    roles = random_state(SIZES, dtype, rng)[:3]
    there = put(device, roles, shift)
    wide = [[a.astype(np.float64) for a in role] for role in roles]
    for first in (True, False):
        settings = (0.1, momentum, dampening, 0.01, nesterov, first)
        device.module.sgd_step(0, code(dtype), listed(device, there), *settings, 0, rung)
        K.sgd_step(
            *wide,
            lr=0.1,
            momentum=momentum,
            dampening=dampening,
            weight_decay=0.01,
            nesterov=nesterov,
            first=first,
        )
    for at, expected in zip(there, wide, strict=True):
        close(device, at, expected, 1e-6 if dtype is np.float32 else 1e-14)


def test_sgd_without_velocities(device: Any, rng: np.random.Generator) -> None:
    value, grad = (rng.standard_normal(100).astype(np.float32) for _ in range(2))
    there = device.put(value), device.put(grad)
    device.module.sgd_step(
        0, 0, [(*map(device.address, there), 0, 100)], 0.5, 0.0, 0.0, 0.0, False, True, 0, FUSED
    )
    np.testing.assert_array_equal(device.get(there[0]), value - np.float32(0.5) * grad)


@RUNGS
def test_factors_in_device_memory_are_used_instead(
    device: Any, rung: int, dtype: Any, rng: np.random.Generator
) -> None:
    roles = random_state((1000,), dtype, rng)
    results = []
    for with_pointer in (False, True):
        there = put(device, roles, 0)
        settings = (7, 0.01, 0.8, 0.99, 1e-6, 0.1, True)
        factors = device.put(np.frombuffer(device.module.adam_factors(code(dtype), *settings), np.uint8))
        given = (1, 9.0, 0.1, 0.1, 1.0, 0.0, False) if with_pointer else settings
        at = device.address(factors) if with_pointer else 0
        device.module.adam_step(0, code(dtype), listed(device, there), *given, at, rung)
        settings2 = (0.1, 0.9, 0.0, 0.01, True, False)
        factors = device.put(np.frombuffer(device.module.sgd_factors(code(dtype), *settings2), np.uint8))
        given2 = (1.0, 0.0, 0.0, 0.0, False, False) if with_pointer else settings2
        at = device.address(factors) if with_pointer else 0
        device.module.sgd_step(0, code(dtype), listed(device, there[:3]), *given2, at, rung)
        results.append([device.get(a).tobytes() for role in there for a in role])
    assert results[0] == results[1]


def test_hundreds_of_parameters(device: Any, rng: np.random.Generator) -> None:
    sizes = [int(n) for n in rng.integers(0, 5, 660)]
    sizes[650] = 5000
    roles = random_state(sizes, np.float32, rng)
    there = put(device, roles, 1)
    wide = [[a.astype(np.float64) for a in role] for role in roles]
    device.module.adam_step(0, 0, listed(device, there), 3, 0.01, 0.9, 0.999, 1e-8, 0.0, False, 0, FUSED)
    K.adam_step(*wide, step=3, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False)
    for at, expected in zip(there, wide, strict=True):
        close(device, at, expected, 1e-5)


def test_more_than_the_grid_holds(device: Any, rng: np.random.Generator) -> None:
    roles = random_state((150_001, 3), np.float32, rng)
    there = put(device, roles, 0)
    wide = [[a.astype(np.float64) for a in role] for role in roles]
    device.module.adam_step(0, 0, listed(device, there), 3, 0.01, 0.9, 0.999, 1e-8, 0.0, False, 0, FUSED)
    K.adam_step(*wide, step=3, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False)
    for at, expected in zip(there, wide, strict=True):
        close(device, at, expected, 1e-5)


def test_nothing_to_do(device: Any) -> None:
    device.module.adam_step(0, 0, [], 1, 0.1, 0.9, 0.999, 1e-8, 0.0, False, 0, FUSED)
    device.module.adam_step(0, 0, [(0, 0, 0, 0, 0)], 1, 0.1, 0.9, 0.999, 1e-8, 0.0, False, 0, FUSED)


def test_wrong_arguments(device: Any) -> None:
    x = device.put(np.zeros(4, np.float32))
    at = device.address(x)
    sgd = [0, 0, [(at, at, 0, 4)], 0.1, 0.0, 0.0, 0.0, False, False, 0, 3]
    for position, value, message in (
        (3, float("inf"), "sgd_step: lr is inf; expected a finite number"),
        (4, 0.9, "sgd_step: momentum is not 0 but a velocity is 0"),
        (6, -1.0, "sgd_step: weight_decay is -1.0; expected 0 or more"),
        (7, True, "sgd_step: nesterov=True needs a momentum above 0 and no dampening"),
        (2, [(at, at, 4)], "sgd_step: parameters has .*; expected tuples of 4 integers"),
    ):
        changed = list(sgd)
        changed[position] = value
        with pytest.raises(ValueError, match=message):
            device.module.sgd_step(*changed)
    adam = [0, 0, [(at, at, at, at, 4)], 1, 0.1, 0.9, 0.999, 1e-8, 0.0, False, 0, 3]
    for position, value, message in (
        (3, 0, "adam_step: step is 0; expected 1 or more"),
        (5, 1.0, "adam_step: beta1 is 1.0; expected 0 <= beta1 < 1"),
        (7, float("nan"), "adam_step: eps is nan; expected 0 or more"),
        (2, [(at, at, 0, at, 4)], "adam_step: first is at address 0"),
    ):
        changed = list(adam)
        changed[position] = value
        with pytest.raises(ValueError, match=message):
            device.module.adam_step(*changed)


def test_one_launch_reads_and_writes_everything_once(simt: Any, rng: np.random.Generator) -> None:
    sizes = (4096, 8192, 128)
    there = put(simt, random_state(sizes, np.float32, rng), 0)
    simt.module.adam_step(0, 0, listed(simt, there), 1, 0.01, 0.9, 0.999, 1e-8, 0.0, False, 0, FUSED)
    (row,) = simt.module.counters()
    n = sum(sizes)
    assert row["global_load_sectors"] == 4 * n // 8
    assert row["global_store_sectors"] == 3 * n // 8
