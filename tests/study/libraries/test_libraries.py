"""Every library's every workload against float64: what a comparison checks before it times."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from dlkit.study.libraries import UnsupportedError
from dlkit.study.workloads import (
    CHAPTERS,
    CHECKED_RUNS,
    make_inputs,
    matmul,
    reference,
    relative_error,
    workloads,
)

_WORKLOADS = [
    *(workload for chapter in CHAPTERS for workload in workloads(chapter, quick=True)),
    matmul(5, 9, 4, True, True),
    matmul(5, 9, 4, True, False),
]


@pytest.fixture(params=["dlkit", "numpy", "torch", "jax", "onnx"])
def library(request):
    if request.param in ("torch", "jax", "onnx"):
        pytest.importorskip({"onnx": "onnxruntime"}.get(request.param, request.param))
    return importlib.import_module(f"dlkit.study.libraries.{request.param}_peer")


@pytest.mark.parametrize("best", [False, True], ids=["default", "best"])
@pytest.mark.parametrize("workload", _WORKLOADS, ids=lambda workload: workload.name)
def test_agrees_with_float64(library, workload, best):
    inputs = make_inputs(workload, seed=5)
    expected = reference(workload, inputs)
    kept = {name: array.copy() for name, array in inputs.items()}
    try:
        prepared = library.prepare(workload, inputs, {"threads": 1, "best": best})
    except UnsupportedError:
        if library.__name__.endswith("onnx_peer"):
            assert workload.kind != "recurrent_forward" or workload.params["layer_norm"]
        else:
            assert library.__name__.endswith("numpy_peer")
        return
    for _ in range(CHECKED_RUNS.get(workload.kind, 1)):
        prepared.run()
    found = prepared.result()
    assert found.keys() == expected.keys()
    for name, answer in expected.items():
        assert relative_error(np.asarray(found[name]), np.asarray(answer)) <= workload.tolerance, name
    assert all(np.array_equal(inputs[name], kept[name]) for name in kept)


def test_versions_are_named(library):
    found = library.versions()
    assert found
    assert all(isinstance(value, str) for value in found.values())
