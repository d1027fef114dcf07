from __future__ import annotations

import subprocess
import sys

from dlkit import data


def test_every_public_name_is_there():
    for name in data.__all__:
        assert getattr(data, name) is not None


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, dlkit.data; "
        "print(sorted({'sklearn', 'pooch', 'requests', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
