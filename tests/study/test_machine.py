from __future__ import annotations

from dlkit.study import machine


def test_slugs_are_fit_for_file_names():
    assert machine.slug("AMD EPYC (family 26, model 2)") == "amd-epyc-family-26-model-2"
    assert machine.slug("Intel(R) Xeon(R) @ 2.10GHz") == "intel-r-xeon-r-2-10ghz"


def test_the_widest_instruction_set(monkeypatch):
    monkeypatch.setattr(machine, "cpu_info", lambda: {"flags": "fpu avx2"})
    assert machine.vector_isa() == "AVX2"


def test_the_description_is_plain():
    found = machine.describe()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert all(isinstance(value, (str, int, float)) for value in found.values())
