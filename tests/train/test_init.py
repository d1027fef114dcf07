from __future__ import annotations

import subprocess
import sys

import pytest

import dlkit
from dlkit import train


def test_every_public_name_is_there():
    for name in train.__all__:
        assert getattr(train, name) is not None


def test_unknown_name():
    with pytest.raises(AttributeError, match=r"module 'dlkit.train' has no attribute 'Trainr'"):
        _ = train.Trainr


def test_reached_from_the_top():
    assert dlkit.train is train


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, dlkit, dlkit.train; "
        "heavy = {'sklearn', 'matplotlib', 'rich', 'pooch', 'torch', 'tensorboard', 'safetensors'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
