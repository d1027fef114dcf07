"""Which devices the tests run on: all that are there, or the one that DLKIT_TEST_BACKEND names (cuda or simt)."""

from __future__ import annotations

import os

import pytest

from dlkit.kernels.backend import why_not

ONLY = os.environ.get("DLKIT_TEST_BACKEND", "")


def needs(backend: str) -> None:
    """Skip the test where that backend is not there, or another one alone is to be tested."""
    if ONLY not in ("", backend):
        pytest.skip(f"DLKIT_TEST_BACKEND={ONLY} tests no other device")
    if (reason := why_not(backend)) is not None:
        pytest.skip(reason)
