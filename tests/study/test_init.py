from __future__ import annotations

import subprocess
import sys

import pytest

import dlkit.study


def test_names_are_loaded_when_asked_for():
    code = "import dlkit.study, sys; assert 'dlkit.study.comparison' not in sys.modules; dlkit.study.compare"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dlkit.study.nothing
