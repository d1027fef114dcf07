from __future__ import annotations

from dlkit.study import machine


def test_slugs_are_fit_for_file_names():
    assert machine.slug("AMD EPYC (family 26, model 2)") == "amd-epyc-family-26-model-2"
    assert machine.slug("Intel(R) Xeon(R) @ 2.10GHz") == "intel-r-xeon-r-2-10ghz"


def test_a_bare_name_gets_family_and_model(monkeypatch):
    info = {"model name": "AMD EPYC", "cpu family": "26", "model": "2", "flags": "fpu avx2"}
    monkeypatch.setattr(machine, "_cpuinfo", lambda: info)
    assert machine.cpu_name() == "AMD EPYC (family 26, model 2)"
    assert machine.vector_isa() == "AVX2"
    info["model name"] = "AMD EPYC 9655"
    assert machine.cpu_name() == "AMD EPYC 9655"


def test_the_description_is_plain():
    found = machine.describe()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert all(isinstance(value, (str, int, float)) for value in found.values())
