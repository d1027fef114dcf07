"""What was measured on: GPU, driver, versions, date, commit. Needs nothing of dlkit."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except FileNotFoundError:
        return f"unknown (no {command[0]})"
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({type(error).__name__})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, object]:
    """Return it as JSON has it."""
    query = _output("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    name, driver, memory = ([part.strip() for part in query.split(",")] + ["unknown"] * 3)[:3]
    nvcc = _output("nvcc", "--version")
    return {
        "gpu": name,
        "driver": driver,
        "memory": memory,
        "nvcc": next((line for line in nvcc.splitlines() if "release" in line), nvcc),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "versions": {
            package: _version(package)
            for package in (
                "torch",
                "cupy-cuda13x",
                "nvidia-cudnn-cu13",
                "nvidia-cublas",
                "numpy",
                "pybind11",
            )
        },
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": os.environ.get("DLKIT_COMMIT") or _output("git", "rev-parse", "HEAD"),
    }


if __name__ == "__main__":
    record = describe()
    Path(sys.argv[1]).write_text(json.dumps(record, indent=1))
    print(f"{record['gpu']}, driver {record['driver']}, Python {record['python']}")
