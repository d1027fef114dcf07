from __future__ import annotations

import pytest

import dlkit.kernels as K
from dlkit.study import roofline
from dlkit.study.workloads import matmul


def test_which_roof_is_over_a_shape():
    # One row: two operations for each four-byte weight, half an operation a byte.
    row = roofline.bound(matmul(1, 1000, 1000), peak=100e9, bandwidth=10e9)
    assert row.by == "memory"
    assert row.intensity == pytest.approx(0.5, rel=0.01)
    assert row.limit == pytest.approx(5e9, rel=0.01)
    square = roofline.bound(matmul(1000, 1000, 1000), peak=100e9, bandwidth=10e9)
    assert square == (pytest.approx(1000 / 6), 100e9, "peak")


def test_a_record_its_table_and_its_plot(tmp_path):
    pytest.importorskip("matplotlib")
    threads = K.get_num_threads()
    record = roofline.measure_roofline(["16x16x16", "1x64x64"], rounds=1)
    assert K.get_num_threads() == threads
    cells = roofline.rows(record)
    assert [row[0] for row in cells] == ["16×16×16", "1×64×64"]
    assert len(cells[0]) == len(roofline.columns(record))
    assert all(row["flops"] > 0 and row["limit"] <= record["ceiling"]["peak"] for row in record["rows"])
    path = roofline.plot(record, tmp_path / "new" / "roofline.png")
    assert path.read_bytes().startswith(b"\x89PNG")
