"""What a run ran on: processor, instruction set, threads, versions."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from dlkit import kernels
from dlkit.kernels.backend import backend_named

_PACKAGES = ("numpy", "scikit-learn", "matplotlib", "safetensors", "pooch")


def environment(device: str = "cpu") -> dict[str, Any]:
    """Describe the machine and the software.

    Parameters
    ----------
    device
        What the run computes on.

    Returns
    -------
    dict
        JSON-serialisable: ``time`` (UTC, ISO 8601), ``command``, ``cpu``, ``cpus`` (that this process may
        use), ``system``, ``python``, ``threads``, ``kernels`` (as `dlkit.kernels.config` says: instruction
        set, …), ``versions`` and ``device`` (with a GPU's name and driver).
    """
    # Here, not above: describing a run is rare, importing dlkit is not.
    from importlib import metadata

    import dlkit

    versions = {"dlkit": dlkit.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": kernels.get_num_threads(),
        "kernels": kernels.config(),
        "versions": versions,
        "device": _described(device),
    }


def _described(device: str) -> dict[str, Any]:
    described: dict[str, Any] = {"name": device}
    kind, _, number = device.partition(":")
    if kind == "cuda":
        cuda = backend_named(kind)
        properties = cuda.xp.cuda.runtime.getDeviceProperties(int(number or 0))
        described["gpu"] = bytes(properties["name"]).decode(errors="replace")
        described["memory_bytes"] = int(properties["totalGlobalMem"])
        described["driver"] = cuda.library.driver_version()
        described["runtime"] = cuda.library.runtime_version()
        described["cupy"] = cuda.xp.__version__
    return described


def cpu_model() -> str:
    """The processor's name as the system gives it, with family and model where the name alone says little."""
    info = cpu_info()
    named = (info.get(key, "") for key in ("model name", "Model", "Hardware"))
    name = next(filter(None, named), "") or platform.processor() or platform.machine()
    if "cpu family" in info and not re.search(r"\d", name):
        name += f" (family {info['cpu family']}, model {info.get('model', '?')})"
    return name


@lru_cache(maxsize=1)
def cpu_info() -> dict[str, str]:
    """What Linux says of its processors in ``/proc/cpuinfo``; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    info: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())  # of the first processor
    return info
