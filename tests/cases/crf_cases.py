"""Conditional random fields to compute, for the tests of the CPU and of devices, and arguments that are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

ERRORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"emissions": np.zeros((6, 3), np.int64)}, TypeError, "emissions"),
    ({"emissions": np.zeros(6)}, ValueError, r"emissions is \(6,\); expected \(rows, tags\)"),
    ({"emissions": np.zeros((6, 0))}, ValueError, "at least one tag"),
    ({"transitions": np.zeros((3, 2))}, ValueError, r"transitions is \(3, 2\) but emissions is \(6, 3\)"),
    ({"transitions": np.zeros((3, 3), np.float32)}, TypeError, "float32"),
    ({"start": np.zeros(2)}, ValueError, r"start is \(2,\); expected \(3,\)"),
    ({"end": np.zeros((3, 1))}, ValueError, r"end is \(3, 1\); expected \(3,\)"),
    ({"tags": np.zeros(5, np.int64)}, ValueError, r"tags is \(5,\); expected \(6,\)"),
    ({"tags": np.zeros(6)}, TypeError, "expected integers"),
    ({"tags": np.array([0, 1, 2, 3, 0, 0])}, ValueError, r"tags\[3\] is 3; expected 0 to 2"),
    ({"tags": np.array([0, 1, 2, -1, 0, 0])}, ValueError, r"tags\[3\] is -1"),
    ({"batch_sizes": [2, 2, 1]}, ValueError, "add up to 5; expected the rows of emissions, 6"),
    ({"batch_sizes": [2, 2, 3]}, ValueError, r"batch_sizes\[2\] is 3 after 2; expected no increase"),
    ({"batch_sizes": [3, 3, 0]}, ValueError, r"batch_sizes\[2\] is 0; expected at least 1"),
    (
        {"batch_sizes": [4, 4]},
        ValueError,
        r"up to batch_sizes\[1\] add up to 8; expected the rows of emissions, 6",
    ),
    ({"batch_sizes": []}, ValueError, "add up to 0"),
    ({"batch_sizes": [2, "x", 2]}, TypeError, "batch_sizes is 'x'; expected an integer"),
    ({"variant": "quick"}, ValueError, "variant is 'quick'; expected one of naive, fused"),
]


def batch_sizes_of(lengths: list[int]) -> list[int]:
    return [sum(n > t for n in lengths) for t in range(max(lengths))]


def problem(lengths: list[int], tags: int, dtype: Any = np.float64, scale: float = 1.0, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    lengths = sorted(lengths, reverse=True)
    emissions = (scale * rng.normal(size=(sum(lengths), tags))).astype(dtype)
    path = rng.integers(0, tags, sum(lengths))
    model = [(scale * rng.normal(size=s)).astype(dtype) for s in ((tags, tags), tags, tags)]
    return emissions, path, batch_sizes_of(lengths), model


def rows_of(sizes: list[int], sequence: int) -> list[int]:
    starts = np.cumsum([0, *sizes[:-1]])
    return [int(starts[t]) + sequence for t, n in enumerate(sizes) if n > sequence]
