"""python/dlkit/study/ladder_recurrent.py: the loop and every variant compute the same, are timed and shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dlkit.kernels as K
from dlkit.study import ladder_recurrent, report, results
from dlkit.study.ladder_recurrent import LOOP, OPERATIONS, Operation
from dlkit.study.recurrent_workloads import Shape


def test_every_variant_is_timed_and_shown(tmp_path: Path) -> None:
    lines: list[str] = []
    record = ladder_recurrent.measure(shapes=[(4, 3, 5, 6), (3, 1, 4, 8)], rounds=1, progress=lines.append)
    assert len(lines) == 2 * len(OPERATIONS)
    steps = [LOOP, *(step.name for step in K.variants("recurrent")), "default"]
    assert [(row["operation"], row["name"]) for row in record["rows"]] == [
        (operation.name, name) for operation in OPERATIONS for name in steps
    ]
    # One pass of the four gates' products for the first row, three for a training step.
    products = 2 * 4 * 3 * 4 * 6 * (5 + 6)
    for row, passes in ((record["rows"][0], 1), (record["rows"][len(steps)], 3)):
        assert row["flops"][0] * row["seconds"][0] == pytest.approx(passes * products)
    results.write(record, tmp_path)
    page = report.render("ladder-recurrent-1t", tmp_path)
    assert "| the same, layer norm: packed |" in page
    assert "4×3, 5 → 6" in page


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_they_compute_the_same(operation: Operation) -> None:
    shape = Shape(operation.cell, 4, 3, 5, 6, layer_norm=operation.layer_norm)
    runs = ladder_recurrent._runs(operation.kind, shape)
    found = {name: run() for name, run in runs.items()}
    loop = found.pop(LOOP)
    if operation.kind == "recurrent_forward":
        for name, y in found.items():
            np.testing.assert_allclose(y, loop.numpy(), atol=1e-6, err_msg=name)
        return
    expected = [leaf.grad.numpy() for leaf in loop]
    for name, (by_x, _, _, by_weights) in found.items():
        gradients = [by_x, *(g for g in by_weights[0] if g is not None)]
        for a, b in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5, err_msg=name)
