from __future__ import annotations

import json
import platform
from pathlib import Path

import numpy as np
import pytest

import dlkit as dl
from dlkit.train.environment import cpu_info, cpu_model, environment


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


@pytest.fixture
def cpuinfo(monkeypatch):
    """Have Linux say something else of its processors: text, or an error."""

    def say(given):
        def read(path, *args, **kwargs):
            assert path == Path("/proc/cpuinfo")
            if isinstance(given, Exception):
                raise given
            return given

        monkeypatch.setattr(Path, "read_text", read)
        cpu_info.cache_clear()

    yield say
    cpu_info.cache_clear()


def test_a_bare_name_gets_family_and_model(cpuinfo):
    described = "processor : {}\nmodel name : AMD EPYC{}\ncpu family : {}\nmodel : 2\nflags : fpu avx2\n\n"
    cpuinfo(described.format(0, "", 26) + described.format(1, "", 7))
    assert cpu_model() == "AMD EPYC (family 26, model 2)"
    assert cpu_info()["flags"] == "fpu avx2"
    cpuinfo(described.format(0, " 9655", 26))
    assert cpu_model() == "AMD EPYC 9655"


def test_arm(cpuinfo):
    cpuinfo("processor : 0\nFeatures : fp asimd\n\nHardware : BCM2835\nModel : Raspberry Pi 4\n")
    assert cpu_model() == "Raspberry Pi 4"


def test_without_proc(cpuinfo):
    cpuinfo(FileNotFoundError("/proc/cpuinfo"))
    assert cpu_model() == (platform.processor() or platform.machine())
