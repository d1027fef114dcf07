"""What machine this is: the facts a table's head names."""

from __future__ import annotations

import os
import platform
import re
from typing import Any

from dlkit.train.environment import cpu_info, cpu_model


def cpu_flags() -> frozenset[str]:
    """Return the processor's feature flags as Linux names them; empty where unknown."""
    info = cpu_info()
    return frozenset(info.get("flags", info.get("Features", "")).split())


def slug(name: str) -> str:
    """Return `name` fit for a file name: ``AMD EPYC (model 2)`` gives ``amd-epyc-model-2``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def vector_isa() -> str:
    """Return the widest vector instruction set that the processor has."""
    flags = cpu_flags()
    for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("sse4_2", "SSE4.2"), ("asimd", "NEON")):
        if flag in flags:
            return name
    return platform.machine()


def describe() -> dict[str, Any]:
    """Return processor, cores usable, instruction set, system and load, as plain values."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "cpu": cpu_model(),
        "cores": usable,
        "isa": vector_isa(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(load, 2),
    }
