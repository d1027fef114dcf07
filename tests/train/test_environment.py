from __future__ import annotations

import builtins
import json
import platform

import numpy as np

import dlkit as dl
from dlkit.train.environment import cpu_model, environment


def test_environment():
    found = environment()
    assert found["versions"]["dlkit"] == dl.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["python"] == platform.python_version()
    assert found["threads"] == dl.get_num_threads()
    assert found["cpus"] >= 1
    assert found["cpu"] == cpu_model() != ""
    assert found["kernels"] == dl.kernels.config()
    json.dumps(found)


def test_without_proc(monkeypatch):
    real = builtins.open

    def refuse(name, *args, **kwargs):
        if name == "/proc/cpuinfo":
            raise FileNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    assert cpu_model() == (platform.processor() or platform.machine())
