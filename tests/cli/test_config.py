from __future__ import annotations

import json

import dlkit.kernels as kernels
from dlkit.cli import main


def test_shows_the_machine(capsys):
    assert main(["config", "--no-measure"]) == 0
    text = capsys.readouterr().out
    facts = kernels.config()
    for value in (facts["cpu"], facts["isa"], "caches", "threads", "backends built", "cpu"):
        assert value in text
    assert "GFLOP/s" not in text


def test_json_with_measurements(capsys):
    assert main(["config", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["isa"] in facts["isas_available"]
    one = facts["measured"]["1_thread"]
    assert one["peak_gflops_float32"] > 1
    assert one["peak_gflops_float32"] > one["peak_gflops_float64"] > 0.5
    assert one["bandwidth_gb_per_s"] > 0.1
