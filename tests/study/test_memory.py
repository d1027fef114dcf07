"""python/dlkit/study/memory.py: what a training step keeps is counted, and shown beside PyTorch's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from dlkit.study import memory, report, results
from dlkit.study.peers import Process, find_peers
from dlkit.study.workloads import workloads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux alone")

STEPS, BATCH, HIDDEN = 60, 64, 100
SIZES = {"steps": STEPS, "batch": BATCH, "inputs": 50, "hidden": HIDDEN}


def test_what_is_kept_for_backward_is_counted(tmp_path: Path) -> None:
    (workload,) = (
        w for w in workloads("recurrent", ["LSTM 35×20, 200"]) if w.name.endswith("200: forward and backward")
    )
    layer = {**workload.to_json(), "params": {**workload.params, **SIZES}}
    small = {**layer, "params": {**layer["params"], **memory._SMALL}}
    (peer,) = find_peers([])
    process = Process(peer, 1, tmp_path)
    try:
        asked = {"seed": 0, "options": {"threads": 1}, "runs": 3}
        grown = process.ask("memory", workload=layer, small=small, **asked)["bytes"]
        nothing = process.ask("memory", workload=small, small=small, **asked)["bytes"]
    finally:
        process.close()
    # Gates, two states, and the output: 7 numbers for a unit and a step; the gradient by the input.
    least = 4 * STEPS * BATCH * (7 * HIDDEN + 50)
    assert least <= grown < 1.6 * least
    assert nothing < 0.1 * least


def test_record_and_table(tmp_path: Path) -> None:
    lines: list[str] = []
    record = memory.measure(shapes=["GRU 100×1"], rounds=1, progress=lines.append)
    assert lines == ["memory, GRU 100×1, 128 → 128: forward and backward"]
    (row,) = record["rows"]
    assert row["name"] == "GRU 100×1, 128 → 128"
    assert 0 < row["dlkit"] < 20e6
    assert (row["torch"] is None) == (importlib.util.find_spec("torch") is None)
    results.write(record, tmp_path)
    assert "| GRU 100×1, 128 → 128 |" in report.render("memory-recurrent-1t", tmp_path)


def test_names_that_no_layer_has() -> None:
    with pytest.raises(ValueError, match="no workload of recurrent is named like 'GRU 1x1'"):
        memory.measure(shapes=["GRU 1x1"])
