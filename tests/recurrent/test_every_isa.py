"""The tests of this chapter, on every other instruction set of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dlkit.kernels as K

_TESTS = Path(__file__).resolve().parents[1]
_OTHERS = [isa for isa in K.config()["isas_available"] if isa != K.config()["isa"]]


@pytest.mark.skipif("DLKIT_ISA" in os.environ, reason="DLKIT_ISA chooses the one instruction set to test")
@pytest.mark.parametrize("isa", _OTHERS)
def test_on(isa: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            f"--ignore-glob={_TESTS}/*/test_device_*.py",  # no CPU kernels
            _TESTS / "recurrent",
        ],
        env={**os.environ, "DLKIT_ISA": isa},
        cwd=_TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
