from __future__ import annotations

import dlkit.kernels as K
from dlkit.study import report, results, step_profile


def test_kernels_and_python_add_up_to_the_step(tmp_path):
    threads, matmul = K.get_num_threads(), K.matmul
    record = step_profile.measure(sizes=(8, 6, 4, 3), batch=5, rounds=3)
    assert K.get_num_threads() == threads
    assert K.matmul is matmul
    assert [(row["name"], row["calls"], row["flops"]) for row in record["rows"]] == [
        ("forward: 5×8×6 + bias + relu", 1, 480),
        ("forward: 5×6×4 + bias + relu", 1, 240),
        ("forward: 5×4×3 + bias", 1, 120),
        ("loss and its gradient: softmax cross-entropy, 5×3", 1, 0),
        ("backward, weight: 3×5×4", 1, 120),
        ("backward, input: 5×3×4", 1, 120),
        ("backward, bias: column sum of 5×3", 1, 0),
        ("backward, relu: 5×4", 1, 0),
        ("backward, weight: 4×5×6", 1, 240),
        ("backward, input: 5×4×6", 1, 240),
        ("backward, bias: column sum of 5×4", 1, 0),
        ("backward, relu: 5×6", 1, 0),
        ("backward, weight: 6×5×8", 1, 480),
        ("backward, bias: column sum of 5×6", 1, 0),
        ("update: Adam", 1, 0),
    ]
    assert sum(row["flops"] for row in record["rows"]) == record["workload"]["flops"]
    total = record["python_seconds"] + sum(row["seconds"] for row in record["rows"])
    assert abs(total - record["step_seconds"]) < 1e-9
    results.write(record, tmp_path)
    page = report.render("step-profile-1t", tmp_path)
    assert "| forward: 5×8×6 + bias + relu | 1 | " in page
    assert "| **the step** | | " in page.replace("|  |", "| |")
