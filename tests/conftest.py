"""What every test may rely on: the data sets if they are there, and hypothesis without deadlines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Deadlines measure the machine, not the code: others may be using it too.
settings.register_profile("dlkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dlkit")

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"
if not os.environ.get("DLKIT_DATA") and _BESIDE_THE_REPOSITORY.is_dir():
    os.environ["DLKIT_DATA"] = str(_BESIDE_THE_REPOSITORY)


@pytest.fixture
def data_folder() -> Path:
    """The folder of official data files, or a skip."""
    value = os.environ.get("DLKIT_DATA", "")
    if not value or not Path(value).is_dir():
        pytest.skip("needs the official data files: set DLKIT_DATA to their folder")
    return Path(value)
