"""Fixtures of the nn room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    # Fresh numbers in every run; the seed is in the report of a failure.
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    request.node.add_report_section("setup", "seed", str(seed))
    dl.manual_seed(seed)
    return np.random.default_rng(seed)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")
