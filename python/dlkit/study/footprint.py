"""What dlkit costs before it computes anything: the time of its import, the size of its wheel, the demo's memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlkit.kernels as K
from dlkit.study.results import header

# Without site, whose editable installations are slower to import than what a wheel leaves.
_IMPORT = """
import sys, time
sys.path[:0] = {path!r}
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def measure(
    root: Path,
    *,
    rounds: int = 15,
    progress: Callable[[str], None] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Measure imports, the wheel and the demo.

    Parameters
    ----------
    root : Path
        The repository, to build the wheel of.
    rounds : int
        Fresh interpreters for each import.
    progress : callable, optional
        Called with one line before each part.
    command : str
        The command that asked, for the record.

    Returns
    -------
    dict
        A record with ``rows`` of ``name``, ``value``, ``unit`` and ``at_most`` (None where there is no limit).

    Raises
    ------
    RuntimeError
        If the wheel cannot be built or the demo fails; with what it printed.
    """
    say = progress or (lambda line: None)
    say("wheel")
    with tempfile.TemporaryDirectory() as folder:
        wheel, extension = _wheel(root, Path(folder))
        say("imports")
        imports = _imports(("numpy", "dlkit"), Path(folder) / "unpacked", rounds)
    say("demo")
    demo = _demo()
    rows = [
        _row("import dlkit, NumPy included", 1e3 * imports["dlkit"], "ms", 120),
        _row("of that, import numpy", 1e3 * imports["numpy"], "ms"),
        _row("base wheel", wheel / 1e6, "MB", 5),
        _row("the extension within it, unpacked", extension / 1e6, "MB"),
        _row("peak memory of the demo", demo["peak_memory"] / 1e6, "MB"),
        _row("time of the demo's command, build and installation apart", demo["seconds"], "s"),
        _row("of that, the training loop", demo["train_seconds"], "s"),
    ]
    return {
        **header("footprint", K.get_num_threads(), command or "make footprint"),
        "rows": rows,
    }


def _row(name: str, value: float, unit: str, at_most: float | None = None) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "at_most": at_most}


def _imports(modules: tuple[str, ...], unpacked: Path, rounds: int) -> dict[str, float]:
    """Return the median seconds that importing each module takes in a fresh interpreter, in turns."""
    # pip compiles what it installs: the first turn does, unless the environment forbids it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = [str(unpacked), *dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))]
    seconds: dict[str, list[float]] = {module: [] for module in modules}
    for turn in range(rounds + 1):
        for module in modules:
            code = _IMPORT.format(path=path, module=module)
            answer = subprocess.run(
                [sys.executable, "-S", "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            )
            if turn:  # the first one compiles, and warms the disk's cache
                seconds[module].append(float(answer.stdout))
    return {module: statistics.median(values) for module, values in seconds.items()}


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"footprint: {what} failed: {(done.stderr or done.stdout).strip()[-800:]}")


def _wheel(root: Path, folder: Path) -> tuple[int, int]:
    """Build the wheel and unpack it below `folder`; return its size and that of the extensions within.

    The build folder is that of ``make wheel`` and of the development environment: what is compiled there already is not
    compiled again, and options that were set there (by ``make demo``) are set to those of a wheel.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = [f"--config-settings=cmake.define.DLKIT_{name}" for name in ("SIMT=ON", "ISAS=all")]
    flags = ["--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    _run([*pip, *flags, *options, str(root)], "building the wheel")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
        binaries = sum(i.file_size for i in archive.infolist() if i.filename.endswith((".so", ".pyd")))
    return wheel.stat().st_size, binaries


def _demo() -> dict[str, float]:
    """Run what ``make demo`` runs, and return its peak memory, its seconds, and those of training."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "dlkit",
            "train",
            "mlp",
            "--data",
            "digits",
            "--run-dir",
            f"{folder}/run",
        ]
        start = time.perf_counter()
        _run(command, "the demo")
        seconds = time.perf_counter() - start
        result = json.loads((Path(folder) / "run" / "result.json").read_text(encoding="utf-8"))
    return {
        "peak_memory": float(result["peak_memory"]),
        "train_seconds": float(result["train_seconds"]),
        "seconds": seconds,
    }


def missed(record: dict[str, Any]) -> list[str]:
    """Return the names of what is above its limit."""
    return [
        row["name"] for row in record["rows"] if row["at_most"] is not None and row["value"] > row["at_most"]
    ]


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads of the table."""
    return ["what", "measured", "at most"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, as text."""
    return [
        [
            row["name"],
            f"{row['value']:.3g} {row['unit']}",
            "" if row["at_most"] is None else f"{row['at_most']:g} {row['unit']}",
        ]
        for row in record["rows"]
    ]
