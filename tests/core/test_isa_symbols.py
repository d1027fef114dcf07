"""Objects compiled for one instruction set hold nothing that the linker could share with another's."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

_BUILD = Path(__file__).resolve().parents[2] / "build"
# Weak functions and data, which the linker keeps one copy of: W and V by nm, u for GNU unique ones.
_SHARED = {"W", "V", "u"}
# A pointer to the C++ runtime's exception handling: no code, the same in every object.
_HARMLESS = {"DW.ref.__gxx_personality_v0"}


# What is compiled for the baseline runs on every processor: a copy of it that the linker keeps does no harm.
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_weak_symbols_are_in_the_namespace_of_their_isa(isa: str) -> None:
    nm = shutil.which("nm")
    objects = sorted(_BUILD.glob(f"cp*/CMakeFiles/dlkit_{isa}_*.dir/**/*.o"))
    # A build for all instruction sets has these objects: where they are not found, it is this test that is at fault.
    if nm is None or not any(
        "DLKIT_ISAS:STRING=all" in cache.read_text() for cache in _BUILD.glob("cp*/CMakeCache.txt")
    ):
        pytest.skip("needs nm and the build folder of an editable install for all instruction sets")
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("needs x86-64")
    assert objects
    stray = []
    for file in objects:
        listing = subprocess.run(
            [nm, "-C", "--defined-only", file], capture_output=True, text=True, check=True
        )
        for line in listing.stdout.splitlines():
            kind, name = line[17:].split(" ", 1)
            if kind in _SHARED and name not in _HARMLESS and f"dlkit::{isa}::" not in name:
                stray.append(f"{file.name}: {kind} {name}")
    assert stray == []
