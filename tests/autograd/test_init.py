from __future__ import annotations

import subprocess
import sys

import pytest

import dlkit as dl


def test_every_public_name_is_there():
    for module in (dl, dl.autograd):
        for name in module.__all__:
            assert getattr(module, name) is not None
            assert name in dir(module)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"module 'dlkit.autograd' has no attribute 'nonsense'"):
        dl.autograd.nonsense


def test_what_is_needed_rarely_is_imported_late():
    program = (
        "import sys, dlkit\n"
        "late = ['function', 'gradient_check', 'graph', 'drawing', 'svg', 'dot', 'raster', 'layout']\n"
        "assert not [name for name in late if 'dlkit.autograd.' + name in sys.modules]\n"
        "assert 'matplotlib' not in sys.modules\n"
        "dlkit.autograd.draw, dlkit.autograd.Function\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
