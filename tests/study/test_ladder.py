from __future__ import annotations

import pytest

import dlkit.kernels as K
from dlkit.study import ladder


def test_every_step_that_is_for_the_shape_is_timed():
    threads = K.get_num_threads()
    lines: list[str] = []
    record = ladder.measure_ladder(shapes=["16x16x16", "1x16x16"], rounds=1, progress=lines.append)
    assert K.get_num_threads() == threads
    assert record["shapes"] == ["16×16×16", "1×16×16"]
    assert lines == ["matmul ladder, 16×16×16", "matmul ladder, 1×16×16"]
    names = [row["name"] for row in record["rows"]]
    assert names == [step.name for step in K.variants("matmul")] + ["default"]
    by_name = {row["name"]: row for row in record["rows"]}
    assert by_name["matvec"]["flops"][0] is None  # it needs one row or one column
    assert by_name["matvec"]["flops"][1] > 0
    assert all(speed > 0 for speed in by_name["naive"]["flops"])


def test_the_table_has_a_row_for_each_step():
    record = ladder.measure_ladder(shapes=["16x16x16"], rounds=1)
    assert ladder.columns(record) == ["variant", "idea", "16×16×16", "% of peak, at best"]
    cells = ladder.rows(record)
    assert [row[0] for row in cells] == [row["name"] for row in record["rows"]]
    assert all(row[1] for row in cells)
    assert next(row for row in cells if row[0] == "matvec")[2:] == ["–", "–"]


def test_operations_without_a_ladder_are_errors():
    with pytest.raises(ValueError, match="operation is 'nothing'"):
        ladder.measure_ladder("nothing")
    with pytest.raises(ValueError, match="shape is '3x3'"):
        ladder.measure_ladder(shapes=["3x3"])
