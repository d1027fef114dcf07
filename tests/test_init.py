"""python/dlkit/__init__.py: the public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dlkit


def test_importing_takes_numpy_and_little_else():
    code = (
        "import sys, numpy; before = set(sys.modules); import dlkit;"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    allowed = {"dlkit", "_heapq", "heapq", "threading", "importlib", "functools", "itertools"}
    assert set(answer.stdout.split()) - allowed == set()


def test_every_public_name_is_there():
    for name in dlkit.__all__:
        assert getattr(dlkit, name) is not None
        assert name in dir(dlkit)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dlkit.nothing
