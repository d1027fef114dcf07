"""python/dlkit/study/ladder_conv.py: every variant that takes a shape is timed and shown."""

from __future__ import annotations

from pathlib import Path

import dlkit.kernels as K
from dlkit.study import ladder_conv, report, results
from dlkit.study.conv_workloads import Shape


def test_every_variant_is_timed_and_shown(tmp_path: Path) -> None:
    threads = K.get_num_threads()
    shapes = [Shape((2, 16, 8, 8), 16, 3, padding=1), Shape((2, 8, 9, 9), 8, 3, padding=1, groups=8)]
    shapes += [
        Shape((3, 8, 20), 8, 4),
        Shape((2, 8, 6, 6), 8, 1),
        Shape((2, 1, 12, 12), 8, 5),
        Shape((2, 2, 12, 12), 8, 5, stride=2),
    ]
    lines: list[str] = []
    record = ladder_conv.measure(shapes=shapes, rounds=1, progress=lines.append)
    assert K.get_num_threads() == threads
    assert len(lines) == 3 * len(shapes)
    timed = {(row["operation"], row["name"]) for row in record["rows"]}
    for operation in ladder_conv.OPERATIONS.values():
        assert {(operation, "naive"), (operation, "default")} <= timed
        steps = [
            step
            for step in K.variants(operation)
            if "AVX-512" not in step.needs or K.config()["isa"] == "avx512"
        ]
        assert timed >= {(operation, step.name) for step in steps}
    for row in record["rows"]:
        if row["name"] in ("naive", "default"):
            assert all(flops > 0 for flops in row["flops"])
        assert any(flops is not None for flops in row["flops"])
    results.write(record, tmp_path)
    page = report.render("ladder-conv-1t", tmp_path)
    assert page.count("\n| ") >= len(record["rows"])
    assert "conv2d_backward_weight: im2col" in page
