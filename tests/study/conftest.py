"""A record of a comparison, made by hand, for what reads records."""

from __future__ import annotations

from typing import Any

import pytest

from dlkit.study.workloads import matmul


@pytest.fixture
def record() -> dict[str, Any]:
    """One workload: dlkit at 200 GFLOP/s, NumPy at 100, a configured PyTorch at 160, JAX absent."""
    workload = matmul(64, 784, 512)

    def peer(name: str, label: str, configured: bool, absent: str = "") -> dict[str, Any]:
        versions = {} if absent else {name.split("-")[0]: "1.2"}
        return {
            "name": name,
            "label": label,
            "configured": configured,
            "how": f"how {name}",
            "versions": versions,
            "absent": absent,
        }

    def timed(gflops: float, **more: Any) -> dict[str, Any]:
        return {"seconds": workload.flops / gflops / 1e9, "value": gflops, **more}

    return {
        "chapter": "matmul",
        "threads": 1,
        "date": "2026-01-02",
        "command": "dlkit bench matmul",
        "machine": {"cpu": "Some CPU 9000", "cores": 2, "isa": "AVX-512", "python": "3.11", "dlkit_isa": ""},
        "ceiling": {"peak": 250e9, "bandwidth": 40e9},
        "protocol": {"rounds": 5, "turn_seconds": 0.004, "others_cores": 0.0},
        "peers": [
            peer("dlkit", "dlkit", False),
            peer("numpy", "NumPy", False),
            peer("torch-best", "PyTorch (best)", True),
            peer("jax", "JAX", True, "not installed"),
        ],
        "rows": [
            {
                "workload": workload.to_json(),
                "peers": {
                    "dlkit": timed(200.0),
                    "numpy": timed(100.0, ratio=2.0),
                    "torch-best": timed(160.0, ratio=1.25),
                    "jax": {"absent": "not installed"},
                },
                "against_default": {"peer": "numpy", "ratio": 2.0},
                "against_best": {"peer": "torch-best", "ratio": 1.25},
                "percent_of_ceiling": 80.0,
            }
        ],
    }
