from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.recipes import get, load_predictor
from dlkit.recipes.xor import X, Y


@pytest.mark.parametrize("seed", range(5))
def test_the_perceptron_fails_and_the_network_solves(tmp_path, seed):
    result = get("xor").run(run_dir=tmp_path / "run", seed=seed, progress=False)
    assert result.metrics["network_right"] == 4
    assert result.metrics["perceptron_best"] <= 3
    assert result.target.reached(result.metrics)
    assert (result.folder / "boundaries.png").read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(load_predictor(result.folder).predict(X).classes, Y)


def test_without_enough_epochs_it_says_so(tmp_path):
    result = get("xor").run(run_dir=tmp_path / "run", epochs=1, progress=False)
    assert not result.target.reached(result.metrics)
    assert "not reached" in dict(result.lines)["to reach"]


def test_resumed_run_ends_like_a_whole_one(tmp_path):
    whole = get("xor").run(run_dir=tmp_path / "whole", epochs=60, progress=False)
    get("xor").run(run_dir=tmp_path / "parts", epochs=20, progress=False)
    parts = get("xor").run(run_dir=tmp_path / "parts", epochs=60, resume=True, progress=False)
    assert (parts.folder / "model.safetensors").read_bytes() == (
        whole.folder / "model.safetensors"
    ).read_bytes()
    epochs = [json.loads(line)["epoch"] for line in (parts.folder / "metrics.jsonl").read_text().splitlines()]
    assert epochs == list(range(1, 61))
