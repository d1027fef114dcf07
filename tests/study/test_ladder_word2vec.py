"""python/dlkit/study/ladder_word2vec.py: every variant is timed at every shape and shown."""

from __future__ import annotations

from pathlib import Path

import dlkit.kernels as K
from dlkit.study import ladder_word2vec, report, results
from dlkit.study.ladder_word2vec import Shape


def test_every_variant_is_timed_and_shown(tmp_path: Path) -> None:
    shapes = [Shape("sgns_update", 3, 4, 20), Shape("cbow_hs_update", 3, 4, 20)]
    assert shapes[0].flops == 6 * 3 * 4 * 20
    assert shapes[1].flops == 6 * 4 * 20 + 2 * 3 * 20
    lines: list[str] = []
    record = ladder_word2vec.measure(shapes=shapes, rounds=1, words=20, progress=lines.append)
    assert len(lines) == 2
    assert [row["name"] for row in record["rows"]] == [step.name for step in K.variants("sgns_update")]
    for row in record["rows"]:
        for shape, time, flops in zip(shapes, row["nanoseconds"], row["flops"], strict=True):
            assert time > 0
            assert abs(flops * time * 1e-9 - shape.flops) < 1e-6 * shape.flops
    results.write(record, tmp_path)
    page = report.render("ladder-word2vec-1t", tmp_path)
    assert "matrix" in page
    assert shapes[1].name in page
