from __future__ import annotations

import dlkit.kernels as K
from dlkit.study import choice, report, results


def test_the_default_stands_beside_its_candidates(tmp_path):
    threads = K.get_num_threads()
    record = choice.measure(["4x16x16", "1x16x16nt"], rounds=1)
    assert K.get_num_threads() == threads
    first, second = record["rows"]
    assert set(first["flops"]) == {"default", "fused", "direct", "swapped", "dot"}  # matvec needs one row
    assert "matvec" in second["flops"]
    results.write(record, tmp_path)
    page = report.render("choice-matmul-1t", tmp_path)
    assert "| workload | fused | direct | swapped | dot | matvec | default | % of the fastest |" in page
    assert "| 4×16×16 |" in page
