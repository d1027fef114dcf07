"""python/dlkit/study/ladder_layers.py: every variant of every ladder of the chapter is timed and shown."""

from __future__ import annotations

from pathlib import Path

import dlkit.kernels as K
from dlkit.study import ladder_layers, report, results

_OPERATIONS = (
    *("activation", "softmax", "cross_entropy", "dropout", "column_sum"),
    *("embedding", "layer_norm", "batch_norm", "sgd_step", "adam_step", "crf"),
)


def test_every_variant_is_timed_and_shown(tmp_path: Path) -> None:
    threads = K.get_num_threads()
    record = ladder_layers.measure(count=2000, rounds=1)
    assert len({(row["name"], row["variant"]) for row in record["rows"]}) == len(record["rows"])
    assert K.get_num_threads() == threads
    timed = {
        (case.operation, step.name)
        for case in [*ladder_layers.cases(2000), *ladder_layers.tagging_cases()]
        for step in K.variants(case.operation)
    }
    assert timed == {(operation, step.name) for operation in _OPERATIONS for step in K.variants(operation)}
    assert all(row["seconds"] > 0 for row in record["rows"])
    results.write(record, tmp_path)
    page = report.render("ladder-layers-1t", tmp_path)
    assert page.count("\n| ") >= len(record["rows"])
    assert "Adam, 0.002 M values: naive" in page
