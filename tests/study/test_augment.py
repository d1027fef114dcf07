from __future__ import annotations

import pytest

from dlkit.study import augment, studies


def test_a_record_and_its_table(tmp_path):
    (record,) = studies.study("augment", [1], json_path=tmp_path, rounds=1)
    assert [row["name"] for row in record["rows"]] == list(augment.SETTINGS)
    assert all(row["seconds"] > 0 for row in record["rows"])
    lines = augment.rows(record)
    step = next(line for line in lines if "the step" in line[0])
    assert step[-1] == "100.0 %"
    assert float(step[1]) * 1e-3 * float(step[2].replace(",", "")) == pytest.approx(64, rel=0.01)
    assert "| shift, rotation, scale | " in studies.markdown(record)
    assert list(tmp_path.glob("augment-*.json"))
